//! A file for an import: no panic, and each refusal has a short reason. Each accepted event comes back from an export
//! unchanged.

use super::{told, visible};
use decisiongraph_admin::append::{Checked, check};
use decisiongraph_projections::credential_guard::CredentialGuard;
use decisiongraph_projections::event::{fault, tags_from_json, tags_to_json};
use decisiongraph_projections::{Admitted, LogSeq, StoredEvent, TenantId};
use decisiongraph_protocol::OfferedLine;
use decisiongraph_protocol::lines::LineReader;
use decisiongraph_protocol::lines::foreign::Foreign;

pub(super) fn offer(bytes: &[u8]) {
    let foreign = Foreign::of(bytes);
    let mut lines = LineReader::new(bytes);
    let mut first = true;
    while let Some(OfferedLine { number, text }) = lines.next_line().expect("memory is read") {
        for guard in CredentialGuard::WORDS.map(|word| CredentialGuard::parse(word).expect("a guard")) {
            let offered = OfferedLine { number, text: text.clone() };
            let checked = check(offered, &TenantId::default(), guard);
            match checked.event {
                Ok(event) => {
                    assert!(!first || foreign.is_none(), "{foreign:?} begins with an event");
                    comes_back(&event, &checked.tenant, guard);
                }
                Err(refusal) => told(refusal.category, &refusal.message),
            }
        }
        first = false;
    }
}

/// Checks that an event, stored, exported and read again, is the same event of the same tenant.
fn comes_back(event: &Admitted, tenant: &TenantId, guard: CredentialGuard) {
    let envelope = event.envelope().clone();
    assert_eq!(fault(Some(&envelope.tags), event.payload()), None);
    let mut tags = String::new();
    tags_to_json(&mut tags, &envelope.tags);
    assert_eq!(tags_from_json(&tags).as_ref(), Some(&envelope.tags));
    let stored = StoredEvent {
        log_seq: LogSeq(1),
        recorded_at: String::new(),
        envelope,
        payload: event.payload().to_owned(),
        payload_hash: event.payload_hash().to_owned(),
        fault: None,
    };
    let line = stored.to_line(Some(tenant));
    visible(&line);
    let mut lines = LineReader::new(line.as_bytes());
    let offered = lines.next_line().expect("memory is read").expect("a line");
    assert!(lines.next_line().expect("memory is read").is_none(), "one event, one line: {line}");
    let Checked { tenant: again, event: back, .. } = check(offered, &TenantId::default(), guard);
    assert_eq!((&again, back.as_ref()), (tenant, Ok(event)), "{line}");
}
