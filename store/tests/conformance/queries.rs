//! The queries over the read models.

use crate::backend::{Blank, Fresh};
use crate::fold::{acquire, append_all, catch_up, owner};
use crate::log::{cited, event, exception, finished, input, named, policy, started, started_about, tenant};
use decisiongraph_projections::{LogSeq, Row, TenantId, catalogue};
use decisiongraph_store::*;
use std::collections::BTreeSet;

async fn projected(fresh: &Fresh, tenant: &TenantId) -> [Generation; 3] {
    let mut generations = [Generation(0); 3];
    let queried = [catalogue::CONTEXT_GRAPH, catalogue::TRACE_SUMMARY, catalogue::PRECEDENT_INDEX];
    for (index, projection) in queried.into_iter().enumerate() {
        let (lease, position) = acquire(&fresh.store, &Scope::new(tenant, projection), &owner("n")).await;
        catch_up(&fresh.store, &lease, position, projection, &[3]).await;
        generations[index] = lease.generation;
    }
    generations
}

fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(Row::key).collect()
}

pub async fn edges_of_a_node_by_position(blank: Blank) {
    let fresh = blank.migrated().await;
    append_all(&fresh.store, &named("other"), &[started("t"), input("t", 1, "z")]).await;
    // One event with two edges at one position, one incoming edge, and one edge from the trace to itself.
    let action = r#"{"action_id":"x","action_type":"t","target_entity":{"entity_type":"trace","entity_id":"t"},"target_system":"s","changes":[]}"#;
    let events = [
        started("t"),
        input("t", 1, "z"),
        input("t", 2, "a"),
        event("t", 3, "ActionProposed", action),
        cited("t", 4, "t"),
        started("u"),
        cited("u", 1, "t"),
    ];
    let positions = append_all(&fresh.store, &tenant(), &events).await;
    let [graph, ..] = projected(&fresh, &tenant()).await;
    let view = fresh.store.view().await.expect("a view");
    let edges = async |direction, after: Option<(LogSeq, &str)>, limit| {
        let rows = view
            .edges_of(&tenant(), graph, "trace:t", direction, after, PageLimit::rows(limit))
            .await
            .expect("edges")
            .items;
        rows.iter()
            .map(|row| (row.key().to_owned(), LogSeq(row.0[5].as_int().expect("a position"))))
            .collect::<Vec<_>>()
    };
    let edge = |kind: &str, from: &str, to: &str, event: usize| {
        let id = events[event].envelope().event_id.as_str();
        (format!("{kind}:{from}:{to}:{id}"), positions[event])
    };
    let outgoing = [
        edge("trace_involves_entity", "trace:t", "entity:account:of t", 0),
        edge("trace_observed_input", "trace:t", "input:z", 1),
        edge("trace_observed_input", "trace:t", "input:a", 2),
        edge("trace_proposed_action", "trace:t", "action:x", 3),
        edge("trace_cited_precedent", "trace:t", "trace:t", 4),
    ];
    let incoming = [
        edge("trace_cited_precedent", "trace:t", "trace:t", 4),
        edge("trace_cited_precedent", "trace:u", "trace:t", 6),
    ];
    assert_eq!(edges(Direction::Outgoing, None, 100).await, outgoing);
    assert_eq!(edges(Direction::Incoming, None, 100).await, incoming);
    let both = [&outgoing[..], &incoming[1..]].concat();
    assert_eq!(edges(Direction::Both, None, 100).await, both, "the loop is there once");
    // Page by page, for every page size.
    for (direction, all) in
        [(Direction::Outgoing, &outgoing[..]), (Direction::Incoming, &incoming[..]), (Direction::Both, &both[..])]
    {
        for limit in 1..4 {
            let mut seen: Vec<(String, LogSeq)> = Vec::new();
            loop {
                let after = seen.last().map(|(id, log_seq)| (*log_seq, id.clone()));
                let after = after.as_ref().map(|(log_seq, id)| (*log_seq, id.as_str()));
                let page = edges(direction, after, limit).await;
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= limit);
                seen.extend(page);
            }
            assert_eq!(seen, all);
        }
    }
    // Two edges of one position are ordered by their ids.
    let rows = view
        .edges_of(&tenant(), graph, "action:x", Direction::Both, None, PageLimit::rows(100))
        .await
        .expect("edges")
        .items;
    assert_eq!(
        keys(&rows),
        ["action_targets_entity:action:x:entity:trace:t:t/3", "trace_proposed_action:trace:t:action:x:t/3"]
    );
    assert_eq!(
        view.edges_of(&tenant(), graph, "trace:x", Direction::Both, None, PageLimit::rows(9))
            .await
            .expect("none")
            .items,
        []
    );
    assert_eq!(
        view.edges_of(&named("x"), graph, "trace:t", Direction::Both, None, PageLimit::rows(9))
            .await
            .expect("none")
            .items,
        []
    );
}

