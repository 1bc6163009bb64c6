//! Cursors, positions and names as a program passes them on: valid ones read back, all others are refused by name. Text
//! of any kind is made harmless for a terminal, a shell and JSON.

use super::{refused, told, visible};
use decisiongraph_engine::queries::EdgeCursor;
use decisiongraph_projections::{LogSeq, TenantId};
use decisiongraph_protocol::foreign_text::{in_json, shell_word};
use decisiongraph_rpc::NodeAddress;
use decisiongraph_store::Direction;

pub(super) fn offer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match EdgeCursor::decode(text) {
        Ok(cursor) => assert_eq!(EdgeCursor::decode(&cursor.encode()), Ok(cursor)),
        Err(refusal) => told(refusal.category, &refusal.message),
    }
    let direction = [Direction::Outgoing, Direction::Incoming, Direction::Both][bytes.len() % 3];
    let place = bytes.iter().fold(0_i64, |place, byte| place.rotate_left(7) ^ i64::from(*byte));
    let cursor = EdgeCursor { direction, log_seq: LogSeq(place), edge_id: text.to_owned() };
    assert_eq!(EdgeCursor::decode(&cursor.encode()), Ok(cursor));
    match TenantId::new(text) {
        Ok(tenant) => {
            let json = serde_json::to_string(&tenant).expect("writes");
            assert_eq!(serde_json::from_str::<TenantId>(&json).expect("reads"), tenant);
        }
        Err(refusal) => told(refusal.category, &refusal.message),
    }
    match NodeAddress::parse(text) {
        Ok(address) => assert_eq!(NodeAddress::parse(&address.to_string()), Ok(address)),
        Err(error) => refused(&error),
    }
    visible(text);
    let word = shell_word(text);
    assert!(!word.contains(char::is_control) && !word.is_empty() && !word.contains('`'), "{word:?}");
    let json = serde_json::to_string(text).expect("writes");
    let safe = in_json(&json);
    assert!(!safe.contains(char::is_control), "{safe:?}");
    assert_eq!(serde_json::from_str::<String>(&safe).expect("reads"), text);
}
