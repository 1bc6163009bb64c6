//! Flags of every query for the freshness of its answer.

use crate::output::number;
use crate::page::Page;
use clap::Args;
use decisiongraph_engine::queries::{Freshness, Staleness};
use decisiongraph_projections::LogSeq;
use decisiongraph_protocol::figures::parse_number;

#[derive(Args)]
pub struct FreshnessFlags {
    /// Seconds to wait until the projection has applied the tenant's last event, or that of --at-least
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    wait: f64,
    /// Answer even when it has not, and report the lag
    #[arg(long)]
    allow_stale: bool,
    /// Position that is enough, such as that of an append: the tenant's later events need not be applied
    #[arg(long, value_name = "LOG_SEQ", value_parser = parse_number)]
    at_least: Option<i64>,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.strip_suffix('s').unwrap_or(text).trim().parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0 to 86400, such as 0.5".to_owned()),
    }
}

impl FreshnessFlags {
    /// Returns the freshness as the request has it.
    pub fn freshness(&self) -> Freshness {
        let (wait_ms, at_least) = ((self.wait * 1000.0) as u64, self.at_least.map(LogSeq));
        Freshness { wait_ms, allow_stale: self.allow_stale, at_least }
    }
}

/// Renders the line above an answer that is behind; empty for any other answer.
pub fn stale(stale: Option<&Staleness>) -> Page {
    stale.map_or_else(Page::default, |stale| {
        Page::of(format_args!(
            "stale: {} is at {}, {} events behind the tenant's last event {}",
            stale.projection,
            number(stale.cursor.0),
            number(stale.events),
            number(stale.last_log_seq.0)
        ))
    })
}
