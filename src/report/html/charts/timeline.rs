//! What happened when: a lane per node, or per kind of one node, over one axis of time. Marks of one kind that would lie on
//! each other are drawn as one, with their number.

use jiff::{SignedDuration, Timestamp};

use super::marks::{self, KINDS};
use super::scale::Time;
use super::svg::{Link, Svg, WIDTH, fitting};
use crate::analyze::finding::Severity;
use crate::analyze::moment::{Moment, MomentKind};

/// Where the axis begins, right of the names.
const LEFT: f64 = 170.0;
/// Height of a lane with one line of marks, and with three.
const LANE: f64 = 22.0;
const HIGH: f64 = 38.0;
const TOP: f64 = 26.0;
/// Marks nearer than so many units are one.
const NEAR: f64 = 7.0;
/// Marks of a lane; with fewer than this a lane is full from end to end.
const MARKS: usize = 400;
/// Spans that are tried, the shortest first, minutes.
const SPANS: [i64; 9] = [15, 60, 180, 720, 1440, 4320, 10_080, 43_200, 129_600];

/// A row of the picture.
pub(in super::super) struct Lane<'a> {
    /// Its name.
    pub(in super::super) name: String,
    /// Where the name leads.
    pub(in super::super) link: Option<Link>,
    /// In order of time.
    pub(in super::super) moments: Vec<&'a Moment>,
}

/// The time a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Window {
    first: Timestamp,
    last: Timestamp,
}

impl Window {
    /// Returns the shortest usual span up to the last moment that shows nearly all that matters; a log may reach back for
    /// weeks, and the trouble would be a dot at the edge. `None` if nothing happened.
    pub(in super::super) fn of(moments: &[&Moment]) -> Option<Self> {
        let last = moments.iter().map(|moment| end(moment)).max()?;
        let begin = moments.iter().map(|moment| moment.time).min()?;
        let grave: Vec<_> = moments.iter().filter(|moment| moment.severity > Severity::Info).collect();
        let shows = |first: Timestamp| grave.iter().filter(|moment| moment.time >= first).count();
        let first = SPANS
            .iter()
            .filter_map(|minutes| last.checked_sub(SignedDuration::from_mins(*minutes)).ok())
            .find(|first| shows(*first) * 10 >= grave.len() * 9 && ours_since(moments, *first))
            .map_or(begin, |first| first.max(begin));
        // Some room on both sides: marks have a width.
        let edge =
            SignedDuration::from_millis(last.duration_since(first).as_millis().try_into().unwrap_or(i64::MAX) / 60);
        Some(Self { first: first.checked_sub(edge).unwrap_or(first), last: last.checked_add(edge).unwrap_or(last) })
    }

    fn before(&self, moment: &Moment) -> bool {
        end(moment) < self.first
    }
}

fn ours_since(moments: &[&Moment], first: Timestamp) -> bool {
    let ours = |moment: &&&Moment| matches!(moment.kind, MomentKind::OurSample | MomentKind::OurChange);
    moments.iter().filter(ours).all(|moment| moment.time >= first)
}

fn end(moment: &Moment) -> Timestamp {
    moment.until.unwrap_or(moment.time).max(moment.time)
}

/// Marks of one kind that are drawn as one.
struct Spot<'a> {
    x: f64,
    until: f64,
    first: &'a Moment,
    last: Timestamp,
    severity: Severity,
    count: u64,
    several: bool,
}

/// Where a kind stands in a high lane: of the health of PLEG, of the node, and other things; they come at the same times.
const fn track(kind: MomentKind) -> f64 {
    match kind {
        MomentKind::PlegUnhealthy | MomentKind::PlegHealthy => -12.0,
        MomentKind::NotReady | MomentKind::Ready | MomentKind::Start | MomentKind::Stop => 0.0,
        _ => 12.0,
    }
}

