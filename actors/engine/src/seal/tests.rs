//! The shared state of sealing: only what was committed, or was found well, is to be signed.

use super::*;
use decisiongraph_projections::seal::tree::Frontier;
use decisiongraph_seal::Folder;
use decisiongraph_seal::key::SigningKey;
use decisiongraph_store::{FIRST_TREE, TreeState};

fn sealing() -> Sealing {
    let keys = SigningKeys::of(SigningKey::of_seed("log.example", &[7; 32]).expect("a key"));
    let journal = Folder::journal(std::path::Path::new("/nowhere"));
    Sealing::new("log.example".to_owned(), keys, Memory { journal, places: Vec::new() }, SealSettings::default())
}

pub(super) fn tree(size: u64, noted: u64) -> SealTree {
    let mut frontier = Frontier::default();
    (0..size).for_each(|leaf| frontier.append([leaf as u8; 32]));
    let tenant = TenantId::default();
    SealTree {
        origin: origin_of("log.example", &tenant),
        tenant,
        tree: FIRST_TREE,
        head: TreeHead { size, root: frontier.root() },
        last: LogSeq(size as i64),
        frontier: frontier.hashes().to_vec(),
        state: TreeState::Open,
        sealed_since: String::new(),
        noted,
    }
}

fn grown(sealing: &Sealing, size: u64) {
    let SealTree { tenant, tree, origin, head, last, .. } = tree(size, 0);
    sealing.grew(&tenant, tree, &origin, head, last);
}

fn sizes(sealing: &Sealing) -> Vec<(u64, u64)> {
    sealing.unsigned().iter().map(|log| (log.head.size, log.events)).collect()
}

#[test]
fn a_head_is_to_be_signed_from_its_commit_to_its_checkpoint() {
    let (sealing, tenant) = (sealing(), TenantId::default());
    assert_eq!(sizes(&sealing), []);
    sealing.took(&tree(5, 5));
    assert_eq!(sizes(&sealing), [], "a checkpoint covers it");
    grown(&sealing, 7);
    grown(&sealing, 9);
    assert_eq!(sizes(&sealing), [(9, 4)], "the newest head alone");
    let since = sealing.unsigned()[0].since;
    grown(&sealing, 10);
    assert_eq!(sealing.unsigned()[0].since, since, "growth does not put a checkpoint off");
    sealing.signed(&tenant, FIRST_TREE, 9);
    assert_eq!(sizes(&sealing), [(10, 1)]);
    sealing.signed(&tenant, FIRST_TREE, 10);
    assert_eq!(sizes(&sealing), []);
    sealing.took(&tree(12, 10));
    assert_eq!(sizes(&sealing), [(12, 2)], "a restart continues with what no checkpoint covers");
}

#[test]
fn a_finding_stops_signatures_until_a_claim_finds_the_tree_well() {
    let (sealing, tenant) = (sealing(), TenantId::default());
    sealing.took(&tree(5, 0));
    sealing.stop(&tenant, SealWord::TreeShrunk.because("x"));
    assert_eq!((sizes(&sealing), sealing.stopped().len()), (vec![], 1));
    grown(&sealing, 6);
    assert_eq!(sizes(&sealing), [], "whatever a batch under way reports");
    sealing.took(&tree(6, 0));
    assert_eq!((sizes(&sealing), sealing.stopped_by(&tenant)), (vec![(6, 6)], None));
}

#[test]
fn a_tree_that_was_read_without_a_claim_does_not_undo_a_growth() {
    let sealing = sealing();
    sealing.found(&tree(5, 3));
    assert_eq!(sizes(&sealing), [(5, 2)]);
    grown(&sealing, 8);
    sealing.found(&tree(5, 3));
    assert_eq!(sizes(&sealing), [(8, 5)]);
    sealing.unsettle();
    assert!(sizes(&sealing).is_empty() && !sealing.knows(&TenantId::default()));
}

#[test]
fn a_wish_for_a_checkpoint_at_once_ends_with_the_checkpoint() {
    let (sealing, tenant) = (sealing(), TenantId::default());
    sealing.hurry(&tenant);
    grown(&sealing, 3);
    assert!(sealing.unsigned()[0].hurried);
    assert_eq!(sealing.due(Instant::now()).len(), 1);
    sealing.signed(&tenant, FIRST_TREE, 3);
    assert!(!sealing.is_hurried(&tenant));
    grown(&sealing, 4);
    assert!(sealing.due(Instant::now()).is_empty());
    let late = Instant::now() + sealing.settings.checkpoint;
    assert_eq!(sealing.due(late).len(), 1);
}
