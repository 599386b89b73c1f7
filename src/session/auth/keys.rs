//! The run-wide key ring: private key files and certificates, each read once, each encrypted one
//! unlocked once, with the passphrase asked for only when a server wants that very key (as `ssh`
//! does). Offers nothing to servers; `auth` does. Key material and passphrases are never logged.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use russh::keys::{Certificate, PrivateKey};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::session::auth::key_file::{self, KeyFile, Private};

/// How often a mistyped passphrase may be repeated (`NumberOfPasswordPrompts` of `ssh`).
const PROMPTS: usize = 3;
/// Requests to the agent at a time: a thousand nodes must not stampede it.
const AGENT_REQUESTS: usize = 8;

/// Asks a person for a passphrase; `None` means that none is given.
pub(crate) type Ask = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;
/// A private key ready to sign, or the sentence why there is none.
type Unlocked = Result<Arc<PrivateKey>, String>;
type Unlocking = Shared<BoxFuture<'static, Unlocked>>;

/// Private keys and certificates, shared by all nodes of a run.
pub(crate) struct KeyRing {
    /// `None` in batch mode.
    ask: Option<Ask>,
    keys: Mutex<HashMap<PathBuf, Arc<KeyFile>>>,
    certificates: Mutex<HashMap<PathBuf, Result<Arc<Certificate>, String>>>,
    unlocking: Mutex<HashMap<PathBuf, Unlocking>>,
    /// One question at a time on the terminal.
    asking: Arc<Mutex<()>>,
    /// Keys for which a question is open or waits for its turn.
    open_questions: Arc<AtomicUsize>,
    agent: Semaphore,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("asks", &self.ask.is_some()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Returns an empty ring. In batch mode `ask` is never called, and an encrypted key that no
    /// agent holds cannot be used. `ask` gets a prompt and may block as long as a person types.
    pub(crate) fn new(batch: bool, ask: Option<Ask>) -> Self {
        Self {
            ask: ask.filter(|_| !batch),
            keys: Mutex::default(),
            certificates: Mutex::default(),
            unlocking: Mutex::default(),
            asking: Arc::default(),
            open_questions: Arc::default(),
            agent: Semaphore::new(AGENT_REQUESTS),
        }
    }

    /// Returns what the file at `path` holds, reading it on the first call of the run.
    pub(super) async fn key_file(&self, path: &Path) -> Arc<KeyFile> {
        if let Some(known) = guard(&self.keys).get(path) {
            return known.clone();
        }
        let owned = path.to_owned();
        let read = tokio::task::spawn_blocking(move || key_file::read(&owned)).await;
        let read = read.unwrap_or_else(|e| KeyFile::broken(path, format!("reading it failed: {e}")));
        // Two nodes may have read at once; all go on with the first one's.
        guard(&self.keys).entry(path.to_owned()).or_insert_with(|| Arc::new(read)).clone()
    }

    /// Returns the user certificate in the file at `path`, reading it on the first call of the run.
    ///
    /// # Errors
    /// A sentence naming the file; an empty one if there is no such file.
    pub(super) async fn certificate(&self, path: &Path) -> Result<Arc<Certificate>, String> {
        if let Some(known) = guard(&self.certificates).get(path) {
            return known.clone();
        }
        let owned = path.to_owned();
        let read = tokio::task::spawn_blocking(move || key_file::read_certificate(&owned).map(Arc::new)).await;
        let read = read.unwrap_or_else(|e| Err(format!("certificate {}: reading it failed: {e}", path.display())));
        guard(&self.certificates).entry(path.to_owned()).or_insert(read).clone()
    }

    /// Returns the private key of a file, decrypted. The first caller makes the person be asked;
    /// all others of the run wait for that answer and share it, a refusal too.
    ///
    /// # Errors
    /// A sentence naming the key: no private key in it, encrypted and nobody to ask, wrong passphrase.
    ///
    /// # Cancel safety
    /// Safe: the question stays open and its answer is kept for the next caller.
    pub(super) async fn unlock(&self, key: &Arc<KeyFile>) -> Unlocked {
        match &key.private {
            Private::Plain(private) => Ok(private.clone()),
            Private::Encrypted(_) => {
                let unlocking = {
                    let mut all = guard(&self.unlocking);
                    all.entry(key.path.clone()).or_insert_with(|| self.start_unlocking(key)).clone()
                };
                unlocking.await
            }
            Private::Absent => Err(format!("key {}: there is only its public half", key.path.display())),
            Private::Unusable(problem) => Err(problem.clone()),
        }
    }

    fn start_unlocking(&self, key: &Arc<KeyFile>) -> Unlocking {
        let Some(ask) = self.ask.clone() else {
            let path = key.path.display();
            let text = format!("key {path} is encrypted, and nobody can be asked for its passphrase");
            return futures::future::ready(Err(text)).boxed().shared();
        };
        let (key, asking) = (key.clone(), self.asking.clone());
        let question = Question::open(&self.open_questions);
        let path = key.path.clone();
        // Runs to its end even if every node that waits gives up: the answer counts for the run.
        let task = tokio::task::spawn_blocking(move || {
            let _question = question;
            let _turn = guard(&asking);
            ask_and_decrypt(&key, &*ask)
        });
        task.map(move |done| done.unwrap_or_else(|e| Err(format!("key {}: unlocking failed: {e}", path.display()))))
            .boxed()
            .shared()
    }

    /// Returns whether a person is being asked for a passphrase: waiting is then nobody's fault.
    pub(super) fn is_asking(&self) -> bool {
        self.open_questions.load(Ordering::SeqCst) > 0
    }

    /// Waits for a turn with the agent; hold it for one request only, never across the network.
    pub(super) async fn agent_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed; were it, going on without a turn does no harm.
        self.agent.acquire().await.ok()
    }
}

/// Counts an open question, and no longer once dropped.
struct Question(Arc<AtomicUsize>);

impl Question {
    fn open(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn ask_and_decrypt(key: &KeyFile, ask: &(dyn Fn(&str) -> Option<SecretString> + Send + Sync)) -> Unlocked {
    let path = key.path.display();
    let Private::Encrypted(text) = &key.private else {
        return Err(format!("key {path} is not encrypted"));
    };
    let mut prompt = format!("Enter passphrase for key '{path}': ");
    for _ in 0..PROMPTS {
        let Some(passphrase) = ask(&prompt).filter(|p| !p.expose_secret().is_empty()) else {
            return Err(format!("key {path} is encrypted, and no passphrase was given"));
        };
        if let Some(private) = key_file::decrypt(text, passphrase.expose_secret()) {
            return Ok(Arc::new(private));
        }
        prompt = format!("Wrong passphrase. Enter passphrase for key '{path}': ");
    }
    Err(format!("key {path} is encrypted, and none of {PROMPTS} passphrases opened it"))
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
