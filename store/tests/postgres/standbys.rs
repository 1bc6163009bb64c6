//! Standbys as a signature that waits for them sees them, under the role of a node.

use crate::fold::append_all;
use crate::log::{tenant, whole_trace};
use crate::raw::until;
use crate::roles::{NODE, READER, Shared};
use decisiongraph_store::Standbys;
use decisiongraph_store::throwaway::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_counts_as_soon_as_it_has_flushed_and_no_longer_than_it_streams() {
    let server = Server::start().await.expect("a server");
    let shared = Shared::on(&server).await;
    let node = shared.store(NODE).await;
    append_all(&node, &tenant(), &whole_trace("before")).await;
    let before = node.wal_position().await.expect("an answer").expect("a position");
    assert_eq!(node.standbys(&before).await, Ok(Standbys { streaming: 0, flushed: 0 }));
    let standby = server.standby().await.expect("a standby");
    until("it streams and has flushed", || async {
        node.standbys(&before).await == Ok(Standbys { streaming: 1, flushed: 1 })
    })
    .await;
    append_all(&node, &tenant(), &whole_trace("after")).await;
    let after = node.wal_position().await.expect("an answer").expect("a position");
    assert_ne!(after, before);
    until("it has flushed what came later", || async {
        node.standbys(&after).await == Ok(Standbys { streaming: 1, flushed: 1 })
    })
    .await;
    // A position that the log has not reached yet is nobody's.
    assert_eq!(node.standbys("7FFFFFFF/0").await, Ok(Standbys { streaming: 1, flushed: 0 }));
    standby.disconnect().await.expect("disconnected");
    until("nothing streams", || async { node.standbys(&before).await == Ok(Standbys { streaming: 0, flushed: 0 }) })
        .await;
    let reader = shared.store(READER).await;
    assert!(reader.wal_position().await.expect("an answer").is_some());
}
