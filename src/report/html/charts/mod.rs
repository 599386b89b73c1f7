//! Charts as inline SVG: text of a picture from figures. One file per chart; they hold no judgement. Every colour comes from
//! the page's style by class, every text goes through `escape`, and no meaning hangs on colour alone.

pub(super) mod dots;
pub(super) mod goroutines;
mod marks;
mod scale;
mod svg;
pub(super) use scale::short;
pub(super) use svg::Link;
pub(super) use timeline::{clock, word};
pub(super) mod timeline;
pub(super) mod waterfall;
