//! Address flags: the way by which the caller reached the database or node. Every command that is shown ends with them,
//! so that it goes to the same place.
//!
//! *Never:* shows a password. A command without its password is refused, and does not ask for it. With its password,
//! the command would leave it in a shell history.

use crate::globals::Globals;
use decisiongraph_protocol::foreign_text::shell_word;
use decisiongraph_protocol::{AdminError, Reply, addressed};

/// Returns the flags of the address, as given. Values from the environment need no flag.
pub fn flags(globals: &Globals) -> String {
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let given = [
        ("--database", globals.database.as_deref().map(without_password)),
        ("--data-dir", globals.data_dir.as_ref().map(path)),
        ("--node", globals.node.clone()),
        ("--secret-file", globals.secret_file.as_ref().map(path)),
        ("--tls-ca", globals.tls_ca.as_ref().map(path)),
        ("--tls-cert", globals.tls_cert.as_ref().map(path)),
        ("--tls-key", globals.tls_key.as_ref().map(path)),
        ("--tls-name", globals.tls_name.clone()),
    ];
    let given = given.into_iter().filter_map(|(flag, value)| Some(format!("{flag} {}", shell_word(&value?))));
    given.collect::<Vec<_>>().join(" ")
}

/// Returns a database address without the secrets in its authority and in its parameters.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let authority = match authority.rsplit_once('@') {
        Some((login, host)) => format!("{}@{host}", login.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let kept: Vec<&str> = parameters
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.to_ascii_lowercase().contains("password"))
        .collect();
    let slash = if place.contains('/') { "/" } else { "" };
    let mark = if kept.is_empty() { "" } else { "?" };
    format!("{scheme}://{authority}{slash}{path}{mark}{}", kept.join("&"))
}

/// Returns the error with `flags` added to the commands that it names.
pub fn error(error: &AdminError, flags: &str) -> AdminError {
    AdminError {
        category: error.category,
        message: addressed(&error.message, flags),
        next: addressed(&error.next, flags),
    }
}

/// Returns the reply with `flags` added to the commands that it names. Stored text stays as it is.
pub fn reply<A: Reply>(reply: &A, flags: &str) -> A {
    let mut reply = reply.clone();
    for text in reply.advice() {
        *text = addressed(text, flags);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_all_but_its_password() {
        for (given, shown) in [
            ("postgres://u:s3cret@h:5432/d", "postgres://u@h:5432/d"),
            ("postgres://u:p@ss@h/d?sslmode=require&password=s3cret", "postgres://u@h/d?sslmode=require"),
            ("postgres:///d?host=/run/pg", "postgres:///d?host=/run/pg"),
            ("postgres://h", "postgres://h"),
            ("sqlite:a b.db", "sqlite:a b.db"),
        ] {
            assert_eq!(without_password(given), shown);
        }
    }
}
