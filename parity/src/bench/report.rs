//! Results of the benchmark: figures, each with its goal, and curves. As a table, and as JSON that can be read again.

use super::compare::Comparison;
use super::quiet::Quiet;
use serde::{Deserialize, Deserializer, Serialize};

/// Goal of a measure: a bound for its value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The value is at least this.
    AtLeast(f64),
    /// The value is at most this.
    AtMost(f64),
}

/// One measured value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Measure to which the value belongs.
    pub measure: String,
    /// Name of the value.
    pub name: String,
    /// The value.
    #[serde(deserialize_with = "number")]
    pub value: f64,
    /// Unit of the value; empty for a ratio or a count.
    pub unit: String,
    /// Goal of the value, if there is one.
    pub goal: Option<Goal>,
    /// True when the goal is met.
    pub met: Option<bool>,
    /// Lowest and highest value of the repetitions, if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<(f64, f64)>,
}

/// Points of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Measure to which the curve belongs.
    pub measure: String,
    /// Picture that shows it, together with others; the name of its file.
    pub chart: String,
    /// Name of the curve.
    pub name: String,
    /// Name and unit of the horizontal axis.
    pub x: String,
    /// Name and unit of the vertical axis.
    pub y: String,
    /// True when the horizontal axis is logarithmic.
    pub log_x: bool,
    /// The points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// All results of a run of the benchmark.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Machine, versions and settings: name, value.
    pub settings: Vec<(String, String)>,
    /// Use of the machine by others, before and during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// The values, in the order measured.
    pub figures: Vec<Figure>,
    /// Curves, in the order measured.
    #[serde(default)]
    pub series: Vec<Series>,
    /// Measures that did not come to their end, with the reason.
    pub failed: Vec<String>,
    /// Comparison with an earlier run, if one was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Comparison>,
}

impl Report {
    /// Adds a value.
    pub fn figure(&mut self, measure: &str, name: impl Into<String>, value: f64, unit: &str) {
        let (measure, unit) = (measure.to_owned(), unit.to_owned());
        self.figures.push(Figure { measure, name: name.into(), value, unit, goal: None, met: None, spread: None });
    }

    /// Adds a value that has a goal.
    pub fn goal(&mut self, measure: &str, name: impl Into<String>, value: f64, unit: &str, goal: Goal) {
        let met = match goal {
            Goal::AtLeast(bound) => value >= bound,
            Goal::AtMost(bound) => value <= bound,
        };
        self.figure(measure, name, value, unit);
        if let Some(figure) = self.figures.last_mut() {
            (figure.goal, figure.met) = (Some(goal), Some(met));
        }
    }

    /// Notes the repetitions of which the figure added last is the median.
    pub fn spread(&mut self, values: &[f64]) {
        if let Some(figure) = self.figures.last_mut().filter(|_| values.len() > 1) {
            figure.spread = Some((percentile(values, 0.0), percentile(values, 100.0)));
        }
    }

    /// Adds a value that may not be measurable here.
    pub fn optional(&mut self, measure: &str, name: impl Into<String>, value: Option<f64>, unit: &str) {
        if let Some(value) = value {
            self.figure(measure, name, value, unit);
        }
    }

    /// Adds the median of several runs with their spread; nothing when there was no run.
    pub fn runs(&mut self, measure: &str, name: impl Into<String>, values: &[f64], unit: &str) {
        if !values.is_empty() {
            self.figure(measure, name, median(values), unit);
            self.spread(values);
        }
    }

    /// Renders the report for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        if let Some(quiet) = &self.quiet {
            out.push_str(&format!("{quiet}\n"));
        }
        for (name, value) in &self.settings {
            out.push_str(&format!("{name:<22} {value}\n"));
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["measure", "what", "value", "unit", "goal", ""]);
        for column in [2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        for figure in &self.figures {
            let goal = match figure.goal {
                Some(Goal::AtLeast(bound)) => format!(">= {}", shown(bound)),
                Some(Goal::AtMost(bound)) => format!("<= {}", shown(bound)),
                None => String::new(),
            };
            let met = figure.met.map_or("", |met| if met { "ok" } else { "MISS" });
            table.add_row([&figure.measure, &figure.name, &shown(figure.value), &figure.unit, &goal, met]);
        }
        let compared = self.compared.as_ref().map(|compared| format!("\n{compared}\n")).unwrap_or_default();
        format!("{out}\n{table}\n{compared}")
    }
}

/// Reads a number. JSON has none for a value that is not a number, and writes `null`.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or(f64::NAN))
}

/// Formats a value with three or four significant digits; whole numbers from 1,000 on.
pub fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (n, digit) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n) % 3 == 0 && digit.is_ascii_digit() && !out.ends_with('-') {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// Returns the middle of several runs: half of them were slower.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// Returns the value that `percent` of all values do not exceed (nearest rank).
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        for (value, text) in [(1234567.8, "1,234,568"), (999.0, "999"), (42.25, "42.2"), (0.6, "0.6"), (0.0, "0")] {
            assert_eq!(shown(value), text);
        }
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([50.0, 99.0, 100.0].map(|percent| percentile(&hundred, percent)), [50.0, 99.0, 100.0]);
        assert_eq!((percentile(&[7.0], 1.0), percentile(&[], 50.0).is_nan()), (7.0, true));
    }

    #[test]
    fn a_missed_goal_is_seen() {
        let mut report = Report::default();
        report.goal("floor", "catch-up / floor", 0.5, "", Goal::AtLeast(0.6));
        report.goal("floor", "cost", 0.5, "", Goal::AtMost(0.6));
        assert_eq!(report.figures.iter().map(|figure| figure.met).collect::<Vec<_>>(), [Some(false), Some(true)]);
        assert!(report.table().contains("MISS"));
    }
}
