//! The timeline over nodes and sources, for a terminal and as a table in Markdown. What happens to many nodes at about the
//! same time is one line. Adds no judgement; prints nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::verdicts::escape::escaped;
use crate::analyze::finding::Severity;
use crate::analyze::moment::{Moment, MomentKind};
use crate::inventory::{NodeName, fold};
use crate::wording::{columns, count, cut, fit, safe, wrap};

/// The same on several nodes within this is one line.
const TOGETHER: SignedDuration = SignedDuration::from_secs(60);
/// Columns before the nodes: indent and time.
const TIME: usize = 12;
/// Columns of the mark of gravity and the gap before it.
const MARK: usize = 5;
/// Narrowest the text gets.
const TEXT: usize = 23;
/// Lines that the names of one row may take.
const NAME_LINES: usize = 3;
/// Columns of the names and of the text of a row in Markdown.
const CELLS: (usize, usize) = (120, 300);

/// The same thing on some nodes.
struct Row<'a> {
    first: &'a Moment,
    until: Option<Timestamp>,
    count: u64,
    nodes: BTreeSet<&'a NodeName>,
    same: bool,
}

impl Row<'_> {
    fn names(&self) -> String {
        fold(&self.nodes.iter().map(|node| (*node).clone()).collect::<Vec<_>>())
    }

    /// Returns what happened, how often, and until when.
    fn text(&self) -> String {
        let mut text = safe(if self.same { &self.first.text } else { self.first.what() });
        if self.count > u64::try_from(self.nodes.len()).unwrap_or(u64::MAX) {
            let _ = write!(text, "; {} times", self.count);
            if self.nodes.len() > 1 {
                text.push_str(" in all");
            }
        }
        if let Some(until) = self.until {
            let same_day = day(until) == day(self.first.time);
            let form = if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
            let _ = write!(text, "; until {}", until.strftime(form));
        }
        text
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// Puts moments in order of time into rows.
fn rows(moments: &[Moment]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut open: BTreeMap<(MomentKind, Severity, &str), usize> = BTreeMap::new();
    for moment in moments {
        let at = open.entry((moment.kind, moment.severity, moment.what())).or_insert(rows.len());
        let fits = |row: &&mut Row<'_>| {
            moment.time.duration_since(row.first.time) <= TOGETHER && !row.nodes.contains(&moment.node)
        };
        if let Some(row) = rows.get_mut(*at).filter(fits) {
            row.nodes.insert(&moment.node);
            row.same &= row.first.text == moment.text;
            row.count = row.count.saturating_add(moment.count);
            row.until = row.until.max(moment.until);
        } else {
            *at = rows.len();
            let nodes = BTreeSet::from([&moment.node]);
            rows.push(Row { first: moment, until: moment.until, count: moment.count, nodes, same: true });
        }
    }
    rows
}

/// Leaves out the least grave rows, of equal ones the earliest, until `most` are left. Returns how many went.
fn fewer(rows: &mut Vec<Row<'_>>, most: usize) -> usize {
    let over = rows.len().saturating_sub(most);
    if over > 0 {
        let mut order: Vec<(Severity, usize)> = rows.iter().enumerate().map(|(at, r)| (r.first.severity, at)).collect();
        order.sort_unstable();
        let gone: BTreeSet<usize> = order.iter().take(over).map(|(_, at)| *at).collect();
        let mut at = 0;
        rows.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }
    over
}

fn left_out(gone: usize) -> String {
    format!("{} of less gravity left out here; `plegcollect report --timeline` has them.", count(gone, "line"))
}

/// Returns what of the moments matters beside a verdict: trouble, how it ended, starts and stops, and what we changed; nothing
/// where there was no trouble.
pub(super) fn that_matter(moments: &[Moment]) -> Vec<Moment> {
    let grave = |moment: &Moment| moment.severity > Severity::Info;
    if !moments.iter().any(grave) {
        return Vec::new();
    }
    let tells = |kind| {
        matches!(
            kind,
            MomentKind::PlegHealthy
                | MomentKind::Ready
                | MomentKind::NotReady
                | MomentKind::Start
                | MomentKind::Stop
                | MomentKind::OurChange
        )
    };
    moments.iter().filter(|moment| grave(moment) || tells(moment.kind)).cloned().collect()
}

