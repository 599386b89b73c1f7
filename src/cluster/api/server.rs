//! One API server: the kube client made when it is first needed, the token put on every request, one retry with another
//! token after a 401. kube never has the token, so that none of its errors and spans can hold it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, Response};
use kube::client::Body;
use kube::config::Config;
use kube::{Client, Error};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::super::{ApiBounds, ApiEnd};
use super::answer;
use super::body::{self, End};
use super::plugin::Plugin;
use super::{CONNECT, SMALL};
use crate::credential::Credential;
use crate::session::{Sink, StdStream};

/// What an API server is shown.
pub(super) struct Shown {
    /// Token or client certificate.
    pub(super) credential: Credential,
    /// `user:password` in base64, of old clusters.
    pub(super) basic: Option<SecretString>,
    /// The plug-in behind the credential, whose certificate is known once it has run.
    pub(super) plugin: Option<Arc<Plugin>>,
}

/// One API server.
pub(super) struct ApiServer {
    address: String,
    config: Config,
    shown: Arc<Shown>,
    client: OnceCell<Client>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl Failure {
    pub(super) fn end(self) -> ApiEnd {
        answer::failed(self.0, None)
    }
}

impl ApiServer {
    /// Returns the server of this configuration, which holds no token.
    pub(super) fn new(mut config: Config, shown: Arc<Shown>) -> Self {
        config.connect_timeout = Some(CONNECT);
        config.default_retry = false;
        // The environment's: kube knows proxies only with features that are not built in.
        config.proxy_url = None;
        let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        Self { address, config, shown, client: OnceCell::new() }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns what the credential is, for messages.
    pub(super) fn kind(&self) -> &str {
        self.shown.credential.kind()
    }

    /// Gets the credential, which may take the time of an exec plug-in.
    ///
    /// # Errors
    /// Its source gives none.
    ///
    /// # Cancel safety
    /// May be dropped at any time: a plug-in is ended with all it started.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        self.shown.credential.bearer().await.map(drop).map_err(|e| Failure(e.0))
    }

    async fn client(&self) -> Result<&Client, Failure> {
        self.client
            .get_or_try_init(async || {
                let mut config = self.config.clone();
                if let Some(identity) = self.shown.plugin.as_ref().and_then(|plugin| plugin.identity()) {
                    config.auth_info.client_certificate_data = identity.client_certificate_data;
                    config.auth_info.client_key_data = identity.client_key_data;
                }
                Client::try_from(config).map_err(|e| Failure(answer::cause(&e)))
            })
            .await
    }

    /// Sends a request and waits for the head of the answer; the caller bounds the time.
    ///
    /// # Errors
    /// There is no credential, or no answer came.
    ///
    /// # Cancel safety
    /// May be dropped at any time; a PUT may have taken effect.
    pub(super) async fn send(&self, method: &Method, path: &str, body: &Bytes) -> Result<Response<Body>, Failure> {
        let bearer = self.shown.credential.bearer().await.map_err(|e| Failure(e.0))?;
        let client = self.client().await?;
        let header = match (&bearer, &self.shown.basic) {
            (Some(bearer), _) => Some(sensitive("Bearer", bearer.secret())?),
            (None, Some(basic)) => Some(sensitive("Basic", basic)?),
            (None, None) => None,
        };
        let answer = send(client, method, path, body, header).await?;
        let Some(refused) = bearer.filter(|_| answer.status().as_u16() == 401) else { return Ok(answer) };
        match self.shown.credential.renewed(&refused).await {
            Ok(Some(other)) => send(client, method, path, body, Some(sensitive("Bearer", other.secret())?)).await,
            Ok(None) | Err(_) => Ok(answer),
        }
    }

    /// Asks for something small; returns status, body, and whether it is whole. `deadline` is the body's; the caller bounds
    /// the head.
    ///
    /// # Errors
    /// As [`Self::send`].
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn small(&self, path: &str, deadline: Instant) -> Result<(u16, Vec<u8>, bool), Failure> {
        let answer = self.send(&Method::GET, path, &Bytes::new()).await?;
        let status = answer.status().as_u16();
        let (body, end) = body::whole(answer.into_body(), SMALL, deadline).await;
        Ok((status, body.to_vec(), end == End::Whole))
    }

    /// Waits for the head of the answer to a GET.
    ///
    /// # Errors
    /// No answer came by `deadline`, or one with a status other than 200.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn head(&self, path: &str, deadline: Instant, within: Duration) -> Result<Body, Refused> {
        let answer = match timeout_at(deadline, self.send(&Method::GET, path, &Bytes::new())).await {
            Err(_) => return Err(Refused::from(answer::timed_out(within))),
            Ok(Err(failure)) => return Err(Refused::from(failure.end())),
            Ok(Ok(answer)) => answer,
        };
        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(answer.into_body());
        }
        let (body, _) = body::whole(answer.into_body(), SMALL, deadline).await;
        Err(Refused { end: answer::refusal(status, &body, self.kind()), body: body.freeze() })
    }

    /// See [`Cluster::get`](super::Cluster::get).
    pub(super) async fn get(&self, path: &str, bounds: ApiBounds, sink: &mut dyn Sink) -> ApiEnd {
        let deadline = Instant::now() + bounds.within;
        let body = match self.head(path, deadline, bounds.within).await {
            Ok(body) => body,
            Err(refused) => {
                if refused.end.status.is_some_and(|status| status >= 500) && !refused.body.is_empty() {
                    let _ = sink.write(StdStream::Out, refused.body).await;
                }
                return refused.end;
            }
        };
        match body::pass(body, bounds.max_bytes, deadline, sink).await {
            End::Whole => answer::complete(),
            End::Cut => answer::cut(Some(200)),
            End::Late => answer::unfinished(bounds.within),
            End::Full => answer::truncated(bounds.max_bytes),
        }
    }
}

/// An end that is no 200, and the body that came with it.
pub(super) struct Refused {
    pub(super) end: ApiEnd,
    pub(super) body: Bytes,
}

impl From<ApiEnd> for Refused {
    fn from(end: ApiEnd) -> Self {
        Self { end, body: Bytes::new() }
    }
}

async fn send(
    client: &Client,
    method: &Method,
    path: &str,
    body: &Bytes,
    header: Option<HeaderValue>,
) -> Result<Response<Body>, Failure> {
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse().map_err(|_| Failure(format!("{path} is no path of an API server")))?;
    if let Some(header) = header {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    client.send(request).await.map_err(|error| match &error {
        // Its cause is the same for every request of a client that cannot be built.
        Error::Service(inner) => Failure(format!("not reached: {}", answer::cause(inner.as_ref()))),
        other => Failure(format!("not reached: {}", answer::cause(other))),
    })
}

fn sensitive(scheme: &str, secret: &SecretString) -> Result<HeaderValue, Failure> {
    let text = Zeroizing::new(format!("{scheme} {}", secret.expose_secret()));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| Failure("the token holds characters that no HTTP header can carry".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
