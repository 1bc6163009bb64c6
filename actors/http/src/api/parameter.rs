//! Parameters of a query, as data.

/// Form of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A text.
    Text,
    /// A text, repeated or with commas.
    List,
    /// A whole number from 0 on.
    Number,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Key in the query.
    pub name: &'static str,
    /// Form of its value.
    pub form: Form,
    /// True when the request must have it.
    pub required: bool,
    /// Purpose, in one sentence.
    pub about: &'static str,
}

impl Parameter {
    const fn new(name: &'static str, form: Form, about: &'static str) -> Parameter {
        Parameter { name, form, required: false, about }
    }

    /// Makes a parameter with a text.
    pub const fn text(name: &'static str, about: &'static str) -> Parameter {
        Parameter::new(name, Form::Text, about)
    }

    /// Makes a parameter with a list of texts.
    pub const fn list(name: &'static str, about: &'static str) -> Parameter {
        Parameter::new(name, Form::List, about)
    }

    /// Makes a parameter with a number.
    pub const fn number(name: &'static str, about: &'static str) -> Parameter {
        Parameter::new(name, Form::Number, about)
    }

    /// Makes a parameter with a switch.
    pub const fn switch(name: &'static str, about: &'static str) -> Parameter {
        Parameter::new(name, Form::Switch, about)
    }

    /// Makes a parameter with one of these words.
    pub const fn word(name: &'static str, words: &'static [&'static str], about: &'static str) -> Parameter {
        Parameter::new(name, Form::Word(words), about)
    }

    /// Makes the parameter one that the request must have.
    #[must_use]
    pub const fn required(self) -> Parameter {
        Parameter { required: true, ..self }
    }
}

/// Parameter that names the tenant instead of the header.
pub const TENANT: Parameter =
    Parameter::text("tenant", "Tenant of the log, instead of the header x-tenant-id; percent-encoded.");
