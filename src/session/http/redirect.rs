//! Redirects: followed within the same server only, so that what is sent along goes nowhere else. Decides, sends nothing.

use hyper::Uri;
use hyper::header::LOCATION;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Answer, HttpError, Server};
use crate::printable::printable_bytes;

/// Most redirects that are followed: kubelets send one, from `/debug/pprof` to `/debug/pprof/` (seen with 1.21.1 and 1.36.2).
pub(super) const MOST: usize = 3;
/// Longest part of a location that is shown.
const SHOWN: usize = 200;

/// Returns where an answer points, if it is a redirect.
pub(super) fn told(answer: &Answer) -> Option<&[u8]> {
    let location = answer.headers.get(LOCATION)?;
    matches!(answer.status, 301 | 302 | 303 | 307 | 308).then(|| location.as_bytes())
}

/// Returns path and query of a location, if it is on `server` and of its scheme; `from` is the path that was asked for.
pub(super) fn within(server: &Server, from: &str, location: &[u8]) -> Option<String> {
    let location = std::str::from_utf8(location).ok()?;
    // Readers differ in what they make of the rest.
    if !location.bytes().all(|b| b.is_ascii_graphic()) || location.contains('\\') {
        return None;
    }
    let (location, _fragment) = location.split_once('#').unwrap_or((location, ""));
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    if location.starts_with("//") {
        return same(server, scheme, &format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    let (path, _query) = from.split_once('?').unwrap_or((from, ""));
    if location.is_empty() || location.starts_with('?') {
        return Some(format!("{path}{location}"));
    }
    // A colon before the first slash is the end of a scheme (RFC 3986, section 4.2).
    if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return same(server, scheme, location);
    }
    let (folder, _file) = path.rsplit_once('/')?;
    Some(format!("{folder}/{location}"))
}

fn same(server: &Server, scheme: &str, location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let default = if scheme == "https" { 443 } else { 80 };
    let authority = uri.authority()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let same = uri.scheme_str()?.eq_ignore_ascii_case(scheme)
        && !authority.as_str().contains('@')
        && host.eq_ignore_ascii_case(&server.host)
        && authority.port_u16().unwrap_or(default) == server.port;
    same.then(|| uri.path_and_query().map_or("/", |path| path.as_str()).to_owned())
}

/// Returns the failure for a location that is not followed. A server may repeat what it was sent: a location with the token
/// in it is not shown.
pub(super) fn refused(location: &[u8], bearer: Option<&SecretString>) -> HttpError {
    let token = bearer.map(|token| token.expose_secret().as_bytes()).filter(|token| !token.is_empty());
    let repeated = token.is_some_and(|token| location.windows(token.len()).any(|part| part == token));
    let shown =
        if repeated { "a place with the token in its name".to_owned() } else { printable_bytes(location, SHOWN) };
    HttpError::Broken(format!("it redirects to {shown}, which is no path of the server that was asked: not followed"))
}
