//! The program in the README is the example, and prints what the README says.

#[allow(dead_code)]
#[path = "../examples/three_actors.rs"]
mod three_actors;

#[tokio::test]
async fn the_readme_shows_the_example_and_its_output() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(include_str!("../examples/three_actors.rs")), "the README shows another program");
    let printed = three_actors::run().await.expect("runs");
    assert!(readme.contains(&format!("```text\n{printed}```")), "{printed}");
}
