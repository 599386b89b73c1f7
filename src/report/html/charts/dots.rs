//! Durations as dots on a logarithmic axis, a row per thing: median, 90th and 99th percentile and mean, with their figures
//! beside them. For relist, for calls of the runtime, and for relist over nodes.

use super::scale::{Log, mark, short, thousands};
use super::svg::{Link, Svg, WIDTH, fitting};
use crate::analyze::figures::Latency;

const LEFT: f64 = 200.0;
const RIGHT: f64 = 735.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;

/// A row of the picture.
pub(in super::super) struct Row<'a> {
    /// Its name.
    pub(in super::super) name: String,
    /// Where the name leads.
    pub(in super::super) link: Option<Link>,
    /// Its durations.
    pub(in super::super) latency: &'a Latency,
    /// Calls that failed; `None` where nothing of the kind is counted.
    pub(in super::super) errors: Option<f64>,
}

/// A value everything is held against.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limit {
    /// Seconds.
    pub(in super::super) seconds: f64,
    /// What it is.
    pub(in super::super) text: &'static str,
}

/// Points of a row: what it is called, its shape, and whether it is filled. Never told by colour alone.
const POINTS: [(&str, &str, &str); 4] = [
    ("p50", "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z", "full"),
    ("p90", "M-4-4H4V4H-4Z", "full"),
    ("p99", "M-5 4H5L0-5Z", "full"),
    ("mean", "M-4-4L4 4M4-4L-4 4", "stroke"),
];

/// Returns the picture.
pub(in super::super) fn chart(label: &str, rows: &[Row<'_>], limit: Option<Limit>) -> String {
    let most = rows.iter().flat_map(|row| points(row.latency)).flatten().filter(|v| v.is_finite());
    let log = Log::new(LEFT, RIGHT, most.fold(limit.map_or(1.0, |limit| limit.seconds), f64::max));
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(bottom + 4.0, label);
    svg.bands(TOP, ROW, rows.len());
    for tick in log.ticks() {
        svg.line((log.at(tick), TOP - 6.0), (log.at(tick), bottom), "grid");
        svg.text((log.at(tick), TOP - 10.0), "axis middle", &mark(tick));
    }
    if let Some(limit) = limit {
        svg.line((log.at(limit.seconds), TOP - 22.0), (log.at(limit.seconds), bottom), "limit");
        svg.text((log.at(limit.seconds) - 4.0, TOP - 26.0), "axis end", limit.text);
    }
    let failed = rows.iter().any(|row| row.errors.is_some()).then_some((WIDTH - 6.0, "failed"));
    let columns = [(820.0, "p50"), (890.0, "p90"), (960.0, "p99"), (1060.0, "count")];
    for (x, text) in columns.into_iter().chain(failed) {
        svg.text((x, TOP - 10.0), "axis end", text);
    }
    let mut y = TOP + ROW / 2.0;
    for row in rows {
        draw(&mut svg, row, y, &log);
        y += ROW;
    }
    format!("<div class=\"chart\">{}</div>\n", svg.finish())
}

/// Returns what tells the points of a row apart.
pub(in super::super) fn legend() -> String {
    let items: Vec<String> = POINTS
        .iter()
        .map(|(name, shape, paint)| {
            format!(
                "<span><svg viewBox=\"-7 -7 14 14\" width=\"14\" height=\"14\" aria-hidden=\"true\"><path d=\"{shape}\" \
                 class=\"mark {paint} dot\"/></svg>{name}</span>"
            )
        })
        .collect();
    format!("<p class=\"legend\">{}</p>\n", items.join(" "))
}

fn points(latency: &Latency) -> [Option<f64>; 4] {
    [latency.p50, latency.p90, latency.p99, latency.mean]
}

fn draw(svg: &mut Svg, row: &Row<'_>, y: f64, log: &Log) {
    svg.begin("name", &row.name, row.link.as_ref());
    svg.text((6.0, y + 4.0), "label", &fitting(&row.name, LEFT - 16.0));
    svg.end(row.link.as_ref());
    let values = points(row.latency);
    let told: Vec<String> =
        POINTS.iter().zip(values).filter_map(|((name, ..), v)| Some(format!("{name} {}", short(v?)))).collect();
    svg.begin("row", &format!("{}: {}", row.name, told.join(", ")), None);
    let least = values.into_iter().flatten().fold(f64::INFINITY, f64::min);
    let most = values.into_iter().flatten().fold(0.0, f64::max);
    if most > 0.0 {
        svg.line((log.at(least), y), (log.at(most), y), "range");
    }
    for ((_, shape, paint), value) in POINTS.iter().zip(values).rev() {
        if let Some(value) = value {
            svg.path((log.at(value), y), shape, &format!("mark {paint} dot"));
        }
    }
    svg.end(None);
    let [p50, p90, p99, _] = values;
    for (x, value) in [(820.0, p50), (890.0, p90), (960.0, p99)] {
        svg.text((x, y + 4.0), "figure end", &value.map_or_else(|| "\u{2013}".to_owned(), short));
    }
    let count = row.latency.count.map_or_else(|| "\u{2013}".to_owned(), whole);
    svg.text((1060.0, y + 4.0), "figure end", &count);
    if let Some(errors) = row.errors {
        let class = if errors > 0.0 { "figure end bad" } else { "figure end" };
        svg.text((WIDTH - 6.0, y + 4.0), class, &whole(errors));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
fn whole(count: f64) -> String {
    thousands(count.round() as u64)
}
