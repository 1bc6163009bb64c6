//! Two runs beside each other: each figure before and now, with the ratio, and the figures that moved further than
//! their repetitions do.
//!
//! *Never:* a verdict without a direction. A figure of which neither more nor less is better has a ratio alone.

use super::report::{Figure, Goal, Report, shown};
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Settings that differ between any two runs.
const EVER_NEW: [&str; 5] = ["date", "load before", "load after", "directory", "command"];
/// Allowance to both sides of a figure that was measured once, as a part of it.
const ALLOWANCE_OF_ONE_RUN: f64 = 0.05;
/// Units of which more is better.
const MORE_IS_BETTER: [&str; 3] = ["events/s", "rows/s", "x"];
/// Units of which less is better.
const LESS_IS_BETTER: [&str; 10] =
    ["us/event", "bytes/event", "ms", "s", "MiB", "KiB", "%", "% of a core", "/s", "ms/event"];

/// Verdict on a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// Better than before, beyond the spread of the repetitions.
    Better,
    /// Worse than before, beyond the spread of the repetitions.
    Worse,
    /// The repetitions of both runs overlap.
    WithinSpread,
    /// The figure has no direction.
    NoDirection,
    /// Only the earlier run has the figure.
    Gone,
    /// Only this run has the figure.
    New,
}

/// One figure of both runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Measure to which the value belongs.
    pub measure: String,
    /// Name of the value.
    pub name: String,
    /// Unit of the value.
    pub unit: String,
    /// Value of the earlier run.
    pub before: Option<f64>,
    /// Value of this run.
    pub now: Option<f64>,
    /// This run's value divided by the earlier one.
    pub ratio: Option<f64>,
    /// The verdict.
    pub moved: Moved,
}

/// Setting that is not the same in both runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Difference {
    /// Name of the setting.
    pub setting: String,
    /// Value of the earlier run.
    pub before: Option<String>,
    /// Value of this run.
    pub now: Option<String>,
}

/// Comparison of a run with an earlier one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// File of the earlier run.
    pub file: String,
    /// Date of the earlier run.
    pub date: Option<String>,
    /// Machine and settings that differ.
    pub differences: Vec<Difference>,
    /// The figures, those of this run first.
    pub lines: Vec<Line>,
}

/// Reads the report of an earlier run.
pub fn earlier(file: &Path) -> Result<Report, AdminError> {
    let refused = |why: String| {
        AdminError::new(Category::InvalidArgument, format!("{}: {why}", file.display()))
            .next("name a file that `decisiongraph-parity bench --json` has written")
    };
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refused(format!("not a report of `bench --json`: {error}")))
}

impl Comparison {
    /// Compares a report with an earlier one from this file.
    pub fn of(now: &Report, before: &Report, file: &Path) -> Comparison {
        let same = |a: &Figure, b: &Figure| (&a.measure, &a.name, &a.unit) == (&b.measure, &b.name, &b.unit);
        let find = |report: &'_ Report, sought: &Figure| -> Option<Figure> {
            report.figures.iter().find(|figure| same(figure, sought)).cloned()
        };
        let mut lines: Vec<Line> =
            now.figures.iter().map(|figure| line(find(before, figure).as_ref(), Some(figure))).collect();
        let gone = before.figures.iter().filter(|figure| find(now, figure).is_none());
        lines.extend(gone.map(|figure| line(Some(figure), None)));
        let date = setting(before, "date").cloned();
        Comparison { file: file.display().to_string(), date, differences: differences(before, now), lines }
    }

    fn count(&self, moved: Moved) -> usize {
        self.lines.iter().filter(|line| line.moved == moved).count()
    }
}

fn setting<'r>(report: &'r Report, name: &str) -> Option<&'r String> {
    report.settings.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

fn differences(before: &Report, now: &Report) -> Vec<Difference> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in before.settings.iter().chain(&now.settings) {
        if !EVER_NEW.contains(&name.as_str()) && !names.contains(&name) {
            names.push(name);
        }
    }
    let pairs = names.into_iter().map(|name| (name, setting(before, name), setting(now, name)));
    let differ = pairs.filter(|(_, before, now)| before != now);
    differ
        .map(|(name, before, now)| Difference { setting: name.clone(), before: before.cloned(), now: now.cloned() })
        .collect()
}

fn line(before: Option<&Figure>, now: Option<&Figure>) -> Line {
    let (measure, name, unit) = match (now, before) {
        (Some(figure), _) | (None, Some(figure)) => (figure.measure.clone(), figure.name.clone(), figure.unit.clone()),
        (None, None) => Default::default(),
    };
    let moved = match (before, now) {
        (Some(before), Some(now)) => moved(before, now),
        (Some(_), None) => Moved::Gone,
        _ => Moved::New,
    };
    let (before, now) = (before.map(|figure| figure.value), now.map(|figure| figure.value));
    let ratio = before.zip(now).map(|(before, now)| now / before).filter(|ratio| ratio.is_finite());
    Line { measure, name, unit, before, now, ratio, moved }
}

/// Returns true when more of a figure is better, and false when less is.
fn more_is_better(figure: &Figure) -> Option<bool> {
    match figure.goal {
        Some(Goal::AtLeast(_)) => Some(true),
        Some(Goal::AtMost(_)) => Some(false),
        None if MORE_IS_BETTER.contains(&figure.unit.as_str()) => Some(true),
        None if LESS_IS_BETTER.contains(&figure.unit.as_str()) => Some(false),
        None => None,
    }
}