pub async fn edges_touching_nodes_by_id(blank: Blank) {
    let fresh = blank.migrated().await;
    let events = [
        started_about("t", "é", "1"),
        input("t", 1, "b"),
        input("t", 2, "B"),
        input("t", 3, "é"),
        started("u"),
        input("u", 1, "b"),
        cited("u", 2, "t"),
        cited("t", 4, "t"),
    ];
    append_all(&fresh.store, &tenant(), &events).await;
    let [graph, ..] = projected(&fresh, &tenant()).await;
    let view = fresh.store.view().await.expect("a view");
    let nodes = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let touching = async |ids: &[&str], types: Option<&[String]>, after: Option<&str>, limit| {
        view.edges_touching(&tenant(), graph, &nodes(ids), types, after, PageLimit::rows(limit))
            .await
            .expect("edges")
            .items
    };
    let all = [
        "trace_cited_precedent:trace:t:trace:t:t/4",
        "trace_cited_precedent:trace:u:trace:t:u/2",
        "trace_involves_entity:trace:t:entity:é:1:t/0",
        "trace_observed_input:trace:t:input:B:t/2",
        "trace_observed_input:trace:t:input:b:t/1",
        "trace_observed_input:trace:t:input:é:t/3",
        "trace_observed_input:trace:u:input:b:u/1",
    ];
    let found = touching(&["trace:t", "input:b", "nobody"], None, None, 100).await;
    assert_eq!(keys(&found), all, "by bytes, each once");
    assert_eq!(keys(&touching(&["trace:t", "input:b"], None, None, 3).await), all[..3]);
    assert_eq!(keys(&touching(&["trace:t", "input:b"], None, Some(all[2]), 2).await), all[3..5]);
    assert_eq!(touching(&["trace:t", "input:b"], None, Some(all[6]), 2).await, []);
    let types = ["trace_cited_precedent".to_owned(), "trace_involves_entity".to_owned()];
    assert_eq!(keys(&touching(&["trace:t", "input:b"], Some(&types), None, 100).await), all[..3]);
    assert_eq!(touching(&["trace:t"], Some(&[]), None, 100).await, []);
    assert_eq!(touching(&[], None, None, 100).await, []);
}

