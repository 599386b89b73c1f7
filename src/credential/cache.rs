//! What all nodes of a run share of a credential: the token in use, and when its source was asked. The source is asked by
//! one of all who wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{CredentialError, TokenSource};
use crate::session::http::ClientCert;

/// Between two questions for another token: a whole fleet may be refused at once, and each node says so.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(10);
/// After a source failed: a command may take 30 s to fail, and every request of every node would wait for it.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// A bearer token.
#[derive(Clone)]
pub struct Bearer(Arc<SecretString>);

/// Told every token before it is used: the redactor takes it out of all evidence.
pub type OnSecret = Arc<dyn Fn(&str) + Send + Sync>;

/// A credential; clones share what is cached. `Debug` shows its kind only.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    kind: String,
    tokens: Option<Box<dyn TokenSource>>,
    certificate: Option<ClientCert>,
    on_secret: OnSecret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the source gave last; the inner `None`: it holds no token.
    current: Option<Option<Bearer>>,
    /// It was refused, and the source had no other.
    in_vain: bool,
    asked: Option<Instant>,
    failed: Option<CredentialError>,
}

impl Credential {
    /// Returns a credential. `kind` is for people and the manifest: `token from a file`, `token from a command`,
    /// `kubeconfig context NAME`, `client certificate`.
    #[must_use]
    pub fn new(
        kind: &str,
        tokens: Option<Box<dyn TokenSource>>,
        certificate: Option<ClientCert>,
        on_secret: OnSecret,
    ) -> Self {
        let state = Mutex::new(State::default());
        Self(Arc::new(Inner { kind: kind.to_owned(), tokens, certificate, on_secret, state }))
    }

    /// Returns the token to use; the source is asked once, whoever waits. A source that failed is asked again after 60 s
    /// at the earliest; until then its failure is told again.
    ///
    /// # Errors
    /// When the source gives none.
    ///
    /// # Cancel safety
    /// May be dropped at any time; a command that runs is ended.
    pub async fn bearer(&self) -> Result<Option<Bearer>, CredentialError> {
        let Some(source) = &self.0.tokens else { return Ok(None) };
        let mut state = self.0.state.lock().await;
        if let Some(known) = &state.current {
            return Ok(known.clone());
        }
        if let Some(error) = state.failed.clone().filter(|_| state.asked_within(AFTER_FAILURE)) {
            return Err(error);
        }
        self.ask(&mut state, source.as_ref(), false).await
    }

    /// Returns another token after `refused` was refused with 401, or `None` if the source has no other. The source is
    /// asked once for all who were refused the same token, and not more often than every 10 s.
    ///
    /// # Errors
    /// When the source fails.
    ///
    /// # Cancel safety
    /// As [`bearer`](Self::bearer).
    pub async fn renewed(&self, refused: &Bearer) -> Result<Option<Bearer>, CredentialError> {
        let Some(source) = self.0.tokens.as_ref().filter(|source| source.renewable()) else { return Ok(None) };
        let mut state = self.0.state.lock().await;
        if let Some(Some(current)) = &state.current
            && !current.same_as(refused)
        {
            return Ok(Some(current.clone()));
        }
        if state.in_vain {
            return Ok(None);
        }
        if state.asked_within(BETWEEN_RENEWALS) {
            return state.failed.clone().map_or(Ok(None), Err);
        }
        let fresh = self.ask(&mut state, source.as_ref(), true).await?;
        let other = fresh.filter(|fresh| !fresh.same_as(refused));
        state.in_vain = other.is_none();
        Ok(other)
    }

    async fn ask(
        &self,
        state: &mut State,
        source: &dyn TokenSource,
        fresh: bool,
    ) -> Result<Option<Bearer>, CredentialError> {
        let answer = source.token(fresh).await;
        state.asked = Some(Instant::now());
        match answer {
            Ok(token) => {
                let token = token.map(|token| {
                    (self.0.on_secret)(token.expose_secret());
                    Bearer(Arc::new(token))
                });
                state.failed = None;
                state.current = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Returns the client certificate, if there is one.
    #[must_use]
    pub fn certificate(&self) -> Option<ClientCert> {
        self.0.certificate.clone()
    }

    /// Returns what it is, for people and the manifest.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }
}

impl State {
    fn asked_within(&self, time: Duration) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < time)
    }
}

impl Bearer {
    /// Returns the token.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    fn same_as(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::{BoxFuture, join_all};

