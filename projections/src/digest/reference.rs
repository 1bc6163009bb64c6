//! The reference digest: SHA-256 over the ASCII canonical JSON of a projection's rows, in key order.
//!
//! A projection names the tables and columns that take part ([`ReferenceForm`]). The writer receives rows in the byte
//! order of their canonical keys and holds none of them.

use crate::canonical_json::write_digest_string;
use crate::payload_hash::{sha256_hex, tagged_hex};
use crate::rows::{Row, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A member of a row's JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The value of the column with this index, under this name.
    Column(&'static str, usize),
    /// A constant `{}` under this name.
    EmptyObject(&'static str),
}

/// A list of rows in the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Member that holds the list; `None` when the list is the whole value.
    pub label: Option<&'static str>,
    /// Table index in [`crate::Projection::tables`].
    pub table: usize,
    /// Members of each row, sorted by name.
    pub members: &'static [Member],
}

/// Shape of a projection's reference digest: its sections, sorted by label.
pub type ReferenceForm = &'static [Section];

/// A hasher of a projection's rows, section by section, each in the byte order of its canonical keys.
pub struct Writer {
    form: ReferenceForm,
    hash: Sha256,
    buffer: String,
    section: Option<usize>,
    rows: u64,
}

impl Writer {
    /// Creates a writer for this form. Call [`Writer::section`] for each section in order, and [`Writer::row`] for its
    /// rows.
    pub fn new(form: ReferenceForm) -> Writer {
        Writer { form, hash: Sha256::new(), buffer: String::with_capacity(1024), section: None, rows: 0 }
    }

    /// Starts the next section.
    pub fn section(&mut self) -> &'static Section {
        let next = self.section.map_or(0, |section| section + 1);
        let section = &self.form[next];
        if let Some(label) = section.label {
            self.buffer.push_str(if next == 0 { "{" } else { "]," });
            write_digest_string(&mut self.buffer, label);
            self.buffer.push(':');
        }
        self.buffer.push('[');
        self.section = Some(next);
        self.rows = 0;
        section
    }

    /// Adds a row of the current section.
    pub fn row(&mut self, row: &Row) {
        let Some(section) = self.section else { return };
        let out = &mut self.buffer;
        if self.rows > 0 {
            out.push(',');
        }
        self.rows += 1;
        for (i, member) in self.form[section].members.iter().enumerate() {
            out.push(if i == 0 { '{' } else { ',' });
            match member {
                Member::EmptyObject(name) => {
                    write_digest_string(out, name);
                    out.push_str(":{}");
                }
                Member::Column(name, column) => {
                    write_digest_string(out, name);
                    out.push(':');
                    match &row.0[*column] {
                        Value::Null => out.push_str("null"),
                        Value::Text(text) => write_digest_string(out, text),
                        Value::Int(int) => {
                            let _ = write!(out, "{int}");
                        }
                    }
                }
            }
        }
        out.push('}');
        if out.len() > 16 * 1024 {
            self.hash.update(out.as_bytes());
            out.clear();
        }
    }

    /// Returns the digest, `sha256:…`.
    pub fn finish(mut self) -> String {
        self.buffer.push(']');
        if self.form[0].label.is_some() {
            self.buffer.push('}');
        }
        self.hash.update(self.buffer.as_bytes());
        tagged_hex("sha256:", &self.hash.finalize())
    }
}

/// Computes the digest over all projections. It is the SHA-256 over their digests (each with its prefix), joined by
/// `:`, in the order of the catalogue.
pub fn full_projection<'d>(digests: impl IntoIterator<Item = &'d str>) -> String {
    sha256_hex(digests.into_iter().collect::<Vec<_>>().join(":").as_bytes())
}
