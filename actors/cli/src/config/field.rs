//! Fields of the configuration that keys fill: reads and writes by the type of the field.

use super::value::Value;
use super::{LogFormat, NodeConfig};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_store::DatabaseUrl;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 60 * 60;

type Of<T> = fn(&mut NodeConfig) -> &mut T;

/// A field, by its type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Whole(Of<u64>),
    Count(Of<u32>),
    Size(Of<usize>),
    Ms(Of<Duration>),
    Seconds(Of<Duration>),
    Days(Of<Duration>),
    /// Text that is always there.
    Line(Of<String>),
    Text(Of<Option<String>>),
    Directory(Of<PathBuf>),
    File(Of<Option<PathBuf>>),
    Address(Of<Option<SocketAddr>>),
    Peers(Of<Vec<String>>),
    Database(Of<DatabaseUrl>),
    LogFormat(Of<LogFormat>),
    CredentialGuard(Of<CredentialGuard>),
}

impl Field {
    /// Reads the field.
    pub fn read(self, config: &mut NodeConfig) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        match self {
            Field::Whole(of) => Value::Whole(*of(config)),
            Field::Count(of) => Value::Whole(u64::from(*of(config))),
            Field::Size(of) => Value::Whole(*of(config) as u64),
            Field::Ms(of) => Value::Whole(u64::try_from(of(config).as_millis()).unwrap_or(u64::MAX)),
            Field::Seconds(of) => Value::Whole(of(config).as_secs()),
            Field::Days(of) => Value::Whole(of(config).as_secs() / DAY_SECONDS),
            Field::Line(of) => text(of(config)),
            Field::Text(of) => of(config).clone().map_or(Value::Nothing, Value::Text),
            Field::Directory(of) => Value::Path(of(config).clone()),
            Field::File(of) => of(config).clone().map_or(Value::Nothing, Value::Path),
            Field::Address(of) => of(config).map_or(Value::Nothing, Value::Address),
            Field::Peers(of) if of(config).is_empty() => Value::Nothing,
            Field::Peers(of) => Value::Peers(of(config).clone()),
            Field::Database(of) => Value::Database(of(config).clone()),
            Field::LogFormat(of) => text(of(config).word()),
            Field::CredentialGuard(of) => text(of(config).word()),
        }
    }

    /// Writes the field. A value of another type would be a defect of the table of keys, which a test excludes.
    pub fn write(self, config: &mut NodeConfig, value: Value) {
        match (self, value) {
            (Field::Whole(of), Value::Whole(number)) => *of(config) = number,
            (Field::Count(of), Value::Whole(number)) => *of(config) = u32::try_from(number).unwrap_or(u32::MAX),
            (Field::Size(of), Value::Whole(number)) => *of(config) = usize::try_from(number).unwrap_or(usize::MAX),
            (Field::Ms(of), Value::Whole(number)) => *of(config) = Duration::from_millis(number),
            (Field::Seconds(of), Value::Whole(number)) => *of(config) = Duration::from_secs(number),
            (Field::Days(of), Value::Whole(number)) => {
                *of(config) = Duration::from_secs(number.saturating_mul(DAY_SECONDS));
            }
            (Field::Line(of), Value::Text(text)) => *of(config) = text,
            (Field::Text(of), Value::Text(text)) => *of(config) = Some(text),
            (Field::Text(of), Value::Nothing) => *of(config) = None,
            (Field::Directory(of), Value::Path(path)) => *of(config) = path,
            (Field::File(of), Value::Path(path)) => *of(config) = Some(path),
            (Field::Address(of), Value::Address(address)) => *of(config) = Some(address),
            (Field::Address(of), Value::Nothing) => *of(config) = None,
            (Field::Peers(of), Value::Peers(peers)) => *of(config) = peers,
            (Field::Database(of), Value::Database(url)) => *of(config) = url,
            (Field::LogFormat(of), Value::Text(word)) => *of(config) = LogFormat::parse(&word).unwrap_or(*of(config)),
            (Field::CredentialGuard(of), Value::Text(word)) => {
                *of(config) = CredentialGuard::parse(&word).unwrap_or(*of(config));
            }
            (field, value) => debug_assert!(false, "{value:?} does not fit into {field:?}"),
        }
    }
}
