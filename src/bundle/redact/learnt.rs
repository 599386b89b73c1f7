//! Tokens of ours, learnt while the run goes on: a node that was shown one may send it back. They are looked for byte by
//! byte in front of all rules, as they are and in base64 at its three alignments (standard and URL alphabet), which is how
//! Secrets, Basic authentication and dumps of requests hold them. Other encodings (hex, reversed) are not looked for: a
//! node that wants to hide a token it was given can always do so. Nothing of a token is kept but in memory that is wiped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// What is shorter would match by chance.
const SHORTEST: usize = 4;
/// A base64 form that is shorter would match by chance.
const SHORTEST_FORM: usize = 8;
/// The beginning of a token that was cut off, by a bound on a sentence or by the end of a stream: taken out from this length on.
const SHORTEST_CUT: usize = 8;
/// What a bound on a sentence puts where it cut.
const CUT: &[u8] = "…".as_bytes();

/// All tokens of the run so far.
#[derive(Default)]
pub(super) struct Learnt {
    any: AtomicBool,
    forms: RwLock<Arc<Vec<Form>>>,
}

/// One way a token may be written.
pub(super) struct Form {
    bytes: Zeroizing<Vec<u8>>,
    placeholder: Vec<u8>,
}

impl Learnt {
    /// Adds a token; `placeholder` stands for it in all its forms.
    pub(super) fn add(&self, token: &str, placeholder: &[u8]) {
        if token.len() < SHORTEST {
            return;
        }
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        let known = |bytes: &[u8], forms: &[Form]| forms.iter().any(|form| form.bytes.as_slice() == bytes);
        if known(token.as_bytes(), &forms) {
            return;
        }
        let mut all: Vec<Form> = forms
            .iter()
            .map(|form| Form { bytes: form.bytes.clone(), placeholder: form.placeholder.clone() })
            .collect();
        let encoded = (0..3).flat_map(|before| encodings(token.as_bytes(), before));
        for bytes in std::iter::once(Zeroizing::new(token.as_bytes().to_vec())).chain(encoded) {
            if !known(&bytes, &all) {
                all.push(Form { bytes, placeholder: placeholder.to_vec() });
            }
        }
        *forms = Arc::new(all);
        self.any.store(true, Ordering::Release);
    }

    /// Returns all forms, or `None` if nothing was learnt.
    pub(super) fn forms(&self) -> Option<Arc<Vec<Form>>> {
        self.any.load(Ordering::Acquire).then(|| Arc::clone(&self.forms.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Returns the characters of base64 that hang on `token` alone, where it stands `before` bytes behind a multiple of three.
fn encodings(token: &[u8], before: usize) -> Vec<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(before + token.len()));
    plain.resize(before, 0);
    plain.extend_from_slice(token);
    let (from, to) = ((before * 8).div_ceil(6), plain.len() * 8 / 6);
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD]
        .iter()
        .map(|engine| {
            let text = Zeroizing::new(engine.encode(plain.as_slice()));
            Zeroizing::new(text.as_bytes().get(from..to).unwrap_or_default().to_vec())
        })
        .filter(|form| form.len() >= SHORTEST_FORM)
        .collect()
}

/// What stands at a place of a stream.
enum Here<'f> {
    Nothing,
    /// So many bytes of this form.
    Token(usize, &'f Form),
    /// More must come before it is known.
    Undecided,
}

/// Takes tokens out of one stream. The result does not depend on how the stream is cut into chunks.
pub(super) struct Sieve {
    binary: bool,
    held: Zeroizing<Vec<u8>>,
}

impl Sieve {
    /// Returns the sieve of a stream; in a binary one a token is overwritten by as many `x`, and only whole ones are looked for.
    pub(super) fn new(binary: bool) -> Self {
        Self { binary, held: Zeroizing::new(Vec::new()) }
    }

    /// Appends to `out` what is decided of the stream with `input` (`end`: nothing follows), and returns the number of
    /// tokens that were in it.
    pub(super) fn pass(&mut self, forms: &[Form], input: &[u8], end: bool, out: &mut Vec<u8>) -> u64 {
        let joined;
        let text = if self.held.is_empty() {
            input
        } else {
            let mut all = std::mem::take(&mut *self.held);
            all.extend_from_slice(input);
            joined = Zeroizing::new(all);
            joined.as_slice()
        };
        let mut starts = [false; 256];
        for form in forms {
            if let Some(flag) = form.bytes.first().and_then(|first| starts.get_mut(usize::from(*first))) {
                *flag = true;
            }
        }
        let may_start = |byte: &u8| starts.get(usize::from(*byte)).copied().unwrap_or(false);
        let (mut at, mut copied, mut found) = (0, 0, 0);
        while let Some(next) = text.get(at..).and_then(|rest| rest.iter().position(may_start)) {
            at += next;
            match self.here(forms, text.get(at..).unwrap_or_default(), end) {
                Here::Nothing => at += 1,
                Here::Token(length, form) => {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    if self.binary {
                        out.resize(out.len() + length, b'x');
                    } else {
                        out.extend_from_slice(&form.placeholder);
                    }
                    found += 1;
                    at += length;
                    copied = at;
                }
                Here::Undecided => {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    self.held = Zeroizing::new(text.get(at..).unwrap_or_default().to_vec());
                    return found;
                }
            }
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        found
    }

    fn here<'f>(&self, forms: &'f [Form], rest: &[u8], end: bool) -> Here<'f> {
        let mut longest: Option<(usize, &Form)> = None;
        for form in forms.iter().filter(|form| form.bytes.first() == rest.first()) {
            let same = form.bytes.iter().zip(rest).take_while(|(a, b)| a == b).count();
            let after = rest.get(same..).unwrap_or_default();
            let mut hit = same == form.bytes.len();
            if !hit {
                if after.is_empty() && !end {
                    return Here::Undecided;
                }
                if !self.binary && same >= SHORTEST_CUT {
                    if !end && after.len() < CUT.len() && CUT.starts_with(after) {
                        return Here::Undecided;
                    }
                    hit = after.is_empty() || after.starts_with(CUT);
                }
            }
            if hit && longest.is_none_or(|(length, _)| same > length) {
                longest = Some((same, form));
            }
        }
        longest.map_or(Here::Nothing, |(length, form)| Here::Token(length, form))
    }
}
