//! Any split of a log into batches gives the same rows and the same rolling digest. The digest of the rows is the
//! stored one.

use crate::backend::Blank;
use crate::fold::{acquire, all_rows, append_all, catch_up, owner};
use crate::log::{Random, seeded, tenant};
use decisiongraph_projections::catalogue;
use decisiongraph_store::*;

pub async fn any_split_gives_the_same_rows_and_digest(blank: Blank) {
    let mut random = Random(20);
    let mut first: Option<Vec<_>> = None;
    for round in 0..4 {
        let fresh = blank.migrated().await;
        let store = &fresh.store;
        append_all(store, &tenant(), &seeded(7, 160)).await;
        let sizes: Vec<usize> = match round {
            0 => vec![usize::from(u16::MAX)],
            1 => vec![1],
            _ => (0..9).map(|_| 1 + random.below(23)).collect(),
        };
        let mut results = Vec::new();
        for projection in catalogue::ALL {
            let scope = Scope::new(&tenant(), projection);
            let (lease, position) = acquire(store, &scope, &owner("n")).await;
            let position = catch_up(store, &lease, position, projection, &sizes).await;
            let view = store.snapshot().await.expect("a snapshot");
            let stored = view.scope(&scope).await.expect("an answer").expect("a scope");
            assert_eq!(stored.position, position, "{scope}");
            let from_rows = digest_of_rows(&*view, &tenant(), projection, lease.generation).await.expect("a digest");
            assert_eq!(from_rows, position.digest, "{scope}, batches of {sizes:?}");
            results.push((position.digest.to_text(), all_rows(&*view, &tenant(), projection, lease.generation).await));
        }
        match &first {
            None => first = Some(results),
            Some(first) => assert_eq!(first, &results, "batches of {sizes:?}"),
        }
    }
}
