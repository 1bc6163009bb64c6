//! `schema`: the JSON Schemas of events.

use super::Context;
use crate::page::Page;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, ExitCode, schema};
use serde_json::json;

/// Print the JSON Schema of an event type, or list the types
///
/// The schemas (2020-12) are made of the tables that an append checks by. Rules that JSON Schema cannot express are in
/// the schema as comments. Needs no database and no node.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  decisiongraph schema\n  decisiongraph schema PolicyEvaluated\n  decisiongraph schema envelope --json > envelope.json"
)]
pub struct Schema {
    /// Event type, or envelope for an event of any type; the list of both when absent
    #[arg(value_name = "TYPE", value_parser = names(), hide_possible_values = true)]
    name: Option<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(schema::list().into_iter().map(|listed| PossibleValue::new(listed.name)))
}

impl Schema {
    pub async fn run(self, context: &Context) -> Result<ExitCode, AdminError> {
        match self.name {
            Some(name) => {
                let found = schema::of(&name).ok_or_else(|| {
                    AdminError::new(Category::InvalidArgument, format!("there is no schema `{name}`"))
                })?;
                if context.output.json {
                    context.output.json(&found)?;
                } else {
                    let mut page = Page::default();
                    format!("{found:#}").lines().for_each(|line| page.line(line));
                    context.output.page(&page)?;
                }
            }
            None if context.output.json => context.output.json(&json!({ "schemas": schema::list() }))?,
            None => {
                let mut page = Page::default();
                schema::list()
                    .iter()
                    .for_each(|listed| page.line(format_args!("{:<25} {}", listed.name, listed.about)));
                page.line("");
                page.line("`decisiongraph schema TYPE` prints the JSON Schema of one.");
                context.output.page(&page)?;
            }
        }
        Ok(ExitCode::OK)
    }
}
