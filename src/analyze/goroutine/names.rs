//! Names and frames, each kept once: a dump of 30,000 goroutines has some hundred different ones.

use std::collections::HashMap;
use std::sync::Arc;

use super::frame::Frame;

/// Longest name that is kept whole.
const NAME_LIMIT: usize = 1024;

/// All names and frames of a stream.
pub(super) struct Names {
    texts: HashMap<Box<[u8]>, Arc<str>>,
    frames: HashMap<FrameKey, u32>,
    list: Vec<Arc<Frame>>,
    /// Most names, and most frames.
    limit: usize,
    /// Something was not kept.
    pub(super) cut: bool,
    empty: Arc<str>,
}

/// A frame as it is looked up, without a copy of its texts: addresses stand for them, as each is kept once.
#[derive(PartialEq, Eq, Hash)]
struct FrameKey {
    function: usize,
    file: usize,
    line: u32,
}

impl Names {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            texts: HashMap::new(),
            frames: HashMap::new(),
            list: Vec::new(),
            limit: limit.max(1),
            cut: false,
            empty: Arc::from(""),
        }
    }

    /// Returns the one copy of `text`.
    pub(super) fn text(&mut self, text: &[u8]) -> Arc<str> {
        let text = text.get(..NAME_LIMIT).unwrap_or(text);
        if text.is_empty() {
            return Arc::clone(&self.empty);
        }
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.limit {
            self.cut = true;
            return Arc::clone(&self.empty);
        }
        let new: Arc<str> = readable(text).into();
        self.texts.insert(text.into(), Arc::clone(&new));
        new
    }

    /// Returns the number of the frame.
    pub(super) fn frame(&mut self, function: Arc<str>, file: Arc<str>, line: u32) -> u32 {
        let key = FrameKey { function: address(&function), file: address(&file), line };
        if let Some(known) = self.frames.get(&key) {
            return *known;
        }
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        if self.list.len() >= self.limit {
            self.cut = true;
            return number.saturating_sub(1);
        }
        let frame = if self.list.len() + 1 == self.limit {
            self.cut = true;
            Frame { function: "(too many frames)".into(), file: Arc::clone(&self.empty), line: 0 }
        } else {
            self.frames.insert(key, number);
            Frame { function, file, line }
        };
        self.list.push(Arc::new(frame));
        number
    }

    /// Returns the frame of a number.
    pub(super) fn get(&self, number: u32) -> Option<Arc<Frame>> {
        self.list.get(usize::try_from(number).ok()?).map(Arc::clone)
    }
}

fn address(text: &Arc<str>) -> usize {
    Arc::as_ptr(text).cast::<u8>().addr()
}

/// The linker writes a full stop in the last part of a path as `%2e`, and other bytes likewise.
fn readable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if !text.contains('%') {
        return text.into_owned();
    }
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii_graphic);
        match (code, part.get(2..)) {
            (Some(code), Some(rest)) => {
                out.push(char::from(code));
                out.push_str(rest);
            }
            _ => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_once_and_read_as_people_write_them() {
        let mut names = Names::new(10);
        let one = names.text(b"gopkg.in/yaml%2ev2.unmarshal");
        assert_eq!(&*one, "gopkg.in/yaml.v2.unmarshal");
        assert!(Arc::ptr_eq(&one, &names.text(b"gopkg.in/yaml%2ev2.unmarshal")));
        for (raw, want) in
            [("a%", "a%"), ("a%2", "a%2"), ("a%zz", "a%zz"), ("%25b", "%b"), ("%0ab", "%0ab"), ("%ü", "%ü")]
        {
            assert_eq!(readable(raw.as_bytes()), want);
        }
    }

    #[test]
    fn beyond_the_limit_one_frame_stands_for_all() {
        let mut names = Names::new(3);
        let file = names.text(b"f.go");
        let number = |names: &mut Names, line| names.frame(Arc::clone(&file), Arc::clone(&file), line);
        let numbers: Vec<u32> = [1, 2, 2, 3, 4, 1].into_iter().map(|line| number(&mut names, line)).collect();
        assert_eq!(numbers, [0, 1, 1, 2, 2, 0]);
        assert_eq!(&*names.get(2).unwrap().function, "(too many frames)");
        assert!(names.cut);
        assert!(names.get(3).is_none());
    }
}
