//! The page `docs/reference/CONFIGURATION.md`, made from [`KEYS`]. A test compares the two.

use super::keys::{CONFIG_VARIABLE, KEYS};
use std::fmt::Write as _;

/// Renders the page. `DECISIONGRAPH_BLESS=1 cargo test -p decisiongraph-cli --test config` writes it.
pub fn markdown() -> String {
    let mut page = format!(
        "# Configuration of a node\n\n\
         Made from `actors/cli/src/config/keys.rs`; a test keeps the two equal. Words: [GLOSSARY](../GLOSSARY.md).\n\n\
         A value comes from these sources; each overrides the sources before it:\n\n\
         1. the default;\n\
         2. a TOML file (`--config FILE`, else `{CONFIG_VARIABLE}`);\n\
         3. the environment;\n\
         4. a flag.\n\n\
         In the file, a number is a TOML integer and every other value a TOML string. An empty variable counts as absent.\n\
         `decisiongraph node` checks all values before it starts and reports all faults at once (`invalid_argument`, exit code\n\
         2): unknown keys with the nearest known key, wrong types, values out of range, unreadable files.\n\
         `decisiongraph node --print-config` prints the values in force and the source of each, without passwords.\n\n\
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
        "\nThe flag of a key is its name with dashes: `--lease-ms 5000`. Every command, not only a node, reads these keys from the\n\
         environment:\n\n\
         - `{}`\n\n\
         **Addresses.** By default or by rule, `metrics_listen` and `admin_listen` are loopback addresses. `metrics_listen` also\n\
         accepts an explicit other address. The page names tenants, so use an address that only authorised clients can reach.\n\n\
         **Memory.** By default, `memory_max` is half of the tightest known limit: the limits of the process's control group and\n\
         of every group around it (version 1 or 2), and the memory of the machine. It is never less than 256 MiB, so a container\n\
         needs at least that.\n",
        everywhere.join("`\n- `")
    );
    page
}
