//! The sealed fields of an event as JSON, as packs and receipts have them.

use decisiongraph_projections::LogSeq;
use decisiongraph_projections::seal::leaf::SealedEnvelope;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A text of a file, without U+0000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        Text(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Cow::Owned(text))
    }
}

struct ReadText;

fn whole<E: Error>(text: Cow<'_, str>) -> Result<Text<'_>, E> {
    match text.contains('\0') {
        true => Err(E::custom("a text holds U+0000")),
        false => Ok(Text(text)),
    }
}

impl<'de> Visitor<'de> for ReadText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        whole(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        whole(Cow::Owned(text.to_owned()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text<'a>, D::Error> {
        from.deserialize_str(ReadText)
    }
}

/// Reads a member that may be absent, but is not null.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Reads a member that may be null, but is not absent.
fn nullable<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Text<'a>>, D::Error> {
    Option::deserialize(from)
}

/// The 18 sealed fields in columns' names, and the payload's text unless it is withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Event<'a> {
    pub log_seq: i64,
    /// Microseconds since 1970, by the database's clock.
    pub recorded_at_us: i64,
    #[serde(borrow)]
    pub tenant_id: Text<'a>,
    #[serde(borrow)]
    pub event_id: Text<'a>,
    #[serde(borrow)]
    pub trace_id: Text<'a>,
    pub trace_seq: i64,
    #[serde(borrow)]
    pub event_type: Text<'a>,
    #[serde(borrow)]
    pub occurred_at: Text<'a>,
    #[serde(borrow)]
    pub producer_id: Text<'a>,
    #[serde(borrow)]
    pub source_system: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub source_subsystem: Option<Text<'a>>,
    #[serde(borrow)]
    pub actor_type: Text<'a>,
    #[serde(borrow)]
    pub actor_id: Text<'a>,
    #[serde(borrow)]
    pub idempotency_key: Text<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub correlation_id: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub causation_event_id: Option<Text<'a>>,
    pub schema_version: i64,
    #[serde(borrow)]
    pub tags: Text<'a>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub payload: Option<Text<'a>>,
}

impl Event<'_> {
    /// Returns the fields that E covers.
    pub fn sealed(&self) -> SealedEnvelope<'_> {
        SealedEnvelope {
            log_seq: LogSeq(self.log_seq),
            recorded_at_us: self.recorded_at_us,
            tenant_id: &self.tenant_id.0,
            event_id: &self.event_id.0,
            trace_id: &self.trace_id.0,
            trace_seq: self.trace_seq,
            event_type: &self.event_type.0,
            occurred_at: &self.occurred_at.0,
            producer_id: &self.producer_id.0,
            source_system: &self.source_system.0,
            source_subsystem: self.source_subsystem.as_ref().map(|text| &*text.0),
            actor_type: &self.actor_type.0,
            actor_id: &self.actor_id.0,
            idempotency_key: &self.idempotency_key.0,
            correlation_id: self.correlation_id.as_ref().map(|text| &*text.0),
            causation_event_id: self.causation_event_id.as_ref().map(|text| &*text.0),
            schema_version: self.schema_version,
            tags: &self.tags.0,
        }
    }
}
