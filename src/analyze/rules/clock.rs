//! A node's clock far from the operator's. Compares with nothing else; other nodes are the roll-up's.

use super::note::{self, Note, Source};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::view::NodeView;
use crate::bundle::layout;

/// From here on clocks do harm: etcd warns of peers 1 s apart, and tokens and certificates made just now are not valid yet.
const FAR_MS: f64 = 5_000.0;

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let value = note::text(view, layout::CLOCK).and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let number = |key: &str| value.as_ref()?.get(key)?.as_f64();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let sealed = || view.manifest.as_ref().and_then(|m| m.clock_offset_ms).map(|ms| ms as f64);
    let Some(offset) = number("offset-ms").or_else(sealed) else {
        let source =
            Source { rule: "clock", step: "node/clock", file: layout::CLOCK, says: "whether the clock is right" };
        return note::missing(view, &source).into_iter().collect();
    };
    // The answer may have been under way for half of the round trip, in either direction.
    let blur = number("round-trip-ms").unwrap_or_default() / 2.0 + number("resolution-ms").unwrap_or_default();
    let way = if offset < 0.0 { "behind" } else { "ahead of" };
    let (grave, sentence) = if offset.abs() - blur >= FAR_MS {
        let seconds = offset.abs() / 1000.0;
        (Severity::Warning, format!("The node's clock is {seconds:.0} s {way} the operator's."))
    } else {
        (Severity::Info, format!("The clock is right, to {:.1} s.", (offset.abs() + blur) / 1000.0))
    };
    let id = if grave == Severity::Warning { "clock/far-off" } else { "clock/well" };
    let note = Note::new(view, id, grave, &sentence).cite(layout::CLOCK, 0);
    if grave == Severity::Info {
        return vec![note.done()];
    }
    let next = "See on the node whether chronyd, ntpd or systemd-timesyncd runs (chronyc tracking, timedatectl), and whether \
                the operator's own clock is right.";
    vec![note.layer(Layer::Clock).next(next).done()]
}