/// Edges are found at any distance between a node's edges in the log, written by any program.
pub async fn edges_along_a_long_log(blank: Blank) {
    let fresh = blank.migrated().await;
    let mut positions = Vec::new();
    for (n, start) in [1, 32_700, 70_000, 1_048_500, 5_000_000, 1 << 40].into_iter().enumerate() {
        fresh.raw(&blank.to_position(start)).await;
        let trace = format!("t{n}");
        let events = [started(&trace), input(&trace, 1, "shared"), input(&trace, 2, "own"), cited(&trace, 3, "t0")];
        positions.extend(append_all(&fresh.store, &tenant(), &events).await);
        // One and a half pages each time: some edges are in the batch of the nodes that they name, some are not.
        projected(&fresh, &tenant()).await;
    }
    assert!(positions.last().is_some_and(|last| last.0 > 1 << 40), "{positions:?}");
    let [graph, ..] = projected(&fresh, &tenant()).await;
    let view = fresh.store.view().await.expect("a view");
    assert_eq!(crate::schema::seen(&*view, graph).await.len(), 2 * 4 * 6 - 1);
    // Beside an end is the position since which its node exists, or nothing; never the position of the edge.
    let nodes = crate::fold::all_rows(&*view, &tenant(), catalogue::CONTEXT_GRAPH, graph).await.swap_remove(0);
    let edges = view.rows(&tenant(), catalogue::CONTEXT_GRAPH, graph, 1, RowOrder::Key).await.expect("a stream");
    let edges = crate::fold::collect(edges).await;
    assert!(edges.iter().any(|edge| edge.since.contains(&0)));
    for edge in &edges {
        for (end, since) in
            [2, 3].map(|column| edge.row.0[column].as_str().expect("a node")).into_iter().zip(&edge.since)
        {
            let node = nodes.iter().find(|node| node.row.key() == end).expect("a node");
            assert!(*since == 0 || node.row.0[3].as_int() == Some(*since), "{end} of {}: {since}", edge.row.key());
        }
    }
    // In their order, page by page.
    let incoming = view
        .edges_of(&tenant(), graph, "trace:t0", Direction::Incoming, None, PageLimit::rows(100))
        .await
        .expect("edges")
        .items;
    let at = |row: &Row| LogSeq(row.0[5].as_int().expect("a position"));
    assert_eq!(
        incoming.iter().map(at).collect::<Vec<_>>(),
        positions.iter().copied().skip(3).step_by(4).collect::<Vec<_>>()
    );
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let behind = after.as_ref().map(|row: &Row| (at(row), row.key()));
        let page = view
            .edges_of(&tenant(), graph, "trace:t0", Direction::Incoming, behind, PageLimit::rows(2))
            .await
            .expect("edges")
            .items;
        let Some(last) = page.last().cloned() else { break };
        paged.extend(page);
        after = Some(last);
    }
    assert_eq!(paged, incoming);
}

/// Prepares three finished traces and an unfinished one, with several rows of one policy.
async fn decided(fresh: &Fresh) -> [Generation; 3] {
    append_all(&fresh.store, &named("other"), &[started("t"), policy("t", 1, "p", "1"), finished("t", 2, "success")])
        .await;
    let events = [
        started_about("b", "account", "1"),
        policy("b", 1, "p", "1"),
        exception("b", 2, "x-b", "p", "1"),
        policy("b", 3, "p", "2"),
        started_about("a", "account", "2"),
        policy("a", 1, "p", "2"),
        policy("a", 2, "q", "1"),
        started_about("c", "order", "1"),
        policy("c", 1, "p", "1"),
        finished("c", 2, "failure"),
        finished("b", 4, "success"),
        finished("a", 3, "success"),
        started_about("open", "account", "1"),
        policy("open", 1, "p", "1"),
    ];
    append_all(&fresh.store, &tenant(), &events).await;
    projected(fresh, &tenant()).await
}

