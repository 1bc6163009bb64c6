//! Reading a stored payload. It is more lenient than an append, because replay checks no shapes. A member may be absent
//! (or null). A text member of any other type is a `schema_violation`.

use crate::canonical_json::Json;
use crate::category::{Category, Refusal};
use crate::event::LogEvent;
use crate::json_reader::outline;

/// Levels of a payload that the rules read: its members, and the members of an object among them.
const LEVELS: usize = 2;

/// The payload of a stored event.
pub struct StoredPayload<'e> {
    value: Json<'e>,
}

impl<'e> StoredPayload<'e> {
    /// Reads the payload of this event.
    pub fn of(event: &'e LogEvent) -> Result<StoredPayload<'e>, Refusal> {
        match outline(&event.payload, LEVELS) {
            Ok(value) => Ok(StoredPayload { value }),
            Err(error) => Err(schema(format!("the stored payload is {error}"))),
        }
    }

    /// Returns a text member; absent and null are `None`.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        text_of(&self.value, "", key)
    }

    /// Returns an object member; absent and null are `None`.
    pub fn object(&self, key: &'static str) -> Result<Option<Object<'_, 'e>>, Refusal> {
        match self.value.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value @ Json::Object(_)) => Ok(Some(Object { name: key, value })),
            Some(other) => {
                Err(schema(format!("`{key}` of the stored payload must be an object, not {}", other.kind())))
            }
        }
    }
}

/// An object inside a stored payload.
pub struct Object<'p, 'e> {
    name: &'static str,
    value: &'p Json<'e>,
}

impl<'p> Object<'p, '_> {
    /// Returns a text member; absent and null are `None`.
    pub fn text(&self, key: &str) -> Result<Option<&'p str>, Refusal> {
        text_of(self.value, self.name, key)
    }
}

fn text_of<'p>(object: &'p Json<'_>, name: &str, key: &str) -> Result<Option<&'p str>, Refusal> {
    match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Str(text)) => Ok(Some(text)),
        Some(other) => {
            let dot = if name.is_empty() { "" } else { "." };
            Err(schema(format!("`{name}{dot}{key}` of the stored payload must be a string, not {}", other.kind())))
        }
    }
}

/// Creates a `schema_violation`.
pub fn schema(message: impl Into<String>) -> Refusal {
    Refusal::new(Category::SchemaViolation, message)
}
