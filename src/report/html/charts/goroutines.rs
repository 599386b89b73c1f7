//! Goroutines of a process by state as one stacked bar. A state keeps its colour and its hatching in every bar; the same is
//! told in words below.

use super::super::escape::Text;
use super::scale::thousands;
use super::svg::{Link, Svg, WIDTH, fitting};
use crate::analyze::figures::Goroutines;

/// States that are told apart in a bar; others are one.
const STATES: usize = 9;
/// Height of a bar.
const BAR: f64 = 22.0;

/// States that say the most, each with a colour of its own.
const KNOWN: [&str; 9] =
    ["semacquire", "select", "IO wait", "chan receive", "chan send", "syscall", "running", "sleep", "sync.Cond.Wait"];

/// Returns the number of a state's colour: its own, or one by its name.
pub(in super::super) fn colour(state: &str) -> usize {
    let plain = state.trim_start_matches("sync.").trim();
    match plain {
        // The same wait since Go 1.20 (runtime/runtime2.go, waitReasonSyncMutexLock).
        "Mutex.Lock" | "RWMutex.RLock" | "RWMutex.Lock" | "WaitGroup.Wait" => 0,
        "runnable" => 6,
        _ => KNOWN.iter().position(|known| *known == state).unwrap_or_else(|| {
            KNOWN.len() + state.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 3
        }),
    }
}

/// Returns the largest states and the sum of the others.
fn parts(dump: &Goroutines) -> (Vec<(&str, u64)>, u64) {
    let mut parts: Vec<(&str, u64)> = dump.states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    parts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others = parts.iter().skip(STATES).map(|(_, count)| *count).fold(0, u64::saturating_add);
    parts.truncate(STATES);
    (parts, others)
}

/// Draws one bar from `left` on; `most` goroutines are as long as there is room.
fn bar(svg: &mut Svg, dump: &Goroutines, left: f64, y: f64, most: u64, to: &str) {
    let (parts, others) = parts(dump);
    let scale = (WIDTH - left - 4.0) / number(most.max(1));
    let mut x = left;
    let all = parts.into_iter().map(|(state, count)| (Some(state), count)).chain([(None, others)]);
    for (state, count) in all.filter(|(_, count)| *count > 0) {
        let name = state.unwrap_or("other states");
        let width = (number(count) * scale).min(WIDTH - 2.0 - x).max(0.6);
        let link = Link { to: to.to_owned(), more: state.unwrap_or_default().to_owned() };
        let class = state.map_or_else(|| "other".to_owned(), |state| format!("s{}", colour(state)));
        svg.begin("part", &format!("{name}: {} of {}", thousands(count), thousands(dump.total)), Some(&link));
        svg.rect(x, y, width, BAR, &format!("state {class}"));
        if state.is_some_and(|state| colour(state) % 2 == 1) {
            svg.rect(x, y, width, BAR, "hatch");
        }
        let text = format!("{name} {}", thousands(count));
        if width > 46.0 {
            let text = fitting(&text, width - 10.0);
            svg.text((x + 5.0, y + 15.0), "inside", &text);
        }
        svg.end(Some(&link));
        x += width;
    }
}

/// Returns the bar of one dump, with its states in words below. `to`: where its stacks are.
pub(in super::super) fn chart(dump: &Goroutines, most: u64, to: &str) -> String {
    let label = format!("{}, sample {}: {} goroutines by state", dump.process, dump.sample, dump.total);
    let mut svg = Svg::new(BAR + 2.0, &label);
    bar(&mut svg, dump, 0.0, 1.0, most, to);
    let (parts, others) = parts(dump);
    let mut chips = String::new();
    for (state, count) in parts {
        let link = Link { to: to.to_owned(), more: state.to_owned() };
        let colour = colour(state);
        let hatch = if colour % 2 == 1 { "<rect width=\"12\" height=\"12\" class=\"hatch\"/>" } else { "" };
        chips.push_str(&format!(
            "<a class=\"chip\" {}><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\" \
             class=\"state s{colour}\"/>{hatch}</svg>{} <b>{}</b></a> ",
            link.attributes(),
            Text(state),
            thousands(count)
        ));
    }
    if others > 0 {
        chips.push_str(&format!("<span class=\"chip\">others <b>{}</b></span> ", thousands(others)));
    }
    format!("<div class=\"chart\">{}</div>\n<p class=\"chips\">{chips}</p>\n", svg.finish())
}

/// Returns one bar for each node's dump of a process. `rows`: name, where it leads, dump, where its stacks are.
pub(in super::super) fn over_nodes(label: &str, rows: &[(String, Link, &Goroutines, String)]) -> String {
    const LEFT: f64 = 230.0;
    const ROW: f64 = BAR + 6.0;
    let most = rows.iter().map(|(_, _, dump, _)| dump.total).max().unwrap_or_default();
    let mut svg = Svg::new(ROW * number(rows.len() as u64) + 4.0, label);
    let mut y = 2.0;
    for (name, link, dump, to) in rows {
        svg.begin("name", name, Some(link));
        svg.text((6.0, y + 15.0), "label", &fitting(name, 150.0));
        svg.end(Some(link));
        svg.text((LEFT - 8.0, y + 15.0), "figure end", &thousands(dump.total));
        bar(&mut svg, dump, LEFT, y, most, to);
        y += ROW;
    }
    format!("<div class=\"chart\">{}</div>\n", svg.finish())
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn number(count: u64) -> f64 {
    count as f64
}
