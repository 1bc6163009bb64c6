//! A neighbourhood as Graphviz DOT and as Mermaid. Stored ids are quoted, so that no id can become syntax.

use decisiongraph_actors::queries::Subgraph;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Graphviz.
pub fn dot(center: &str, graph: &Subgraph) -> String {
    let mut out = String::from(
        "digraph decisiongraph {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];\n",
    );
    for (id, index) in numbered(graph) {
        let look = if id == center { ", penwidth=3" } else { "" };
        let _ = writeln!(out, "  n{index} [label=\"{}\", shape={}{look}];", dot_quoted(id), dot_shape(id));
    }
    let numbers = numbered(graph);
    for edge in &graph.edges {
        let (from, to) = (numbers[edge.from_node_id.as_str()], numbers[edge.to_node_id.as_str()]);
        let _ = writeln!(out, "  n{from} -> n{to} [label=\"{}\"];", dot_quoted(&edge.edge_type));
    }
    out.push('}');
    out
}

/// Mermaid, as Markdown shows it in a `mermaid` block.
pub fn mermaid(center: &str, graph: &Subgraph) -> String {
    let numbers = numbered(graph);
    let mut out = String::from("graph LR\n");
    for (id, index) in &numbers {
        let (open, close) = if id.starts_with("trace:") { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(out, "  n{index}{open}\"{}\"{close}", mermaid_quoted(id));
    }
    for edge in &graph.edges {
        let (from, to) = (numbers[edge.from_node_id.as_str()], numbers[edge.to_node_id.as_str()]);
        let _ = writeln!(out, "  n{from} -->|\"{}\"| n{to}", mermaid_quoted(&edge.edge_type));
    }
    if let Some(index) = numbers.get(center) {
        let _ = writeln!(out, "  style n{index} stroke-width:3px");
    }
    out.truncate(out.trim_end().len());
    out
}

/// Every node, and every end of an edge whose node was filtered out, with a number of its own.
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

pub fn dot_quoted(text: &str) -> String {
    crate::output::shown(text).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn mermaid_quoted(text: &str) -> String {
    crate::output::shown(text)
        .replace('#', "#35;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('>', "#gt;")
        .replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use decisiongraph_actors::queries::{Edge, Node};
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
        let hostile = "entity:a\"]; x -> y \\";
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
        let dot = dot("trace:t", &graph);
        assert!(dot.contains(r#"[label="entity:a\"]; x -> y \\""#), "{dot}");
        let mermaid = mermaid("trace:t", &graph);
        assert!(mermaid.contains("[\"entity:a#quot;]; x -#gt; y \\\"]"), "{mermaid}");
        assert!(mermaid.contains("n0 -->|\"t\"| n1"), "{mermaid}");
    }
}
