//! A neighbourhood as Graphviz DOT and as Mermaid.
//!
//! *Guarantees.* Stored ids are quoted. No id can become syntax: neither the end of a label, nor a directive of
//! Mermaid.

use crate::page::Page;
use decisiongraph_engine::queries::Subgraph;
use decisiongraph_protocol::foreign_text::shown;
use std::collections::BTreeMap;

/// Renders Graphviz DOT.
pub fn dot(center: &str, graph: &Subgraph) -> Page {
    let mut page = Page::default();
    page.ours("digraph decisiongraph {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];");
    for (id, index) in numbered(graph) {
        let look = if id == center { ", penwidth=3" } else { "" };
        page.line(format_args!("  n{index} [label=\"{}\", shape={}{look}];", dot_quoted(id), dot_shape(id)));
    }
    let numbers = numbered(graph);
    for edge in &graph.edges {
        let (from, to) = (numbers[edge.from_node_id.as_str()], numbers[edge.to_node_id.as_str()]);
        page.line(format_args!("  n{from} -> n{to} [label=\"{}\"];", dot_quoted(&edge.edge_type)));
    }
    page.ours("}");
    page
}

/// Renders Mermaid, as Markdown shows it in a `mermaid` block.
pub fn mermaid(center: &str, graph: &Subgraph) -> Page {
    let numbers = numbered(graph);
    let mut page = Page::of("graph LR");
    for (id, index) in &numbers {
        let (open, close) = if id.starts_with("trace:") { ("([", "])") } else { ("[", "]") };
        page.line(format_args!("  n{index}{open}\"{}\"{close}", mermaid_quoted(id)));
    }
    for edge in &graph.edges {
        let (from, to) = (numbers[edge.from_node_id.as_str()], numbers[edge.to_node_id.as_str()]);
        page.line(format_args!("  n{from} -->|\"{}\"| n{to}", mermaid_quoted(&edge.edge_type)));
    }
    if let Some(index) = numbers.get(center) {
        page.line(format_args!("  style n{index} stroke-width:3px"));
    }
    page
}

/// Numbers every node, and every end of an edge whose node was filtered out.
fn numbered(graph: &Subgraph) -> BTreeMap<&str, usize> {
    let mut numbers = BTreeMap::new();
    let ends = graph.edges.iter().flat_map(|edge| [edge.from_node_id.as_str(), edge.to_node_id.as_str()]);
    for id in graph.nodes.iter().map(|node| node.node_id.as_str()).chain(ends) {
        let next = numbers.len();
        numbers.entry(id).or_insert(next);
    }
    numbers
}

fn dot_shape(id: &str) -> &'static str {
    match id.split(':').next() {
        Some("trace") => "oval",
        Some("policy") => "note",
        Some("actor") => "hexagon",
        Some("exception") => "octagon",
        _ => "box",
    }
}

/// Escapes foreign text for the quotes of DOT.
pub fn dot_quoted(text: &str) -> String {
    shown(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// Escapes foreign text for the quotes of Mermaid. Mermaid looks for directives (`%%{…}%%`) before it looks for quotes.
fn mermaid_quoted(text: &str) -> String {
    shown(text)
        .replace('#', "#35;")
        .replace('%', "#37;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('>', "#gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_engine::queries::{Edge, Node};
    use decisiongraph_projections::LogSeq;

    #[test]
    fn no_id_becomes_syntax() {
        let node = |id: &str| Node {
            node_id: id.to_owned(),
            node_type: "entity".to_owned(),
            trace_id: String::new(),
            log_seq: LogSeq(1),
            created_at: String::new(),
        };
        let hostile = "entity:a\"]; x -> y \\\n%%{init: {}}%%";
        let graph = Subgraph {
            nodes: vec![node("trace:t"), node(hostile)],
            edges: vec![Edge {
                edge_id: "e".to_owned(),
                edge_type: "t".to_owned(),
                from_node_id: "trace:t".to_owned(),
                to_node_id: hostile.to_owned(),
                trace_id: String::new(),
                log_seq: LogSeq(1),
                created_at: String::new(),
            }],
            truncated: false,
        };
        let dot = dot("trace:t", &graph).to_string();
        assert!(dot.contains(r#"[label="entity:a\"]; x -> y \\\\n%%{init: {}}%%""#), "{dot}");
        let mermaid = mermaid("trace:t", &graph).to_string();
        assert!(mermaid.contains("[\"entity:a#quot;]; x -#gt; y \\\\n#37;#37;{init: {}}#37;#37;\"]"), "{mermaid}");
        assert!(!mermaid.contains('%'), "{mermaid}");
        assert!(mermaid.contains("n0 -->|\"t\"| n1"), "{mermaid}");
    }
}
