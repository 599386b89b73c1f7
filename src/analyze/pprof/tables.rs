//! The tables of a profile: functions, places and texts by their ids. Ids and places come from the profile and may be
//! wrong; what they name and is not there is left out.

use std::collections::HashMap;
use std::sync::Arc;

use super::wire::{Field, message, proto, walk};
use super::{Kind, MAX_KINDS, PprofError};

/// Most functions, and most places.
pub(super) const MAX_TABLE: usize = 500_000;

/// Functions and places, by their ids.
#[derive(Default)]
pub(super) struct Tables<'a> {
    kinds: Vec<proto::ValueType>,
    strings: Vec<&'a [u8]>,
    /// Id: place in `functions`.
    function_ids: HashMap<u64, u32>,
    pub(super) functions: Vec<(i64, i64)>,
    /// Id: range in `lines`.
    locations: HashMap<u64, (u32, u32)>,
    /// Ids of functions.
    lines: Vec<u64>,
    pub(super) time_nanos: i64,
    pub(super) duration_nanos: i64,
}

impl<'a> Tables<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, PprofError> {
        const FULL: PprofError = PprofError::Form("it has more functions and places than any genuine one");
        let mut tables = Self::default();
        walk(bytes, |field| {
            match field {
                Field::Bytes(1, kind) if tables.kinds.len() < MAX_KINDS => tables.kinds.push(message(kind)?),
                Field::Bytes(4, location) => {
                    let location: proto::Location = message(location)?;
                    let first = index(tables.lines.len());
                    tables.lines.extend(location.lines.iter().map(|line| line.function));
                    tables.locations.insert(location.id, (first, index(tables.lines.len())));
                }
                Field::Bytes(5, function) => {
                    let function: proto::Function = message(function)?;
                    tables.function_ids.insert(function.id, index(tables.functions.len()));
                    tables.functions.push((function.name, function.file));
                }
                Field::Bytes(6, text) => tables.strings.push(text),
                Field::Number(9, nanos) => tables.time_nanos = nanos.cast_signed(),
                Field::Number(10, nanos) => tables.duration_nanos = nanos.cast_signed(),
                _ => {}
            }
            let largest =
                tables.functions.len().max(tables.locations.len()).max(tables.lines.len()).max(tables.strings.len());
            if largest > MAX_TABLE { Err(FULL) } else { Ok(()) }
        })?;
        Ok(tables)
    }

    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.kinds.iter().map(|kind| Kind { name: self.text(kind.kind), unit: self.text(kind.unit) }).collect()
    }

    /// Returns a text of the table; empty if there is none at that place.
    pub(super) fn text(&self, at: i64) -> Arc<str> {
        let text = usize::try_from(at).ok().and_then(|at| self.strings.get(at)).copied().unwrap_or_default();
        String::from_utf8_lossy(text).into()
    }

    /// Returns the places in `functions` of what stands at a location, the innermost first; `None` for what is not there.
    pub(super) fn functions_at(&self, location: u64) -> impl Iterator<Item = Option<usize>> {
        let (first, end) = self.locations.get(&location).copied().unwrap_or_default();
        let lines = usize::try_from(first)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(first, end)| self.lines.get(first..end));
        let known = |id: &u64| self.function_ids.get(id).and_then(|at| usize::try_from(*at).ok());
        lines.unwrap_or_default().iter().map(known)
    }
}

/// Tables have fewer entries than this has values.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
