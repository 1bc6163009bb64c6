//! One flag per key of a node's configuration, made from the table of keys.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use decisiongraph_cli::config::keys::{KEYS, Key};

/// Keys whose flags every command has.
const GLOBAL: [&str; 3] = ["database", "data_dir", "secret_file"];

/// Values of the flags: pairs of key and text, checked later together with file and environment.
#[derive(Debug, Clone, Default)]
pub struct KeyFlags(pub Vec<(String, String)>);

fn own() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| !GLOBAL.contains(&key.name))
}

fn flag(key: &'static Key) -> Arg {
    // Made once per process: the flags live as long as the process.
    let long: &'static str = key.flag().trim_start_matches("--").to_owned().leak();
    let help: &'static str = format!("{} [{}; default: {}]", key.help, key.takes(), key.default_text()).leak();
    let argument = Arg::new(key.name).long(long).value_name("VALUE").help(help).help_heading("Configuration");
    match key.name {
        "admin_listen" => argument.visible_alias("listen"),
        _ => argument,
    }
}

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        command.args(own().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        KeyFlags::augment_args(command)
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<KeyFlags, clap::Error> {
        let given = |key: &'static Key| Some((key.name.to_owned(), matches.get_one::<String>(key.name)?.clone()));
        Ok(KeyFlags(own().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = KeyFlags::from_arg_matches(matches)?;
        Ok(())
    }
}
