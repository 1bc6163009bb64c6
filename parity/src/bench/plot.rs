//! The curves of a report as SVG files, one per picture: growth, freshness and tenants.
//!
//! *Guarantees.* Each picture says with which command, when and on which machine it was measured, and whether that
//! machine was quiet. Its colours are readable on white and on dark paper; it has no paper of its own.

use super::report::{Report, Series, shown};
use anyhow::{Context as _, Result, ensure};
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::path::{Path, PathBuf};

/// Size of a picture.
const SIZE: (u32, u32) = (960, 560);
/// Height of the lines above the axes.
const HEAD: i32 = 88;
/// Colour of texts and axes.
const INK: RGBColor = RGBColor(118, 125, 135);
/// Colours of the curves, in turn.
const CURVES: [RGBColor; 6] = [
    RGBColor(47, 129, 247),
    RGBColor(217, 119, 6),
    RGBColor(26, 150, 80),
    RGBColor(163, 113, 247),
    RGBColor(219, 68, 85),
    RGBColor(20, 150, 170),
];

/// Draws all curves of a report into this directory. Returns the files.
pub fn draw(report: &Report, directory: &Path) -> Result<Vec<PathBuf>> {
    ensure!(!report.series.is_empty(), "the report has no curves: growth, freshness, live and tenants measure some");
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut charts: Vec<&str> = Vec::new();
    for Series { chart, .. } in &report.series {
        // A chart names a file, and the report may come from a file.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(!chart.is_empty() && chart.chars().all(plain), "{chart:?} is not the name of a picture");
        if !charts.contains(&chart.as_str()) {
            charts.push(chart);
        }
    }
    let mut files = Vec::new();
    for chart in charts {
        let file = directory.join(format!("{chart}.svg"));
        let series: Vec<&Series> = report.series.iter().filter(|series| series.chart == chart).collect();
        picture(report, &series, &file).with_context(|| file.display().to_string())?;
        files.push(file);
    }
    Ok(files)
}

/// Returns the lines above the axes: subject, command, machine and time, and use of the machine by others.
fn head(report: &Report, series: &[&Series]) -> Vec<String> {
    let setting = |name: &str| {
        let found = report.settings.iter().find(|(other, _)| other == name);
        found.map_or("unknown", |(_, value)| value.as_str())
    };
    let store = ["store", "pg server_version"].into_iter().map(setting).find(|value| *value != "unknown");
    let store = store.map_or(String::new(), |store| match store.starts_with("embedded") {
        true => format!(", {store}"),
        false => format!(", PostgreSQL {store}"),
    });
    let subject =
        series.first().map_or(String::new(), |first| format!("{}: {} by {}", first.measure, first.y, first.x));
    let quiet = report.quiet.as_ref().map_or("quiet: unknown".to_owned(), ToString::to_string);
    vec![
        subject,
        setting("command").to_owned(),
        format!("{}, {}, {}{store}", setting("date"), setting("processor"), setting("memory")),
        quiet,
    ]
}

fn picture(report: &Report, series: &[&Series], file: &Path) -> Result<()> {
    let points: Vec<(f64, f64)> = series.iter().flat_map(|series| series.points.iter().copied()).collect();
    ensure!(points.iter().any(|(x, y)| x.is_finite() && y.is_finite()), "the curves have no points");
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    for (line, text) in (0..).zip(head(report, series)) {
        let size = if line == 0 { 18 } else { 12 };
        let style = ("sans-serif", size).into_font().color(&INK);
        root.draw_text(&text, &style, (14, if line == 0 { 10 } else { 18 + line * 17 }))?;
    }
    let area = root.margin(HEAD, 12, 12, 24);
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let vertical = 0.0..if highest > 0.0 { highest * 1.05 } else { 1.0 };
    let (first, last) = points.iter().fold((f64::MAX, 0.0), |(low, high), (x, _)| (low.min(*x), f64::max(high, *x)));
    let mut builder = ChartBuilder::on(&area);
    builder.x_label_area_size(44).y_label_area_size(84);
    if series.iter().all(|series| series.log_x) && first > 0.0 && first < last {
        curves(&mut builder.build_cartesian_2d((first..last).log_scale(), vertical)?, series)?;
    } else {
        curves(&mut builder.build_cartesian_2d(0.0..if last > 0.0 { last } else { 1.0 }, vertical)?, series)?;
    }
    root.present()?;
    Ok(())
}