fn moved(before: &Figure, now: &Figure) -> Moved {
    let Some(more) = more_is_better(now).or_else(|| more_is_better(before)) else { return Moved::NoDirection };
    let range = |figure: &Figure| {
        let slack = figure.value.abs() * ALLOWANCE_OF_ONE_RUN;
        figure.spread.unwrap_or((figure.value - slack, figure.value + slack))
    };
    let ((before_low, before_high), (now_low, now_high)) = (range(before), range(now));
    match (now_low > before_high, now_high < before_low) {
        (true, _) => {
            if more {
                Moved::Better
            } else {
                Moved::Worse
            }
        }
        (_, true) => {
            if more {
                Moved::Worse
            } else {
                Moved::Better
            }
        }
        _ => Moved::WithinSpread,
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let date = self.date.as_deref().unwrap_or("no date");
        writeln!(out, "compared with {} ({date})", self.file)?;
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        for Difference { setting, before, now } in &self.differences {
            writeln!(out, "differs: {setting}: {} before, {} now", text(before), text(now))?;
        }
        if !self.differences.is_empty() {
            writeln!(out, "machine or settings differ: ratios of rates, times and memory mean little")?;
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["measure", "what", "before", "now", "unit", "ratio", ""]);
        for column in [2, 3, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        for line in &self.lines {
            let cell = |value: Option<f64>| value.map(shown).unwrap_or_default();
            let mark = match line.moved {
                Moved::Better => "better",
                Moved::Worse => "WORSE",
                Moved::WithinSpread | Moved::NoDirection => "",
                Moved::Gone => "gone",
                Moved::New => "new",
            };
            table.add_row([
                &line.measure,
                &line.name,
                &cell(line.before),
                &cell(line.now),
                &line.unit,
                &cell(line.ratio),
                mark,
            ]);
        }
        writeln!(out, "\n{table}\n")?;
        write!(
            out,
            "{} worse and {} better than the spread of the repetitions, {} within it",
            self.count(Moved::Worse),
            self.count(Moved::Better),
            self.count(Moved::WithinSpread)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(settings: &[(&str, &str)], figures: &[(&str, &[f64], &str)]) -> Report {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut report = Report { settings, ..Report::default() };
        for (name, values, unit) in figures {
            report.runs("floors", *name, values, unit);
        }
        report
    }

    #[test]
    fn a_figure_moved_when_the_repetitions_do_not_overlap() {
        let before = report(
            &[],
            &[
                ("rate", &[90.0, 100.0, 110.0], "events/s"),
                ("steady", &[90.0, 100.0, 110.0], "events/s"),
                ("time", &[10.0], "ms"),
                ("short", &[10.0], "ms"),
                ("rows", &[2.0], "rows"),
                ("gone", &[1.0], "s"),
            ],
        );
        let now = report(
            &[],
            &[
                ("rate", &[60.0, 80.0, 89.0], "events/s"),
                ("steady", &[60.0, 80.0, 91.0], "events/s"),
                ("time", &[12.0], "ms"),
                ("short", &[10.5], "ms"),
                ("rows", &[4.0], "rows"),
                ("new", &[1.0], "s"),
            ],
        );
        let compared = Comparison::of(&now, &before, Path::new("old.json"));
        let moved: Vec<(&str, Moved)> = compared.lines.iter().map(|line| (line.name.as_str(), line.moved)).collect();
        use Moved::{Gone, New, NoDirection, WithinSpread, Worse};
        let expected = [
            ("rate", Worse),
            ("steady", WithinSpread),
            ("time", Worse),
            ("short", WithinSpread),
            ("rows", NoDirection),
            ("new", New),
            ("gone", Gone),
        ];
        assert_eq!(moved, expected);
        assert_eq!(compared.lines[0].ratio, Some(0.8));
        let better = Comparison::of(&before, &now, Path::new("old.json"));
        assert_eq!(better.lines.iter().filter(|line| line.moved == Moved::Better).count(), 2);
    }

    #[test]
    fn another_machine_is_told() {
        let before = report(&[("date", "1"), ("processor", "2 x A"), ("jit", "off")], &[]);
        let now = report(&[("date", "2"), ("processor", "2 x B"), ("jit", "off")], &[]);
        let text = Comparison::of(&now, &before, Path::new("old.json")).to_string();
        assert!(text.contains("compared with old.json (1)\ndiffers: processor: 2 x A before, 2 x B now\n"), "{text}");
        assert!(text.contains("mean little"), "{text}");
        let same = Comparison::of(&now, &now, Path::new("old.json")).to_string();
        assert!(!same.contains("differ"), "{same}");
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("report.json");
        let mut written = report(&[("date", "1")], &[("rate", &[1.0, 2.0, 4.0], "events/s")]);
        written.figure("floors", "nothing", f64::NAN, "ms");
        std::fs::write(&file, serde_json::to_vec(&written).expect("JSON")).expect("writes");
        let read = earlier(&file).expect("a report");
        assert_eq!((read.figures[0].value, read.figures[0].spread), (2.0, Some((1.0, 4.0))));
        assert!(read.figures[1].value.is_nan());
        for foreign in ["", "{}", "[1]", r#"{"settings":[],"figures":[{"name":"x"}],"failed":[]}"#] {
            std::fs::write(&file, foreign).expect("writes");
            let refused = earlier(&file).expect_err(foreign);
            assert_eq!(refused.category, Category::InvalidArgument, "{foreign}");
            assert!(refused.message.contains("not a report of `bench --json`"), "{refused}");
        }
        assert!(earlier(&directory.path().join("none")).is_err());
    }
}
