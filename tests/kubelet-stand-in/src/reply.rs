//! What goes out: an answer with its headers, made into a response with the faults of its body; shared by both servers.

use std::future::pending;
use std::io::{self, Write};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::sleep;

use crate::body::Body;
use crate::failed;
use crate::fault::Fault;
use crate::recording::Recording;
use crate::request_log::Line;
use crate::user::Credential;

/// The longest body a request may have.
const BODY_LIMIT: usize = 1 << 20;

/// What goes out, before faults of the body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers in their order; the values of Date and Content-Length are set when it goes out.
    pub headers: Vec<(String, String)>,
    /// `None` where only the head comes.
    pub body: Option<Bytes>,
    /// Whether the length is told before the body.
    pub sized: bool,
}

impl Answer {
    /// The kubelet's plain-text error, as its 401, 403 and 404 of the router have it.
    pub fn plain(status: u16, text: impl Into<Bytes>) -> Self {
        let headers = ["date", "content-length", "content-type"].map(str::to_owned).into_iter();
        let values = ["", "", "text/plain; charset=utf-8"].map(str::to_owned);
        Self { status, headers: headers.zip(values).collect(), body: Some(text.into()), sized: true }
    }

    /// The plain-text error of Go's own HTTP server and of the handlers for flags.
    pub fn error(status: u16, content_type: &str, text: impl Into<Bytes>) -> Self {
        let headers = [
            ("content-type", content_type),
            ("x-content-type-options", "nosniff"),
            ("date", ""),
            ("content-length", ""),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { status, headers, body: Some(text.into()), sized: true }
    }

    /// 404 of a path that is not served.
    pub fn not_served() -> Self {
        Self::error(404, "text/plain; charset=utf-8", "404 page not found\n")
    }

    /// What was recorded.
    pub fn recorded(recording: &Recording) -> Self {
        Self {
            status: recording.status,
            headers: recording.headers.clone(),
            body: recording.body.clone(),
            sized: recording.sized,
        }
    }
}

/// Waits as the faults say, for ever where one hangs.
pub async fn delay(faults: &[&Fault]) {
    for fault in faults {
        match fault {
            Fault::Slow(wait) => sleep(*wait).await,
            Fault::Hung => pending().await,
            _ => {}
        }
    }
}

/// Makes the response, with the ends that faults ask for.
pub fn send(answer: Answer, gzip: bool, faults: &[&Fault], line: &mut Line) -> io::Result<Response<Body>> {
    let Answer { status, headers, body, mut sized } = answer;
    let mut length = body.as_ref().map(Bytes::len);
    let out = match body {
        None => Body::never(),
        Some(bytes) => {
            let bytes = if gzip && status == 200 {
                sized = false;
                gzipped(&bytes)?
            } else {
                bytes
            };
            let mut out = Body::whole(&bytes, sized);
            for fault in faults {
                match fault {
                    Fault::Cut(at) => out = Body::closed_after(&bytes.slice(..bytes.len().min(*at))),
                    Fault::Short(missing) => {
                        (sized, length) = (true, Some(bytes.len() + missing));
                        out = Body::closed_after(&bytes);
                    }
                    Fault::Endless => {
                        sized = false;
                        out = Body::endless(&bytes);
                    }
                    _ => {}
                }
            }
            out
        }
    };
    let mut response = Response::new(out);
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    for (name, value) in headers {
        let value = match name.as_str() {
            "date" => httpdate::fmt_http_date(SystemTime::now()),
            "content-length" => match length.filter(|_| sized) {
                Some(length) => length.to_string(),
                None => continue,
            },
            _ => value,
        };
        put(response.headers_mut(), &name, &value)?;
    }
    if gzip && status == 200 {
        put(response.headers_mut(), "content-encoding", "gzip")?;
    }
    if let Some(length) = length.filter(|_| sized && !response.headers().contains_key(CONTENT_LENGTH)) {
        put(response.headers_mut(), "content-length", &length.to_string())?;
    }
    line.status = Some(status);
    Ok(response)
}

/// A test's own mistake (users or faults that cannot be read) is told loudly, and looks like no kubelet.
pub fn broken(line: &mut Line, error: &io::Error) -> io::Result<Response<Body>> {
    let _ = writeln!(io::stderr(), "kubelet stand-in: {error}");
    send(Answer::plain(501, format!("kubelet stand-in: {error}\n")), false, &[], line)
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> io::Result<()> {
    let name: HeaderName = name.parse().map_err(io::Error::other)?;
    headers.append(name, HeaderValue::from_str(value).map_err(io::Error::other)?);
    Ok(())
}

/// Reads the body of a request.
pub async fn read(body: &mut Incoming) -> io::Result<Bytes> {
    Ok(Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| failed("body", error))?.to_bytes())
}

/// Returns how the request says who asks.
pub fn credential<'a>(certificate: Option<&'a str>, headers: &'a HeaderMap) -> Credential<'a> {
    let bearer =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    match (certificate, bearer) {
        (Some(name), _) => Credential::Certificate(name),
        (None, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => Credential::Token(token.trim()),
        _ => Credential::None,
    }
}

/// Returns whether gzip is accepted.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get("accept-encoding").and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| coding.trim() == "gzip")
}

fn gzipped(bytes: &Bytes) -> io::Result<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}