/// Draws axes, curves and their names.
fn curves<'a, X>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>,
    series: &[&Series],
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let text = ("sans-serif", 12).into_font().color(&INK);
    let (x, y) = series.first().map_or(("", ""), |first| (first.x.as_str(), first.y.as_str()));
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.35))
        .light_line_style(INK.mix(0.0))
        .label_style(text.clone())
        .axis_desc_style(("sans-serif", 13).into_font().color(&INK))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|value| shown(*value))
        .y_label_formatter(&|value| shown(*value))
        .draw()?;
    for (series, color) in series.iter().zip(CURVES.into_iter().cycle()) {
        let line = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), line))?
            .label(series.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
    }
    chart.configure_series_labels().border_style(INK.mix(0.0)).label_font(text).draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let series = |chart: &str, name: &str, log_x: bool, points: &[(f64, f64)]| Series {
            measure: "freshness".to_owned(),
            chart: chart.to_owned(),
            name: name.to_owned(),
            x: "append to visible, ms".to_owned(),
            y: "events, %".to_owned(),
            log_x,
            points: points.to_vec(),
        };
        Report {
            settings: [("command", "bench --measures \"a<b>&c\""), ("date", "2026-11-30"), ("processor", "2 x P")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            series: vec![
                series("visible", "100/s & <more>", true, &[(0.7, 1.0), (1.5, 50.0), (40.0, 100.0)]),
                series("visible", "1000/s", true, &[(1.2, 1.0), (3.5, 50.0), (90.0, 100.0)]),
                series("growth", "one point", false, &[(0.0, 0.0)]),
            ],
            ..Report::default()
        }
    }

    #[test]
    fn pictures_are_well_formed_and_have_their_curves() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("new");
        let files = draw(&report(), &inner).expect("draws");
        assert_eq!(files, [inner.join("visible.svg"), inner.join("growth.svg")]);
        let text = std::fs::read_to_string(&files[0]).expect("reads");
        let picture = roxmltree::Document::parse(&text).expect("well-formed");
        let lines = picture.descendants().filter(|node| node.has_tag_name("polyline"));
        let strokes: Vec<&str> = lines.filter_map(|line| line.attribute("stroke")).collect();
        for color in ["#2F81F7", "#D97706"] {
            // The curve, and its sample beside its name.
            assert_eq!(strokes.iter().filter(|stroke| **stroke == color).count(), 2, "{color}: {strokes:?}");
        }
        let texts: Vec<String> = picture
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .map(|node| node.text().unwrap_or_default().trim().to_owned())
            .collect();
        for shown in [
            "freshness: events, % by append to visible, ms",
            "bench --measures \"a<b>&c\"",
            "2026-11-30, 2 x P, unknown",
            "quiet: unknown",
            "100/s & <more>",
            "1000/s",
            "append to visible, ms",
            "events, %",
        ] {
            assert!(texts.iter().any(|text| text == shown), "{shown}: {texts:?}");
        }
        assert!(!text.contains("#FFFFFF"), "no paper of its own");
        roxmltree::Document::parse(&std::fs::read_to_string(&files[1]).expect("reads")).expect("well-formed");
    }

    #[test]
    fn a_chart_names_no_file_elsewhere_and_a_report_without_curves_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut foreign = report();
        foreign.series[0].chart = "../visible".to_owned();
        assert!(draw(&foreign, directory.path()).is_err());
        let none = draw(&Report::default(), directory.path()).expect_err("no curves");
        assert!(none.to_string().contains("no curves"), "{none}");
    }
}
