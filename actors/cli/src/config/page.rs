//! The page `docs/reference/CONFIGURATION.md`, made from [`KEYS`]. A test compares the two.

use super::keys::{CONFIG_VARIABLE, KEYS};
use std::fmt::Write as _;

/// Renders the page. `DECISIONGRAPH_BLESS=1 cargo test -p decisiongraph-cli --test config` writes it.
pub fn markdown() -> String {
    let mut page = format!(
        "# Configuration of a node\n\n\
         Made from `actors/cli/src/config/keys.rs`; a test keeps the two equal. Words: [GLOSSARY](../GLOSSARY.md).\n\n\
         A value comes from, each over the one before: the default, a TOML file (`--config FILE`, else `{CONFIG_VARIABLE}`), the environment, a flag. \
         In the file a number is a TOML integer and everything else a TOML string; an empty variable counts as absent. \
         `decisiongraph node` checks everything before it starts and reports every fault at once (`invalid_argument`, exit code 2): unknown keys with the nearest known one, \
         wrong types, values out of range, files that cannot be read. `decisiongraph node --print-config` prints what is in force and where each value came from, without passwords.\n\n\
         ```toml\n\
         # node.toml\n\
         database = \"postgres://decisions@db.example/decisions\"\n\
         data_dir = \"/var/lib/decisiongraph\"\n\
         log_format = \"json\"\n\
         lease_ms = 5000\n\
         ```\n\n\
         | key | variable | takes | default | for |\n\
         |---|---|---|---|---|\n"
    );
    for key in KEYS {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} | {} | {} |",
            key.name,
            key.variable(),
            key.takes(),
            key.default_text(),
            key.help
        );
    }
    let everywhere: Vec<&str> = KEYS.iter().filter(|key| key.everywhere).map(|key| key.name).collect();
    let _ = write!(
        page,
        "\nThe flag of a key is its name with dashes: `--lease-ms 5000`. Every command, not only a node, reads these from the environment: `{}`.\n\n\
         **Addresses.** `metrics_listen` and `admin_listen` are loopback addresses by default or rule. Another address for `metrics_listen` is taken when it is written down: the page names tenants, \
         so put it where only those who may know them reach it.\n\n\
         **Memory.** When nobody sets `memory_max`, it is half of the tightest limit that is found: those of the process's control group and of\n\
         every group around it (version 1 or 2), and the memory of the machine. It is never less than 256 MiB, so a container needs at least that.\n",
        everywhere.join("`, `")
    );
    page
}
