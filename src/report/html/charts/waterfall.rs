//! When each step of a collection ran, how long, and how it ended: a row per step over one axis of seconds.

use std::time::Duration;

use super::scale::{mark, seconds, short};
use super::svg::{Svg, WIDTH, fitting};
use crate::analyze::steps::StepSpan;
use crate::evidence::Outcome;
use crate::wording;

const LEFT: f64 = 240.0;
const RIGHT: f64 = 780.0;
const ROW: f64 = 17.0;
const TOP: f64 = 24.0;
/// Steps that are drawn.
const STEPS: usize = 300;

/// Returns the picture of the steps that ran; `None` if none did.
pub(in super::super) fn chart(label: &str, steps: &[StepSpan]) -> Option<String> {
    let ran: Vec<_> = steps.iter().filter_map(|step| Some((step.started?, step))).take(STEPS).collect();
    let first = ran.iter().map(|(started, _)| *started).min()?;
    let took = |step: &StepSpan| Duration::from_millis(step.took_ms.unwrap_or_default()).as_secs_f64();
    let span = ran.iter().map(|(at, step)| seconds(first, *at) + took(step)).fold(1.0, f64::max);
    let x = |at: f64| LEFT + (at / span).clamp(0.0, 1.0) * (RIGHT - LEFT);
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let bottom = TOP + ROW * ran.len() as f64;
    let mut svg = Svg::new(bottom + 4.0, label);
    svg.bands(TOP, ROW, ran.len());
    for at in ticks(span) {
        svg.line((x(at), TOP - 6.0), (x(at), bottom), "grid");
        svg.text((x(at), TOP - 10.0), "axis middle", &mark(at));
    }
    let mut y = TOP;
    for (started, step) in &ran {
        let begin = seconds(first, *started);
        let (from, to) = (x(begin), x(begin + took(step)));
        let wide = (to - from).max(2.0);
        let mut title = format!("{}: {}, {}", step.id, step.outcome.word(), short(took(step)));
        if let Some(detail) = &step.detail {
            title.push_str(&format!(": {detail}"));
        }
        svg.begin("step", &title, None);
        svg.text((6.0, y + 12.5), "label", &fitting(&step.id, LEFT - 16.0));
        svg.rect(from, y + 3.0, wide, ROW - 6.0, &format!("took {}", class(step.outcome)));
        if !step.outcome.is_clean() {
            svg.rect(from, y + 3.0, wide, ROW - 6.0, "hatch");
        }
        svg.text((RIGHT + 70.0, y + 12.5), "figure end", &short(took(step)));
        svg.text((RIGHT + 145.0, y + 12.5), "figure end", &wording::bytes(step.bytes));
        let mut end = step.outcome.word().to_owned();
        if let Some(detail) = step.detail.as_ref().filter(|_| step.outcome != Outcome::Complete) {
            end.push_str(&format!(": {detail}"));
        }
        // Bold letters are wider.
        let (kind, room) = if step.outcome.is_clean() { ("axis", 1.0) } else { ("figure bad", 0.84) };
        svg.text((RIGHT + 156.0, y + 12.5), kind, &fitting(&end, (WIDTH - RIGHT - 156.0) * room));
        svg.end(None);
        y += ROW;
    }
    Some(format!("<div class=\"chart\">{}</div>\n", svg.finish()))
}

const fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "complete",
        Outcome::Absent | Outcome::Skipped => "quiet",
        Outcome::Truncated => "cut",
        Outcome::TimedOut | Outcome::Failed | Outcome::Lost | Outcome::Cancelled => "failed",
    }
}

/// Returns round numbers of seconds up to `span`.
fn ticks(span: f64) -> Vec<f64> {
    let rough = span / 6.0;
    let power = 10_f64.powf(rough.max(1e-3).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(rough);
    std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(|at| *at <= span).take(20).collect()
}
