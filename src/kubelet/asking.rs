//! One request over whichever way is left, and again with another token after a 401. Keeps what is learnt about ways,
//! certificate and credential; says nothing about what an answer means.

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::delivery::Delivery;
use super::gate::Allowed;
use super::request::{Ask, Body, Reply, Trouble};
use super::way::curl::Curl;
use super::way::{api, forward};
use super::{FIRST_CONTACT, Kubelet, Receiver, Via, WayTaken};
use crate::credential::Bearer;
use crate::inventory::target::Endpoint;
use crate::plan::{Encoding, KubeletPort};
use crate::session::http::{Method, Server, Spki, TlsServer, Trust, inspect};
use crate::session::{Session, Sink};

/// A node whose sshd needs longer for a keepalive runs nothing else either.
const LINK_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// What is asked, apart from who asks.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) method: Method,
    pub(super) port: KubeletPort,
    pub(super) path: &'a str,
    pub(super) gzip: bool,
    pub(super) body: &'a str,
}

/// What became of it.
pub(super) struct Asked {
    pub(super) result: Result<(WayTaken, Reply), Trouble>,
    /// A token was shown.
    pub(super) token: bool,
    /// A second token was tried.
    pub(super) renewed: bool,
    /// Why there was no second token, if the source failed.
    pub(super) note: Option<String>,
    /// What was allowed for the last try.
    pub(super) allowed: Allowed,
}

impl Kubelet {
    /// Makes a request, and once more with another token if it is answered 401.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the request may have been sent.
    pub(super) async fn ask(
        &self,
        session: &Session,
        wanted: Wanted<'_>,
        timeout: std::time::Duration,
        delivery: &mut Delivery<'_>,
        cancel: &CancellationToken,
    ) -> Asked {
        let api = wanted.port == KubeletPort::Api;
        let mut allowed = Allowed { head: timeout, all: timeout };
        let (mut renewed, mut note) = (false, None);
        let mut bearer = match self.bearer(api, cancel).await {
            Ok(bearer) => bearer,
            Err(trouble) => return Asked { result: Err(trouble), token: false, renewed, note, allowed },
        };
        loop {
            if api {
                allowed = self.state().gate.allowed(wanted.path, timeout);
            }
            let secret = bearer.as_ref().map(Bearer::secret);
            let result = self.by_any_way(session, wanted, secret, allowed, delivery, cancel).await;
            let refused = matches!(&result, Ok((way, reply)) if reply.status == 401 && *way != WayTaken::ApiServer);
            if api && refused && !renewed {
                match self.another(bearer.as_ref(), cancel).await {
                    Ok(Some(other)) => {
                        bearer = Some(other);
                        renewed = true;
                        self.state().gate.renewed();
                        continue;
                    }
                    Ok(None) => {}
                    Err(why) => note = Some(why),
                }
            }
            return Asked { result, token: bearer.is_some(), renewed, note, allowed };
        }
    }

