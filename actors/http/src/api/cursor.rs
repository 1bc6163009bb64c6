//! Opaque cursors: a place in a list, bound to tenant, route and question.
//!
//! *Guarantees.* A cursor of another tenant, route or question is refused. It holds no secret, does not age, and is
//! good on every node.

use super::fault::Fault;
use super::query::Query;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decisiongraph_projections::TenantId;

/// First characters of a cursor: its format.
const FORMAT: &str = "c1.";
/// Bytes of the hash in a cursor.
const HASH_BYTES: usize = 16;
/// Separates the hash of a cursor from every other use of BLAKE3 here.
const CONTEXT: &str = "decisiongraph 2026 http cursor";

fn bound_to(tenant: &TenantId, route: &str, query: &Query) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
    };
    text(tenant.as_str());
    text(route);
    for (key, value) in query.question() {
        text(key);
        text(value);
    }
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..HASH_BYTES]);
    hash
}

/// Writes the cursor of this place.
pub fn write(place: &str, tenant: &TenantId, route: &str, query: &Query) -> String {
    let mut bytes = bound_to(tenant, route, query).to_vec();
    bytes.extend_from_slice(place.as_bytes());
    format!("{FORMAT}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads the place in the query's `cursor`; none without one.
pub fn read(tenant: &TenantId, route: &str, query: &Query) -> Result<Option<String>, Fault> {
    let Some(text) = query.one("cursor")? else { return Ok(None) };
    let refused = || {
        Fault::invalid("the cursor is not one of this tenant and this query")
            .next("pass `next_cursor` of the page before, with the same parameters; or begin without a cursor")
    };
    let bytes = text.strip_prefix(FORMAT).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(refused)?;
    let (hash, place) = bytes.split_at_checked(HASH_BYTES).ok_or_else(refused)?;
    if hash != bound_to(tenant, route, query) {
        return Err(refused());
    }
    String::from_utf8(place.to_vec()).map(Some).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::super::parameter::Parameter;
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_tenant_route_and_question() {
        let known = [Parameter::text("outcome", ""), Parameter::text("cursor", ""), Parameter::text("limit", "")];
        let parse = |text: &str| Query::parse(text, known.iter()).expect("a query");
        let (acme, other) = (TenantId::new("acme").expect("an id"), TenantId::default());
        let cursor = write("42", &acme, "traces", &parse("outcome=success&limit=2"));
        let with = |query: &str| parse(&format!("{query}&cursor={cursor}"));
        assert_eq!(read(&acme, "traces", &with("outcome=success&limit=9")).expect("good").as_deref(), Some("42"));
        assert!(read(&other, "traces", &with("outcome=success")).is_err());
        assert!(read(&acme, "events", &with("outcome=success")).is_err());
        assert!(read(&acme, "traces", &with("outcome=failure")).is_err());
        for bad in ["c1.", "c1.AAAA", "c2.x", "%00"] {
            assert!(read(&acme, "traces", &parse(&format!("cursor={bad}"))).is_err(), "{bad}");
        }
        assert_eq!(read(&acme, "traces", &parse("outcome=success")).expect("none"), None);
    }
}