    use super::*;

    /// Gives what a script says, and counts.
    struct Scripted {
        answers: Vec<Result<Option<&'static str>, &'static str>>,
        asked: Arc<AtomicUsize>,
        renewable: bool,
    }

    impl TokenSource for Scripted {
        fn token(&self, _fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
            async {
                let nth = self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                match self.answers[nth.min(self.answers.len() - 1)] {
                    Ok(token) => Ok(token.map(SecretString::from)),
                    Err(text) => Err(CredentialError(text.to_owned())),
                }
            }
            .boxed()
        }

        fn renewable(&self) -> bool {
            self.renewable
        }
    }

    type Asked = Arc<AtomicUsize>;
    type Told = Arc<StdMutex<Vec<String>>>;

    fn credential(
        answers: Vec<Result<Option<&'static str>, &'static str>>,
        renewable: bool,
    ) -> (Credential, Asked, Told) {
        let (asked, told) = (Asked::default(), Told::default());
        let source = Scripted { answers, asked: Arc::clone(&asked), renewable };
        let ear = Arc::clone(&told);
        let on_secret: OnSecret = Arc::new(move |token| ear.lock().unwrap().push(token.to_owned()));
        (Credential::new("token from a test", Some(Box::new(source)), None, on_secret), asked, told)
    }

    fn text(bearer: &Bearer) -> &str {
        bearer.secret().expose_secret()
    }

    #[tokio::test(start_paused = true)]
    async fn the_source_is_asked_once_for_all_and_told_first() {
        let (credential, asked, told) = credential(vec![Ok(Some("first-token"))], true);
        for token in join_all((0..50).map(|_| credential.bearer())).await {
            assert_eq!(text(&token.unwrap().unwrap()), "first-token");
        }
        assert_eq!((asked.load(Ordering::SeqCst), told.lock().unwrap().clone()), (1, vec!["first-token".to_owned()]));
        let shown = format!("{credential:?} {:?}", credential.bearer().await.unwrap().unwrap());
        assert_eq!(shown, "Credential(token from a test) Bearer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_renewed_once_for_all_who_were_refused_it() {
        let (credential, asked, told) =
            credential(vec![Ok(Some("first-token")), Ok(Some("second-token")), Ok(Some("second-token"))], true);
        let first = credential.bearer().await.unwrap().unwrap();
        assert!(credential.renewed(&first).await.unwrap().is_none(), "it was got a moment ago");
        tokio::time::advance(BETWEEN_RENEWALS).await;
        for token in join_all((0..50).map(|_| credential.renewed(&first))).await {
            assert_eq!(text(&token.unwrap().unwrap()), "second-token");
        }
        assert_eq!((asked.load(Ordering::SeqCst), told.lock().unwrap().len()), (2, 2));
        let second = credential.bearer().await.unwrap().unwrap();
        for _ in 0..3 {
            tokio::time::advance(BETWEEN_RENEWALS).await;
            assert!(credential.renewed(&second).await.unwrap().is_none(), "the source has no other");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3, "once for this token");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_renewed_is_not_asked_again() {
        let (credential, asked, _) = credential(vec![Ok(Some("first-token"))], false);
        let first = credential.bearer().await.unwrap().unwrap();
        tokio::time::advance(BETWEEN_RENEWALS).await;
        assert!(credential.renewed(&first).await.unwrap().is_none());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_left_alone_for_a_while() {
        let (credential, asked, _) = credential(vec![Err("it broke"), Ok(Some("first-token"))], true);
        for _ in 0..5 {
            assert_eq!(credential.bearer().await.unwrap_err().to_string(), "it broke");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(AFTER_FAILURE).await;
        assert!(credential.bearer().await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_certificate_alone_needs_no_token() {
        let (with, asked, told) = credential(vec![Ok(None)], true);
        assert!(with.bearer().await.unwrap().is_none() && with.bearer().await.unwrap().is_none());
        assert_eq!((asked.load(Ordering::SeqCst), told.lock().unwrap().len()), (1, 0));
        let without = Credential::new("client certificate", None, None, Arc::new(|_| {}));
        assert!(without.bearer().await.unwrap().is_none() && without.certificate().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_the_question_to_the_next() {
        let (credential, asked, _) = credential(vec![Ok(Some("first-token"))], true);
        assert!(credential.bearer().now_or_never().is_none(), "it is being asked");
        assert!(credential.bearer().await.unwrap().is_some());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
