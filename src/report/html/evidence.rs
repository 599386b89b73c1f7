//! A node's files in the page: the list of them, and their packed text in blocks that no browser runs and the page's script
//! unpacks when somebody asks.

use std::fmt::Write as _;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::escape::{Text, json};
use super::page::unpack;
use super::spool::{Kept, KeptNode, LeftOut, Spool, packed};
use crate::analyze::figures::Goroutines;
use crate::analyze::node::NodeAnalysis;
use crate::wording;

/// Stacks of one dump.
const GROUPS: usize = 100;
/// Frames of a stack, and characters of each.
const FRAMES: usize = 64;
const FRAME: usize = 240;
/// Characters of all stacks of a node, unpacked.
const STACKS: usize = 1 << 20;

/// Writes the list of a node's files.
pub(super) fn list(out: &mut String, number: usize, node: &NodeAnalysis, kept: &KeptNode) {
    let command = unpack(&node.source);
    let attribute = command.as_deref().unwrap_or_default();
    write!(
        out,
        "<div class=\"files\" data-node=\"{number}\" data-name=\"{}\" data-show=\"{}\" data-source=\"{}\">",
        Text(node.node.as_str()),
        Text(attribute),
        Text(&node.source)
    )
    .ok();
    match &command {
        Some(command) => write!(out, "<p>All of it: <code>{} FILE</code></p>", Text(command)).ok(),
        None => write!(out, "<p>The files lie in <code>{}</code></p>", Text(&node.source)).ok(),
    };
    if kept.files.is_empty() {
        out.push_str("<p>No file of this node was taken into this page.</p>");
    }
    let mut dir = None;
    for (at, file) in kept.files.iter().enumerate() {
        let (area, name) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        if dir != Some(area) {
            if dir.is_some() {
                out.push_str("</ul></section>\n");
            }
            let title = if area.is_empty() { "on top" } else { area };
            write!(out, "<section class=\"dir\"><h4>{}</h4><ul>", Text(title)).ok();
            dir = Some(area);
        }
        item(out, number, at, file, name);
    }
    if dir.is_some() {
        out.push_str("</ul></section>\n");
    }
    if kept.unlisted > 0 {
        write!(out, "<p>{} more are not listed here.</p>", wording::count(kept.unlisted, "file")).ok();
    }
    out.push_str("</div>\n");
}

fn item(out: &mut String, number: usize, at: usize, file: &Kept, name: &str) {
    let size = wording::bytes(file.size);
    write!(out, "<li id=\"n{number}-f{at}\" data-name=\"{}\" data-size=\"{}\"", Text(&file.name), file.size).ok();
    let remark = match &file.text {
        Ok(packed) => {
            let segments: Vec<String> =
                packed.segments.iter().map(|segment| format!("{}+{}", segment.first, segment.count)).collect();
            write!(out, " data-block=\"b{number}-{at}\" data-lines=\"{}\"", packed.lines).ok();
            write!(out, " data-segments=\"{}\"", Text(&segments.join(" "))).ok();
            if packed.whole { "" } else { ", in part" }
        }
        Err(LeftOut::Binary) => ", not text",
        Err(LeftOut::Room) => ", not in this page for its size",
        Err(LeftOut::Unreadable) => ", could not be read",
    };
    let mark = if file.cited { " <span class=\"cited\" title=\"a finding rests on it\">cited</span>" } else { "" };
    let name = if file.text.is_ok() {
        format!("<a href=\"#n{number}-f{at}\">{}</a>", Text(name))
    } else {
        Text(name).to_string()
    };
    write!(out, ">{name} <span class=\"size\">{size}{remark}</span>{mark}</li>").ok();
}

/// What the page's script is told of a dump.
#[derive(Serialize)]
struct Dump<'a> {
    process: &'a str,
    sample: u8,
    total: u64,
    file: &'a str,
    groups: Vec<Group<'a>>,
    more: usize,
}

/// The same of goroutines in one place.
#[derive(Serialize)]
struct Group<'a> {
    count: u64,
    state: &'a str,
    minutes: u32,
    place: &'a str,
    frames: Vec<String>,
    more: usize,
    file: &'a str,
    lines: Option<(u64, u64)>,
}

fn stacks(dumps: &[Goroutines]) -> Vec<Dump<'_>> {
    let each = STACKS / dumps.len().max(1);
    let mut told = Vec::new();
    for dump in dumps {
        let mut left = each;
        let mut groups = Vec::new();
        for group in dump.groups.iter().take(GROUPS) {
            let frames: Vec<String> =
                group.frames.iter().take(FRAMES).map(|frame| wording::cut(&wording::safe(frame), FRAME)).collect();
            let room = frames.iter().map(String::len).sum::<usize>() + group.place.len() + 80;
            if room > left {
                break;
            }
            left -= room;
            let more = group.frames.len().saturating_sub(frames.len());
            groups.push(Group {
                count: group.count,
                state: &group.state,
                minutes: group.minutes,
                place: &group.place,
                frames,
                more,
                file: &group.at.file,
                lines: group.at.lines,
            });
        }
        let more = dump.groups.len().saturating_sub(groups.len());
        let Goroutines { process, sample, total, file, .. } = dump;
        told.push(Dump { process, sample: *sample, total: *total, file, groups, more });
    }
    told
}

/// Writes the blocks of a node: its stacks, and the text of its files.
///
/// # Errors
/// When the page or the spool cannot be written or read.
pub(super) fn blocks(
    out: &mut dyn Write,
    number: usize,
    node: &NodeAnalysis,
    kept: &KeptNode,
    spool: &mut Spool,
) -> io::Result<()> {
    if !node.figures.goroutines.is_empty() {
        let text = json(&stacks(&node.figures.goroutines)).map_err(io::Error::other)?;
        block(out, &format!("g{number}"), &packed(text.as_bytes())?)?;
    }
    for (at, file) in kept.files.iter().enumerate() {
        if let Ok(text) = &file.text {
            block(out, &format!("b{number}-{at}"), &spool.read(text)?)?;
        }
    }
    Ok(())
}

/// Base64 has none of the characters that could end the element.
fn block(out: &mut dyn Write, id: &str, bytes: &[u8]) -> io::Result<()> {
    writeln!(out, "<script type=\"application/octet-stream;base64\" id=\"{id}\">{}</script>", STANDARD.encode(bytes))
}
