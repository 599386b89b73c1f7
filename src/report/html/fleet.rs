//! Pictures over all nodes: what happened when, how long relists take, and how many goroutines there are.

use std::fmt::Write as _;

use super::charts::dots::{self, Row};
use super::charts::timeline::{self, Lane, Window};
use super::charts::{Link, goroutines};
use super::escape::Text;
use super::node::RELIST;
use super::page::{Page, worst};
use crate::analyze::figures::Goroutines;
use crate::analyze::finding::Severity;
use crate::analyze::moment::Moment;
use crate::analyze::node::NodeAnalysis;
use crate::wording::count;

/// Lanes that are not folded away, and lanes at all.
const LANES: usize = 40;
const FOLDED: usize = 160;
/// Moments in the list.
const MOMENTS: usize = 400;
/// Nodes in a chart over nodes.
const BARS: usize = 12;
/// Processes whose goroutines are drawn over nodes.
const PROCESSES: usize = 6;

/// Writes the picture of what happened when, over all nodes.
pub(super) fn times(out: &mut String, page: &Page<'_>) {
    let all: Vec<&Moment> = page.analysis.timeline.iter().collect();
    let Some(window) = Window::of(&all) else { return };
    out.push_str("<section id=\"timeline\"><h2>What happened when</h2>\n");
    out.push_str(
        "<p class=\"note\">Times are UTC by the operator's clock; each node's own offset is taken out. \
         A mark opens the line it rests on.</p>\n",
    );
    let lane = |(number, node): (usize, &NodeAnalysis)| {
        let moments = Some(page.times(number, node)).filter(|moments| !moments.is_empty())?;
        let link = Some(Link { to: format!("n{number}"), more: String::new() });
        let grave = moments.iter().any(|moment| moment.severity > Severity::Info);
        Some((grave, Lane { name: node.node.to_string(), link, moments }))
    };
    let (grave, quiet): (Vec<_>, Vec<_>) =
        page.analysis.nodes.iter().enumerate().filter_map(lane).partition(|(grave, _)| *grave);
    let mut grave: Vec<Lane<'_>> = grave.into_iter().map(|(_, lane)| lane).collect();
    let mut rest = grave.split_off(grave.len().min(LANES));
    let over = !rest.is_empty();
    rest.extend(quiet.into_iter().map(|(_, lane)| lane));
    if grave.is_empty() {
        let later = rest.split_off(rest.len().min(LANES));
        grave = std::mem::replace(&mut rest, later);
    }
    let cite = |moment: &Moment| page.written(moment).and_then(|(number, citation)| page.link(number, citation));
    out.push_str(&timeline::chart("What happened on the nodes, and when", &grave, true, window, cite));
    if !rest.is_empty() {
        let quiet = if over { "" } else { ", without a warning among what happened" };
        let cut = if rest.len() > FOLDED { format!("; the first {FOLDED} are drawn") } else { String::new() };
        write!(out, "<details><summary>{}{quiet}{cut}</summary>", count(rest.len(), "more node")).ok();
        rest.truncate(FOLDED);
        out.push_str(&timeline::chart("What happened on the other nodes", &rest, false, window, cite));
        out.push_str("</details>\n");
    }
    out.push_str(&page.moments(&all, MOMENTS));
    out.push_str("</section>\n");
}

/// Writes relist and goroutines over nodes.
pub(super) fn load(out: &mut String, page: &Page<'_>) {
    let link = |at: usize, part: &str| Link { to: format!("n{at}{part}"), more: String::new() };
    let nodes = page.analysis.nodes.iter().enumerate();
    let mut relist: Vec<(f64, Row<'_>)> = nodes
        .filter_map(|(at, node)| {
            let latency = node.figures.relist.as_ref()?;
            let slow = latency.p99.or(latency.mean)?;
            let link = Some(link(at, "-relist"));
            Some((slow, Row { name: node.node.to_string(), link, latency, errors: None }))
        })
        .collect();
    relist.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let dumps = dumps(page);
    if relist.is_empty() && dumps.is_empty() {
        return;
    }
    out.push_str("<section id=\"load\"><h2>Relist and goroutines</h2>\n");
    if !relist.is_empty() {
        writeln!(out, "<h3>Relist, {}</h3>", of_all("the slowest", relist.len())).ok();
        let rows: Vec<Row<'_>> = relist.into_iter().take(BARS).map(|(_, row)| row).collect();
        out.push_str(&dots::legend());
        out.push_str(&dots::chart("Durations of relists over nodes", &rows, Some(RELIST)));
    }
    for (at, (process, mut of)) in dumps.into_iter().take(PROCESSES).enumerate() {
        let unwell = |number: usize| page.analysis.nodes.get(number).map(worst);
        of.sort_by_key(|(number, _, dump)| std::cmp::Reverse((unwell(*number), dump.total)));
        let open = if at == 0 { " open" } else { "" };
        let title = format!("Goroutines of {process}, {}", of_all("those not well first,", of.len()));
        write!(out, "<details{open}><summary class=\"h3\">{}</summary>", Text(&title)).ok();
        let rows: Vec<_> = of
            .into_iter()
            .take(BARS)
            .map(|(number, index, dump)| {
                let name = page.analysis.nodes.get(number).map(|node| node.node.to_string()).unwrap_or_default();
                (name, link(number, "-goroutines"), dump, format!("n{number}-g{index}"))
            })
            .collect();
        out.push_str(&goroutines::over_nodes(&title, &rows));
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

fn of_all(which: &str, all: usize) -> String {
    if all > BARS { format!("{which} {BARS} of {}", count(all, "node")) } else { count(all, "node") }
}

/// The number of a node, and a dump of it with its index.
type OfNode<'a> = (usize, usize, &'a Goroutines);

/// Returns the last dump of each process on each node, by process.
fn dumps<'a>(page: &Page<'a>) -> Vec<(&'a str, Vec<OfNode<'a>>)> {
    let mut by: Vec<(&str, Vec<OfNode<'_>>)> = Vec::new();
    for (number, node) in page.analysis.nodes.iter().enumerate() {
        for (index, dump) in node.figures.goroutines.iter().enumerate() {
            let place = by.iter().position(|(process, _)| *process == dump.process);
            match place.and_then(|at| by.get_mut(at)) {
                Some((_, of)) => match of.last_mut() {
                    Some(last) if last.0 == number => *last = (number, index, dump),
                    _ => of.push((number, index, dump)),
                },
                None => by.push((&dump.process, vec![(number, index, dump)])),
            }
        }
    }
    by
}