/// Returns the picture and its legend. `high`: its lanes hold every kind. `cite` says where a moment is written.
pub(in super::super) fn chart(
    label: &str,
    lanes: &[Lane<'_>],
    high: bool,
    window: Window,
    cite: impl Fn(&Moment) -> Option<Link>,
) -> String {
    let height = if high { HIGH } else { LANE };
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let bottom = TOP + height * lanes.len() as f64;
    let mut svg = Svg::new(bottom + 6.0, label);
    svg.bands(TOP, height, lanes.len());
    let time = Time::new(LEFT, WIDTH - 12.0, window.first, window.last);
    svg.text((0.0, 14.0), "axis", "UTC");
    for (at, text) in time.ticks() {
        let x = time.at(at);
        svg.line((x, TOP - 6.0), (x, bottom), "grid");
        if x < WIDTH - 40.0 {
            svg.text((x, 14.0), "axis middle", &text);
        }
    }
    let mut seen: Vec<MomentKind> = Vec::new();
    let mut y = TOP + height / 2.0;
    for lane in lanes {
        svg.begin("name", &lane.name, lane.link.as_ref());
        svg.text((6.0, y + 4.0), "label", &fitting(&lane.name, LEFT - 34.0));
        svg.end(lane.link.as_ref());
        let earlier = lane.moments.iter().filter(|moment| window.before(moment)).count();
        if earlier > 0 {
            let title = format!("{earlier} earlier, left of what is shown");
            svg.begin("earlier", &title, None);
            svg.text((LEFT - 6.0, y + 4.0), "axis end", &format!("\u{25c2}{earlier}"));
            svg.end(None);
        }
        for spot in spots(lane, window, &time) {
            seen.push(spot.first.kind);
            let y = if high { y + track(spot.first.kind) } else { y };
            draw(&mut svg, &spot, y, cite(spot.first).as_ref());
        }
        y += height;
    }
    format!("<div class=\"chart\">{}</div>\n{}", svg.finish(), marks::legend(&seen))
}

fn spots<'a>(lane: &Lane<'a>, window: Window, time: &Time) -> Vec<Spot<'a>> {
    let mut spots: Vec<Spot<'a>> = Vec::new();
    // The last of each kind, so that a crowded lane stays linear.
    let mut last_of = [None::<usize>; KINDS.len()];
    for moment in lane.moments.iter().filter(|moment| !window.before(moment)) {
        let (x, until) = (time.at(moment.time), time.at(end(moment)));
        let kind = KINDS.iter().position(|kind| *kind == moment.kind).unwrap_or_default();
        let room = spots.len() < MARKS;
        let place = spots.len();
        let before = last_of.get(kind).copied().flatten().and_then(|at| spots.get_mut(at));
        match before {
            Some(spot) if x - spot.until.max(spot.x) < NEAR => {
                spot.until = spot.until.max(until);
                spot.last = spot.last.max(end(moment));
                spot.count = spot.count.saturating_add(moment.count);
                spot.severity = spot.severity.max(moment.severity);
                spot.several = true;
            }
            _ if room => {
                if let Some(last) = last_of.get_mut(kind) {
                    *last = Some(place);
                }
                let (last, severity, count) = (end(moment), moment.severity, moment.count);
                spots.push(Spot { x, until, first: moment, last, severity, count, several: false });
            }
            _ => {}
        }
    }
    // The grave are drawn over the others.
    spots.sort_by_key(|spot| spot.severity);
    spots
}

fn draw(svg: &mut Svg, spot: &Spot<'_>, y: f64, link: Option<&Link>) {
    let kind = spot.first.kind;
    let class = format!("mark {} {}", marks::paint(kind), marks::colour(kind, spot.severity));
    svg.begin("moment", &title(spot), link);
    if spot.until - spot.x > NEAR {
        svg.rect(spot.x, y - 2.0, spot.until - spot.x, 4.0, &format!("span {}", marks::colour(kind, spot.severity)));
    }
    svg.path((spot.x, y), marks::shape(kind), &class);
    svg.end(link);
}

fn title(spot: &Spot<'_>) -> String {
    let first = spot.first;
    let from = clock(first.time);
    let until = if spot.last > first.time { format!(" to {}", clock(spot.last)) } else { String::new() };
    let times = if spot.count > 1 { format!(", {} times", spot.count) } else { String::new() };
    let more = if spot.several { "; the first: " } else { ": " };
    format!("{from}{until} UTC, {}, {}{times}{more}{}", first.node, marks::word(first.kind), first.text)
}

/// Returns a time to the second.
pub(in super::super) fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns the words for a kind.
pub(in super::super) const fn word(kind: MomentKind) -> &'static str {
    marks::word(kind)
}

/// Returns one lane per kind.
pub(in super::super) fn by_kind<'a>(moments: &[&'a Moment]) -> Vec<Lane<'a>> {
    KINDS
        .iter()
        .map(|kind| Lane {
            name: marks::word(*kind).to_owned(),
            link: None,
            moments: moments.iter().copied().filter(|moment| moment.kind == *kind).collect(),
        })
        .filter(|lane| !lane.moments.is_empty())
        .collect()
}
