//! The rule about witnesses, and its file (C2SP tlog-policy).
//!
//! ```text
//! log VKEY [URL]
//! witness NAME VKEY [URL]
//! group NAME all|any|K NAME…        names of lines above, each in one group at most
//! quorum NAME|none                  exactly once
//! ```

use crate::finding::Failure;
use decisiongraph_projections::seal::note::{KeyKind, VerifierKey};
use decisiongraph_projections::seal::read_decimal;
use std::collections::BTreeMap;

/// Most lines of a policy; groups that contain each other are not deeper.
const LINES_MAX: usize = 1_000;

/// The cosignatures that a checkpoint must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// That of the witness with this number.
    Witness(usize),
    /// So many of these.
    AtLeast(usize, Vec<Rule>),
}

impl Rule {
    /// True when the witnesses that cosigned are enough.
    pub(crate) fn is_met(&self, cosigned: &[bool]) -> bool {
        match self {
            Rule::Witness(number) => cosigned[*number],
            Rule::AtLeast(count, members) => members.iter().filter(|member| member.is_met(cosigned)).count() >= *count,
        }
    }
}

/// A policy file.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) logs: Vec<VerifierKey>,
    pub(crate) witnesses: Vec<VerifierKey>,
    pub(crate) rule: Rule,
}

/// Reads the key of a log, or else of a witness.
pub(crate) fn read_key(text: &str, of_log: bool) -> Result<VerifierKey, Failure> {
    let what = if of_log { "log" } else { "witness" };
    match VerifierKey::parse(text.trim()) {
        Ok(key) if (key.kind == KeyKind::Log) == of_log => Ok(key),
        Ok(_) => Err(Failure::Usage(format!("this is not the key of a {what}: {text}"))),
        Err(error) => Err(Failure::Usage(format!("{error}: {text}"))),
    }
}

impl Policy {
    /// Reads the file.
    pub(crate) fn parse(text: &str) -> Result<Policy, Failure> {
        let refuse = |what: &str| Err(Failure::Usage(format!("the policy of witnesses: {what}")));
        if text.contains(|c: char| c.is_ascii_control() && !"\t\n".contains(c)) || text.lines().count() > LINES_MAX {
            return refuse("it holds a control character, or too many lines");
        }
        let (mut logs, mut witnesses, mut quorum) = (Vec::new(), Vec::new(), None);
        // Each name with its rule, and true when it is in a group.
        let mut names: BTreeMap<&str, (Rule, bool)> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            let defined = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                ["log", key] | ["log", key, _] => {
                    logs.push(read_key(key, true)?);
                    continue;
                }
                ["quorum", name] if quorum.is_none() => {
                    let known = names.get(name).map(|(rule, _)| rule.clone());
                    quorum = known.or_else(|| (*name == "none").then(|| Rule::AtLeast(0, Vec::new())));
                    if quorum.is_none() {
                        return refuse(&format!("the quorum is not defined above it: {line}"));
                    }
                    continue;
                }
                ["witness", name, key] | ["witness", name, key, _] => {
                    witnesses.push(read_key(key, false)?);
                    (*name, Rule::Witness(witnesses.len() - 1))
                }
                ["group", name, count, members @ ..] if !members.is_empty() => {
                    let mut rules = Vec::new();
                    for member in members {
                        match names.get_mut(member) {
                            Some((rule, grouped @ false)) => {
                                *grouped = true;
                                rules.push(rule.clone());
                            }
                            _ => return refuse(&format!("{member} is not defined above, or is in two groups: {line}")),
                        }
                    }
                    let count = match *count {
                        "all" => Some(rules.len()),
                        "any" => Some(1),
                        count => read_decimal(count).ok().and_then(|count| usize::try_from(count).ok()),
                    };
                    match count.filter(|count| (1..=rules.len()).contains(count)) {
                        Some(count) => (*name, Rule::AtLeast(count, rules)),
                        None => return refuse(&format!("a group needs all, any or a number of its members: {line}")),
                    }
                }
                _ => return refuse(&format!("this line is not one of a policy: {line}")),
            };
            if defined.0 == "none" || names.insert(defined.0, (defined.1, false)).is_some() {
                return refuse(&format!("the name {} is taken", defined.0));
            }
        }
        match quorum {
            Some(rule) => Ok(Policy { logs, witnesses, rule }),
            None => refuse("it has no line `quorum NAME`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(name: &str, number: u8) -> String {
        let key = VerifierKey { name: "w".to_owned(), kind: KeyKind::Witness, public: vec![number; 32] };
        format!("witness {name} {key} https://w.example\n")
    }

    fn policy(rest: &str) -> Result<Policy, Failure> {
        let witnesses: String = (1..=5).map(|number| witness(&format!("w{number}"), number)).collect();
        Policy::parse(&format!("# five witnesses\n\n{witnesses}{rest}"))
    }

    #[test]
    fn groups_count_their_members() {
        let two = policy("group a 2 w1 w2 w3\n group b\tany w4 w5 # not a comment\n");
        assert!(two.is_err(), "`#` begins a comment only at the beginning of a line");
        let both = policy("group a 2 w1 w2 w3\ngroup b any w4 w5\ngroup c all a b\nquorum c\n").expect("a policy");
        for (cosigned, met) in [("11010", true), ("01101", true), ("11100", false), ("10011", false), ("11111", true)] {
            let cosigned: Vec<bool> = cosigned.bytes().map(|byte| byte == b'1').collect();
            assert_eq!(both.rule.is_met(&cosigned), met, "{cosigned:?}");
        }
        assert!(policy("quorum none\n").expect("a policy").rule.is_met(&[false; 5]));
        assert!(!policy("quorum w2\n").expect("a policy").rule.is_met(&[true, false, true, true, true]));
    }

    #[test]
    fn a_policy_that_says_two_things_is_refused() {
        for wrong in [
            "",
            "quorum w6\n",
            "quorum w1\nquorum w1\n",
            "group a any w1\ngroup b any w1\nquorum a\n",
            "group a 0 w1\nquorum a\n",
            "group a 2 w1\nquorum a\n",
            "group a 01 w1\nquorum a\n",
            "group a any\nquorum a\n",
            "group w1 any w2\nquorum w1\n",
            "group none any w2\nquorum none\n",
            "group a any none\nquorum a\n",
            "group a any a\nquorum a\n",
            "quorum w1\r\n",
            "logs\nquorum w1\n",
            &format!("{}quorum w1\n", witness("w1", 9)),
            &format!("quorum w1\n{}", "\n".repeat(LINES_MAX)),
        ] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }
}