/// Returns the timeline for a terminal of `width` columns, at most `most` rows of it; empty without moments. `moments` are
/// in order of time, by the operator's clock.
#[must_use]
pub fn text(moments: &[Moment], width: usize, most: usize, color: bool) -> String {
    let mut rows = rows(moments);
    let gone = fewer(&mut rows, most);
    let Some(first) = rows.first().map(|row| row.first) else { return String::new() };
    let single = moments.iter().all(|moment| moment.node == first.node);
    let mut out = String::new();
    let of = if single { format!(" of {}", first.node) } else { String::new() };
    writeln!(out, "Timeline{of} (UTC, by the operator's clock)").ok();
    let width = width.max(TIME + MARK + TEXT);
    let names: Vec<String> = rows.iter().map(Row::names).collect();
    let widest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    let room = (width - TIME - MARK).saturating_sub(TEXT).min((width / 4).max(12));
    let node = if single { 0 } else { widest.min(room) };
    let mut today = String::new();
    for (row, name) in rows.iter().zip(&names) {
        let now = day(row.first.time);
        if now != today {
            writeln!(out, "  {now}").ok();
            today = now;
        }
        // Where there is no room beside the text, the names are a part of it.
        let within = if node == 0 && !single { format!("{}: ", cut(name, width / 2)) } else { String::new() };
        let name = if node == 0 { Vec::new() } else { names_in(name, row.nodes.len(), node) };
        let used = TIME + MARK + if node == 0 { 0 } else { node + 2 };
        let text = wrap(&format!("{within}{}", row.text()), width.saturating_sub(used).max(8));
        for at in 0..text.len().max(name.len()) {
            let time = if at == 0 { row.first.time.strftime("%H:%M:%S").to_string() } else { String::new() };
            let mark = if at == 0 { mark(row.first.severity) } else { "" };
            let mut line = format!("    {time:<8}");
            if node > 0 {
                let name = name.get(at).map_or("", String::as_str);
                let _ = write!(line, "  {}", fit(name, node));
            }
            let _ = write!(line, "  {mark:<3}{}", painted(text.get(at).map_or("", String::as_str), row.first, color));
            writeln!(out, "{}", line.trim_end()).ok();
        }
    }
    if gone > 0 {
        for line in wrap(&left_out(gone).replace('`', ""), width - 4) {
            writeln!(out, "    {line}").ok();
        }
    }
    out
}

/// Returns folded names in lines of `width` columns, at most three.
fn names_in(folded: &str, nodes: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = wrap(folded, width).iter().map(|line| cut(line, width)).collect();
    if lines.len() > NAME_LINES {
        lines.truncate(NAME_LINES - 1);
        lines.push(cut(&format!("… {}", count(nodes, "node")), width));
    }
    lines
}

const fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "!!",
        Severity::Warning => "!",
        Severity::Info => "",
    }
}

fn painted(text: &str, moment: &Moment, color: bool) -> String {
    let code = match (moment.severity, moment.kind) {
        (Severity::Critical, _) => "31",
        (_, MomentKind::Gap) => "35",
        (Severity::Warning, _) => "33",
        (_, MomentKind::OurChange | MomentKind::OurSample) => "36",
        (_, MomentKind::PlegHealthy | MomentKind::Ready) => "32",
        _ => "",
    };
    if !color || code.is_empty() || text.is_empty() {
        return text.to_owned();
    }
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Returns a table in Markdown, at most `most` rows of it; empty without moments.
#[must_use]
pub fn markdown(moments: &[Moment], most: usize) -> String {
    let mut rows = rows(moments);
    let gone = fewer(&mut rows, most);
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from("| time (UTC) | node | | what | see |\n|---|---|---|---|---|\n");
    for row in &rows {
        let see = row.first.citation.as_ref().map(ToString::to_string).unwrap_or_default();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            row.first.time.strftime("%Y-%m-%d %H:%M:%S"),
            escaped(&cut(&row.names(), CELLS.0)),
            escaped(mark(row.first.severity)),
            escaped(&cut(&row.text(), CELLS.1)),
            escaped(&safe(&see)),
        )
        .ok();
    }
    if gone > 0 {
        writeln!(out, "\n{}", left_out(gone)).ok();
    }
    out
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
