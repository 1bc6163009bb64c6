//! Finished traces that decided a like case: which arguments are legal, and the look-up.

use super::READ_BYTES_MAX;
use decisiongraph_projections::{Category, Refusal, TenantId};
use decisiongraph_store::{Generation, Paged, PrecedentFilter, PrecedentHit, ReadView, Result};

/// Most hits of one query.
pub const PRECEDENTS_MAX: i64 = 10_000;

/// Whether the filter's arguments go together.
///
/// # Errors
/// `invalid_argument`: limit out of range, `policy_version` without `policy_id`, `entity_id` without `entity_type`.
pub fn validate(filter: &PrecedentFilter) -> std::result::Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(Category::InvalidArgument, message));
    if !(1..=PRECEDENTS_MAX).contains(&filter.limit) {
        return refuse(format!("limit is 1 to {PRECEDENTS_MAX}, not {}", filter.limit));
    }
    if filter.policy_version.is_some() && filter.policy_id.is_none() {
        return refuse("policy_version needs policy_id".to_owned());
    }
    if filter.entity_id.is_some() && filter.entity_type.is_none() {
        return refuse("entity_id needs entity_type".to_owned());
    }
    Ok(())
}

/// The finished traces that match, latest first, at most [`READ_BYTES_MAX`] of them.
pub async fn precedents(
    view: &dyn ReadView,
    tenant: &TenantId,
    summaries: Option<Generation>,
    precedents: Option<Generation>,
    filter: &PrecedentFilter,
) -> Result<Paged<PrecedentHit>> {
    validate(filter)?;
    match (summaries, precedents) {
        (Some(summaries), Some(precedents)) => {
            view.precedents(tenant, summaries, precedents, filter, READ_BYTES_MAX).await
        }
        _ => Ok(Paged::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_together() {
        let good = PrecedentFilter { limit: 100, ..PrecedentFilter::default() };
        assert_eq!(validate(&good), Ok(()));
        let text = || Some("x".to_owned());
        for bad in [
            PrecedentFilter { limit: 0, ..good.clone() },
            PrecedentFilter { limit: 10_001, ..good.clone() },
            PrecedentFilter { policy_version: text(), ..good.clone() },
            PrecedentFilter { entity_id: text(), ..good.clone() },
        ] {
            assert_eq!(validate(&bad).expect_err("refused").category, Category::InvalidArgument);
        }
        assert_eq!(validate(&PrecedentFilter { policy_id: text(), policy_version: text(), ..good }), Ok(()));
    }
}
