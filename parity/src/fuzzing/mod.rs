//! Targets for bytes from any sender. They pass the bytes to the product's own functions, and check the promises that
//! hold for all bytes.
//!
//! The fuzzer (`parity/fuzz`) invents the bytes. The bytes worth keeping lie in `parity/fuzz/corpus`, and a test offers
//! each of them to its target.
//!
//! *Guarantees.* A target panics exactly when a promise is broken. *Never:* reaches a network or a database.

mod configuration;
mod cursors;
mod import_lines;
mod preamble;
mod projections;
mod rpc_frames;
mod urls;

use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use decisiongraph_protocol::foreign_text::shown;
use std::cell::OnceCell;
use std::future::Future;
use tokio::runtime::{Builder, Runtime};

/// A part of the product that takes bytes from any sender.
pub struct Target {
    /// Name of the target's corpus and program.
    pub name: &'static str,
    /// Offers bytes to the target.
    pub offer: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 7] = [
    Target { name: "import_lines", offer: import_lines::offer },
    Target { name: "preamble", offer: preamble::offer },
    Target { name: "rpc_frames", offer: rpc_frames::offer },
    Target { name: "configuration", offer: configuration::offer },
    Target { name: "cursors", offer: cursors::offer },
    Target { name: "urls", offer: urls::offer },
    Target { name: "projections", offer: projections::offer },
];

/// Offers bytes to the target of this name.
///
/// # Panics
///
/// Panics when a promise is broken, or when there is no such target.
pub fn offer(target: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|known| known.name == target).expect("a target of the list");
    (target.offer)(bytes);
}

/// Longest message about bytes that were refused, in bytes: a log line or an answer carries it.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// Checks a message for people: short, and on one line when it is shown.
fn told(category: Category, message: &str) {
    assert_eq!(Category::parse(category.as_str()), Some(category), "a word of the vocabulary");
    assert!(!message.is_empty() && message.len() <= MESSAGE_BYTES_MAX, "{} bytes: {message}", message.len());
    visible(message);
}

/// Checks an error in the same way, with its next step.
fn refused(error: &AdminError) {
    told(error.category, &error.message);
    visible(&error.next);
}

/// Checks that shown text has no control characters, and is shown again unchanged.
fn visible(text: &str) {
    let once = shown(text);
    assert!(!once.contains(char::is_control), "{once:?}");
    assert_eq!(shown(&once), once);
}

/// Runs a future to its end on this thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        runtime.get_or_init(|| Builder::new_current_thread().enable_all().build().expect("a runtime")).block_on(future)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Largest size of all corpora, bytes: they are in the repository.
    const CORPUS_BYTES_MAX: u64 = 400 * 1024;

    #[test]
    fn every_kept_input_of_the_fuzzer_still_keeps_its_promises() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let names = |folder: &Path| -> BTreeSet<_> {
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
        };
        let mut bytes_total = 0;
        for Target { name, offer } in TARGETS {
            let inputs = names(&corpus.join(name));
            assert!(!inputs.is_empty(), "{name} has no corpus");
            for input in inputs {
                let path = corpus.join(name).join(input);
                println!("{}", path.display());
                let bytes = std::fs::read(path).expect("reads");
                bytes_total += bytes.len() as u64;
                offer(&bytes);
            }
        }
        assert!(bytes_total <= CORPUS_BYTES_MAX, "the corpora have {bytes_total} bytes");
        let known: BTreeSet<_> = TARGETS.iter().map(|target| target.name.into()).collect();
        assert_eq!(names(&corpus), known, "one folder per target");
        let manifest = std::fs::read_to_string(corpus.join("../Cargo.toml")).expect("reads");
        for Target { name, .. } in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no program");
        }
    }
}