    async fn bearer(&self, api: bool, cancel: &CancellationToken) -> Result<Option<Bearer>, Trouble> {
        let Some(credential) = self.credential.as_ref().filter(|_| api && self.via != Via::ApiServer) else {
            return Ok(None);
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Trouble::Cancelled),
            bearer = credential.bearer() => bearer.map_err(|e| Trouble::Closed(e.to_string())),
        }
    }

    async fn another(&self, refused: Option<&Bearer>, cancel: &CancellationToken) -> Result<Option<Bearer>, String> {
        let (Some(credential), Some(refused)) = (&self.credential, refused) else { return Ok(None) };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(None),
            bearer = credential.renewed(refused) => bearer.map_err(|e| e.to_string()),
        }
    }

    /// Returns the ways that are allowed, in the order they are tried.
    fn ways(&self, port: KubeletPort) -> &'static [WayTaken] {
        let asks_itself = port == KubeletPort::Healthz || self.credential.is_some();
        match (self.via, port) {
            // An API server does not reach a port on a node's loopback.
            (Via::Auto | Via::ApiServer, KubeletPort::Healthz) => &[WayTaken::Forward, WayTaken::Curl],
            (Via::ApiServer, KubeletPort::Api) => &[WayTaken::ApiServer],
            _ if !asks_itself => &[],
            (Via::Auto, KubeletPort::Api) => &[WayTaken::Forward, WayTaken::Curl, WayTaken::ApiServer],
            (Via::Forward, _) => &[WayTaken::Forward],
            (Via::Curl, _) => &[WayTaken::Curl],
        }
    }

    async fn by_any_way(
        &self,
        session: &Session,
        wanted: Wanted<'_>,
        bearer: Option<&SecretString>,
        allowed: Allowed,
        delivery: &mut Delivery<'_>,
        cancel: &CancellationToken,
    ) -> Result<(WayTaken, Reply), Trouble> {
        let Some(at) = self.place.endpoint(wanted.port) else {
            return Err(Trouble::Closed("this port is switched off".to_owned()));
        };
        let ask = Ask {
            method: wanted.method,
            port: wanted.port,
            path: wanted.path,
            bearer,
            gzip: wanted.gzip,
            body: wanted.body,
            head_within: allowed.head,
            within: allowed.all,
            cancel,
        };
        for way in self.ways(wanted.port) {
            if self.state().no_way(wanted.port, *way).is_some() {
                continue;
            }
            let result = match way {
                WayTaken::Forward => self.forward(session, at, &ask, delivery).await,
                WayTaken::Curl => self.curl(session, at, &ask, delivery).await,
                WayTaken::ApiServer => match &self.proxy {
                    Some(proxy) => api::ask(proxy.as_ref(), &self.place.cluster_name, &ask, delivery).await,
                    None => Err(Trouble::NoWay("no API server is given ([cluster], or --kubeconfig)".to_owned())),
                },
            };
            let result = match result {
                Err(trouble) if *way != WayTaken::ApiServer => Err(blamed(trouble, session, cancel).await),
                result => result,
            };
            match result {
                Err(Trouble::NoWay(why)) => self.state().refused_ways.push((wanted.port, *way, why)),
                Err(trouble) => {
                    if *way == WayTaken::ApiServer && matches!(trouble, Trouble::Broken(_)) {
                        self.proxy_failed(&trouble);
                    }
                    return Err(trouble);
                }
                Ok(reply) => {
                    if let Some(peer) = &reply.peer {
                        self.judge.seen(peer);
                    }
                    if wanted.port == KubeletPort::Api {
                        self.state().way = Some(*way);
                    }
                    return Ok((*way, reply));
                }
            }
        }
        let why: Vec<String> = self.state().refused(wanted.port);
        let why = if why.is_empty() { "there is no credential".to_owned() } else { why.join("; ") };
        Err(Trouble::Closed(format!("there is no way to the kubelet: {why}")))
    }

    /// An API server that is down would cost its time-out at each request.
    fn proxy_failed(&self, trouble: &Trouble) {
        let Trouble::Broken(why) = trouble else { return };
        let mut state = self.state();
        if state.gate.proxy_failed() {
            state.gate.close(crate::evidence::Outcome::Failed, why);
        }
    }

    async fn forward(
        &self,
        session: &Session,
        at: &Endpoint,
        ask: &Ask<'_>,
        delivery: &mut Delivery<'_>,
    ) -> Result<Reply, Trouble> {
        let mut server = Server { host: at.host.clone(), port: at.port, tls: None };
        if ask.port == KubeletPort::Api {
            let trust = self.met(session, &server, ask.cancel).await?;
            let client = self.credential.as_ref().and_then(crate::credential::Credential::certificate);
            server.tls = Some(TlsServer { names: self.place.names.clone(), trust, client });
        }
        forward::ask(session, &server, &self.judge, ask, delivery).await
    }

    /// Makes sure, without showing a credential, that the kubelet's process answers and has the key it should have, or gets
    /// its key recorded; once. Returns how its certificate is to be judged from now on.
    async fn met(&self, session: &Session, server: &Server, cancel: &CancellationToken) -> Result<Trust, Trouble> {
        let trust = self.judge.trust().await.map_err(Trouble::Closed)?;
        if let (Some(trust), true) = (&trust, self.state().met) {
            return Ok(trust.clone());
        }
        let unknown = trust.is_none();
        if unknown {
            self.no_stranger_listens(session, cancel).await?;
        }
        let tls =
            TlsServer { names: self.place.names.clone(), trust: trust.clone().unwrap_or(Trust::Any), client: None };
        let server = Server { tls: Some(tls), ..server.clone() };
        let greeting = Ask {
            method: Method::Get,
            port: KubeletPort::Api,
            path: "/healthz",
            bearer: None,
            gzip: false,
            body: "",
            head_within: FIRST_CONTACT,
            within: FIRST_CONTACT,
            cancel,
        };
        // A kubelet answers 401, or 200 where anonymous requests are let in; neither is of interest.
        let mut nobody = Nobody;
        match forward::ask(session, &server, &self.judge, &greeting, &mut Delivery::new(&mut nobody)).await {
            Ok(Reply { peer: Some(peer), .. }) => {
                self.judge.seen(&peer);
                if unknown {
                    self.judge.remember(&peer).await.map_err(Trouble::Closed)?;
                }
            }
            // TLS is up: that was asked.
            Err(Trouble::Silent(_) | Trouble::Broken(_)) if !unknown => {}
            Ok(_) => return Err(Trouble::Broken("the kubelet showed no certificate".to_owned())),
            Err(trouble) => return Err(trouble),
        }
        self.state().met = true;
        match self.judge.trust().await.map_err(Trouble::Closed)? {
            Some(trust) => Ok(trust),
            None => Err(Trouble::Closed("the key of the kubelet is not recorded".to_owned())),
        }
    }

    async fn curl(
        &self,
        session: &Session,
        at: &Endpoint,
        ask: &Ask<'_>,
        delivery: &mut Delivery<'_>,
    ) -> Result<Reply, Trouble> {
        let curl = Curl { session, shell: &self.shell, at };
        if ask.port == KubeletPort::Healthz {
            return curl.ask(ask, None, &self.judge, delivery).await;
        }
        if ask.bearer.is_none() {
            return Err(Trouble::NoWay(
                "there is a client certificate only, and its key does not leave this machine".to_owned(),
            ));
        }
        let key = self.curl_key(&curl, ask.cancel).await?;
        curl.ask(ask, Some(key), &self.judge, delivery).await
    }

    /// Returns the key of the kubelet's certificate as curl on the node sees it, judged here; once.
    async fn curl_key(&self, curl: &Curl<'_>, cancel: &CancellationToken) -> Result<Spki, Trouble> {
        if let Some(key) = self.state().curl_key {
            return Ok(key);
        }
        let trust = self.judge.trust().await.map_err(Trouble::Closed)?;
        if trust.is_none() {
            self.no_stranger_listens(curl.session, cancel).await?;
        }
        let chain = curl.chain(cancel).await?;
        let peer = inspect(&chain, trust.as_ref().unwrap_or(&Trust::Any), &self.place.names)
            .map_err(|failure| Trouble::Closed(self.judge.refusal(&failure)))?;
        self.judge.seen(&peer);
        if trust.is_none() {
            self.judge.remember(&peer).await.map_err(Trouble::Closed)?;
        }
        self.state().curl_key = Some(peer.spki);
        Ok(peer.spki)
    }
}

