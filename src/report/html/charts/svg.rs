//! A picture under way: shapes with a class and a title. Colours and fonts are the page's style.

use std::fmt::Write as _;

use super::super::escape::{Text, Token};

/// Width of every picture, in the units of its shapes: as many pixels where the page has room for it.
pub(super) const WIDTH: f64 = 1180.0;

/// See the module.
pub(super) struct Svg {
    out: String,
}

/// Where a shape leads.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Link {
    /// Name of a place of the page, without `#`.
    pub(in super::super) to: String,
    /// What the page's script is told of it: lines of a file, or a state of goroutines.
    pub(in super::super) more: String,
}

impl Link {
    /// Returns the attributes of the element `a`.
    pub(in super::super) fn attributes(&self) -> String {
        let more = if self.more.is_empty() { String::new() } else { format!(" data-more=\"{}\"", Text(&self.more)) };
        format!("href=\"#{}\"{more}", Token(&self.to))
    }
}

impl Svg {
    /// Begins a picture. `label` says what it shows to who does not see it.
    pub(super) fn new(height: f64, label: &str) -> Self {
        let out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"group\" aria-label=\"{}\">",
            Text(label)
        );
        Self { out }
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// Puts what follows, up to [`Svg::end`], into a group with a title, which leads somewhere if there is a link.
    pub(super) fn begin(&mut self, class: &str, title: &str, link: Option<&Link>) {
        match link {
            Some(link) => write!(self.out, "<a class=\"{}\" {}>", Token(class), link.attributes()).ok(),
            None => write!(self.out, "<g class=\"{}\">", Token(class)).ok(),
        };
        if !title.is_empty() {
            write!(self.out, "<title>{}</title>", Text(title)).ok();
        }
    }

    /// Ends a group.
    pub(super) fn end(&mut self, link: Option<&Link>) {
        self.out.push_str(if link.is_some() { "</a>" } else { "</g>" });
    }

    /// Draws a rectangle. `class` may hold several words.
    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        write!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{}\"/>",
            Text(class)
        )
        .ok();
    }

    /// Shades every other row, from `top` on.
    pub(super) fn bands(&mut self, top: f64, row: f64, rows: usize) {
        let mut y = top;
        for _ in 0..rows.div_ceil(2) {
            self.rect(0.0, y, WIDTH, row, "band");
            y += 2.0 * row;
        }
    }

    /// Draws a line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        write!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{}\"/>",
            Text(class)
        )
        .ok();
    }

    /// Draws a path given in units around the point `at`.
    pub(super) fn path(&mut self, at: (f64, f64), path: &str, class: &str) {
        let (x, y) = at;
        write!(
            self.out,
            "<path transform=\"translate({x:.1} {y:.1})\" d=\"{}\" class=\"{}\"/>",
            Text(path),
            Text(class)
        )
        .ok();
    }

    /// Writes a text with its baseline at `at`; `class` may tell its anchor (`end`, `middle`).
    pub(super) fn text(&mut self, at: (f64, f64), class: &str, text: &str) {
        let (x, y) = at;
        write!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{}\">{}</text>", Text(class), Text(text)).ok();
    }
}

/// Returns a text cut to what fits into `room` units at the size of labels; a cut is shown.
pub(super) fn fitting(text: &str, room: f64) -> String {
    // About the mean width of a character at the size of labels.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let columns = (room / 6.3).clamp(3.0, 400.0) as usize;
    crate::wording::cut(text, columns)
}