pub async fn edges_end_early_at_a_bound_of_bytes(blank: Blank) {
    let fresh = blank.migrated().await;
    let mut events = vec![started("t")];
    events.extend((1..20).map(|seq| input("t", seq, &"i".repeat(10 * seq as usize))));
    append_all(&fresh.store, &tenant(), &events).await;
    let [graph, ..] = projected(&fresh, &tenant()).await;
    let view = fresh.store.view().await.expect("a view");
    let all =
        view.edges_of(&tenant(), graph, "trace:t", Direction::Both, None, PageLimit::rows(100)).await.expect("edges");
    assert_eq!((all.items.len(), all.more), (20, false));
    let nodes = BTreeSet::from(["trace:t".to_owned(), "entity:account:of t".to_owned()]);
    let mut by_id = all.items.clone();
    by_id.sort_by(|one, other| one.key().cmp(other.key()));
    for bytes_max in [0, 1_000, 3_000] {
        let limit = PageLimit::of(100, bytes_max);
        let (mut of, mut touching, mut pages) = (Vec::<Row>::new(), Vec::<Row>::new(), 0);
        loop {
            let last = of.last().map(|edge| (LogSeq(edge.0[5].as_int().expect("a position")), edge.key().to_owned()));
            let behind = last.as_ref().map(|(log_seq, id)| (*log_seq, id.as_str()));
            let page = view.edges_of(&tenant(), graph, "trace:t", Direction::Both, behind, limit).await.expect("edges");
            pages += 1;
            of.extend(page.items);
            if !page.more {
                break;
            }
        }
        loop {
            let last = touching.last().map(|edge| edge.key().to_owned());
            let page =
                view.edges_touching(&tenant(), graph, &nodes, None, last.as_deref(), limit).await.expect("edges");
            assert!(!page.items.is_empty(), "at least one");
            touching.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!((&of, &touching), (&all.items, &by_id), "{bytes_max}");
        assert_eq!(pages == 20, bytes_max == 0, "{pages} pages of {bytes_max} bytes");
        assert!(pages > 1, "{pages}");
    }
}

pub async fn precedents_of_a_policy(blank: Blank) {
    let fresh = blank.migrated().await;
    let [_, summaries, precedents] = decided(&fresh).await;
    let view = fresh.store.view().await.expect("a view");
    let find = async |filter: PrecedentFilter| {
        let hits = view.precedents(&tenant(), summaries, precedents, &filter, usize::MAX).await.expect("hits").items;
        hits.into_iter()
            .map(|hit| (hit.trace_id, hit.policy_version.unwrap_or_default(), hit.exception_id))
            .collect::<Vec<_>>()
    };
    let of =
        |policy: &str| PrecedentFilter { policy_id: Some(policy.to_owned()), limit: 100, ..PrecedentFilter::default() };
    let row = |trace: &str, version: &str, exception: Option<&str>| {
        (trace.to_owned(), version.to_owned(), exception.map(str::to_owned))
    };
    let all = [row("a", "2", None), row("b", "1", Some("x-b")), row("c", "1", None)];
    assert_eq!(find(of("p")).await, all, "the exception before the later policy row; latest trace first");
    assert_eq!(find(PrecedentFilter { limit: 2, ..of("p") }).await, all[..2]);
    assert_eq!(
        find(PrecedentFilter { policy_version: Some("2".to_owned()), ..of("p") }).await,
        [row("a", "2", None), row("b", "2", None)]
    );
    assert_eq!(find(PrecedentFilter { outcome: Some("failure".to_owned()), ..of("p") }).await, all[2..]);
    assert_eq!(find(PrecedentFilter { entity_type: Some("account".to_owned()), ..of("p") }).await, all[..2]);
    let one = PrecedentFilter { entity_type: Some("account".to_owned()), entity_id: Some("1".to_owned()), ..of("p") };
    assert_eq!(find(one).await, all[1..2]);
    assert_eq!(find(of("q")).await, [row("a", "1", None)]);
    assert_eq!(find(of("P")).await, []);
}

pub async fn precedents_without_a_policy(blank: Blank) {
    let fresh = blank.migrated().await;
    let [_, summaries, precedents] = decided(&fresh).await;
    let view = fresh.store.view().await.expect("a view");
    let any = PrecedentFilter { limit: 100, ..PrecedentFilter::default() };
    let hits = view.precedents(&tenant(), summaries, precedents, &any, usize::MAX).await.expect("hits").items;
    let traces: Vec<&str> = hits.iter().map(|hit| hit.trace_id.as_str()).collect();
    assert_eq!(traces, ["a", "b", "c"], "the latest first, and none that is unfinished");
    let hit = &hits[2];
    assert_eq!((hit.workflow.as_str(), hit.title.as_str(), hit.outcome.as_str()), ("w", "about 1", "failure"));
    assert_eq!(hit.primary_entity_type.as_deref(), Some("order"));
    assert_eq!(hit.finished_at, "2026-01-01T00:00:02Z");
    assert_eq!((hit.policy_id.as_ref(), hit.policy_version.as_ref(), hit.exception_id.as_ref()), (None, None, None));
    let few = PrecedentFilter { limit: 1, outcome: Some("success".to_owned()), ..PrecedentFilter::default() };
    let hits = view.precedents(&tenant(), summaries, precedents, &few, usize::MAX).await.expect("hits").items;
    assert_eq!(hits.iter().map(|hit| hit.trace_id.as_str()).collect::<Vec<_>>(), ["a"]);
}