/// Silence is the kubelet's only while the node itself answers; else it is the link's, and says nothing of the kubelet.
async fn blamed(trouble: Trouble, session: &Session, cancel: &CancellationToken) -> Trouble {
    let (after, sent) = match &trouble {
        Trouble::Frozen(after) => (*after, false),
        Trouble::Silent(after) => (*after, true),
        _ => return trouble,
    };
    let answers = tokio::select! {
        biased;
        () = cancel.cancelled() => return Trouble::Cancelled,
        answers = session.answers(LINK_WITHIN) => answers,
    };
    if answers {
        return trouble;
    }
    let why = match session.cause_of_death() {
        Some(error) => error.text,
        None => format!(
            "no answer within {}, and none of the SSH connection itself: the link or the node hangs, and nothing is known of \
             the kubelet",
            crate::wording::duration(after)
        ),
    };
    if sent { Trouble::Lost(why) } else { Trouble::Stalled(why) }
}

/// Wants no answer.
struct Nobody;

impl Receiver for Nobody {
    fn begin(&mut self, _: Encoding) -> futures::future::BoxFuture<'_, Option<&mut dyn Sink>> {
        Box::pin(std::future::ready(None))
    }
}

impl Body {
    /// Returns what was kept of it.
    pub(super) fn kept(&self) -> &[u8] {
        if let Self::Kept(bytes) = self { bytes } else { &[] }
    }
}
