//! What is to go wrong: a file read for each connection and each request, so that a fault begins and ends while the
//! stand-in runs. A line is `KIND [ARGUMENT] [/PATH-PREFIX]`; without a prefix it holds for every path of the TLS port.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::failed;

/// Seconds after which a real kubelet gave up on an API server that hangs; 10 to 30 were measured.
const CUT_OFF_SECONDS: f64 = 30.0;

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// `slow SECONDS`: the answer begins late.
    Slow(Duration),
    /// `hung`: no answer ever.
    Hung,
    /// `cut-off [SECONDS]`: the API server does not answer. Tokens end in 401 after that time, client certificates in 500.
    CutOff(Duration),
    /// `401`: no credential is known.
    Unauthorized,
    /// `403`: nobody has a right.
    Forbidden,
    /// `404`: the path is not served.
    NotFound,
    /// `429`: the API server has too many requests; a kubelet knows no such answer.
    TooMany,
    /// `cut BYTES`: the connection is closed after so much of the body.
    Cut(usize),
    /// `short [BYTES]`: Content-Length promises so much more than comes, 1000 if not given; then the connection is closed.
    Short(usize),
    /// `endless`: the body is repeated for ever.
    Endless,
}

/// The faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    /// `set NAME`: another set of recordings.
    pub set: Option<String>,
    /// `variant NAME`: rows of the set's variants/NAME come first.
    pub variant: Option<String>,
    /// `self-signed`: the self-signed serving certificate in the place of the given one.
    pub self_signed: bool,
    /// `http2`: HTTP/2 is offered by ALPN.
    pub http2: bool,
    /// `silent`: connections are accepted, and nothing is ever said on them.
    pub silent: bool,
    rows: Vec<(Fault, Option<String>)>,
}

impl Faults {
    /// Reads the file; a missing one is no fault.
    pub fn read(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|error| failed(path.display(), error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(path.display(), error)),
        }
    }

    /// Parses the file's text.
    pub fn parse(text: &str) -> io::Result<Self> {
        let mut faults = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            faults.take(line).ok_or_else(|| failed("not a fault", format!("'{line}'")))?;
        }
        Ok(faults)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let prefix = words.pop_if(|word| word.starts_with('/')).map(ToOwned::to_owned);
        let fault = match words.as_slice() {
            ["set", name] => {
                self.set = Some((*name).to_owned());
                return Some(());
            }
            ["variant", name] => {
                self.variant = Some((*name).to_owned());
                return Some(());
            }
            ["self-signed"] => {
                self.self_signed = true;
                return Some(());
            }
            ["http2"] => {
                self.http2 = true;
                return Some(());
            }
            ["silent"] => {
                self.silent = true;
                return Some(());
            }
            ["slow", wait] => Fault::Slow(seconds(wait)?),
            ["hung"] => Fault::Hung,
            ["cut-off"] => Fault::CutOff(Duration::from_secs_f64(CUT_OFF_SECONDS)),
            ["cut-off", wait] => Fault::CutOff(seconds(wait)?),
            ["401"] => Fault::Unauthorized,
            ["403"] => Fault::Forbidden,
            ["404"] => Fault::NotFound,
            ["429"] => Fault::TooMany,
            ["cut", bytes] => Fault::Cut(bytes.parse().ok()?),
            ["short"] => Fault::Short(1000),
            ["short", bytes] => Fault::Short(bytes.parse().ok()?),
            ["endless"] => Fault::Endless,
            _ => return None,
        };
        self.rows.push((fault, prefix));
        Some(())
    }

    /// Returns the faults of one path, in the order of the file.
    pub fn of(&self, path: &str) -> Vec<&Fault> {
        let holds = |prefix: &Option<String>| prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix.as_str()));
        self.rows.iter().filter(|(_, prefix)| holds(prefix)).map(|(fault, _)| fault).collect()
    }

    /// Returns the faults that name the path: the only ones that hold on the plain port too.
    pub fn naming(&self, path: &str) -> Vec<&Fault> {
        let names = |prefix: &Option<String>| prefix.as_ref().is_some_and(|prefix| path.starts_with(prefix.as_str()));
        self.rows.iter().filter(|(_, prefix)| names(prefix)).map(|(fault, _)| fault).collect()
    }
}

fn seconds(word: &str) -> Option<Duration> {
    word.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}
