//! Kubelets of real nodes asked over real SSH, each in a way it goes wrong: the outcome, the sentence, the time it takes, and
//! that nothing on the node shows the token. Uses worker-006.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use plegcollect::credential::{Credential, CredentialError, TokenSource};
use plegcollect::evidence::Outcome::{self, Absent, Complete, Failed, TimedOut};
use plegcollect::inventory::target::Sudo;
use plegcollect::kubelet::{GetEnd, Kubelet, KubeletAccess, KubeletTrust, Pins, Receiver, Via, WayTaken};
use plegcollect::plan::facts::NodeFacts;
use plegcollect::plan::{Bounds, Encoding, KubeletGet, KubeletPort};
use plegcollect::session::{Connector, ConnectorOptions, Session, Sink, StdStream, command};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::refusals::target;
use crate::support::{Fault, fleet, on_node};

const NODE: &str = "worker-006";
/// Other groups of tests run on the same machine. Less than any bound of a request here.
const BUSY: Duration = Duration::from_secs(5);

struct Fixed(String);

impl TokenSource for Fixed {
    fn token(&self, _: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        async { Ok(Some(SecretString::from(self.0.clone()))) }.boxed()
    }
    fn renewable(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct Kept(Vec<u8>);

impl Receiver for Kept {
    fn begin(&mut self, _: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
        async move { Some(self as &mut dyn Sink) }.boxed()
    }
}

impl Sink for Kept {
    fn write<'a>(&'a mut self, _: StdStream, chunk: bytes::Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.0.extend_from_slice(&chunk);
        let full = self.0.len() > 4 << 20;
        async move { if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) } }.boxed()
    }
}

fn token() -> String {
    let path = fleet(&["path", "kubelet-token", "node-diagnostics"]);
    std::fs::read_to_string(path.trim()).map_or_else(|_| path.trim().to_owned(), |text| text.trim().to_owned())
}

fn access(trust: KubeletTrust, via: Via) -> KubeletAccess {
    let credential = Credential::new("token from a test", Some(Box::new(Fixed(token()))), None, Arc::new(|_| {}));
    KubeletAccess { credential: Some(credential), trust, via, ..KubeletAccess::none() }
}

fn ca() -> KubeletTrust {
    let file = fleet(&["path", "kubelet-ca"]).trim().to_owned();
    KubeletTrust::Ca { pem: Arc::new(std::fs::read(&file).unwrap()), file: "ca.crt".to_owned() }
}

/// What was asked, and what became of it.
struct Talk {
    session: Session,
    kubelet: Kubelet,
}

impl Talk {
    async fn begin(access: &KubeletAccess) -> Self {
        let cancel = CancellationToken::new();
        let target = target(NODE);
        let connector = Connector::new(ConnectorOptions::default());
        let session = connector.connect(&target, &cancel, &mut |_, _, _| {}).await.unwrap();
        let shell = command::probe(&session, Sudo::Auto, None, &cancel).await.unwrap();
        let facts = NodeFacts { hostname: NODE.to_owned(), shell: shell.facts, ..NodeFacts::default() };
        Self { kubelet: Kubelet::new(access, &target, &facts), session }
    }

    async fn ask(&self, port: KubeletPort, path: &str, seconds: u64) -> (GetEnd, Vec<u8>, Duration) {
        let bounds = Bounds { timeout: Duration::from_secs(seconds), grace: Duration::ZERO, max_bytes: u64::MAX };
        let get = KubeletGet { port, path: path.to_owned(), bounds, gzip: false };
        let mut kept = Kept::default();
        let begun = Instant::now();
        let end = self.kubelet.get(&self.session, &get, &mut kept, &CancellationToken::new()).await;
        let took = begun.elapsed();
        eprintln!(
            "  {} {:?} {:.1}s {} B: {}",
            end.command,
            end.outcome,
            took.as_secs_f64(),
            kept.0.len(),
            end.detail.as_deref().unwrap_or("-")
        );
        (end, kept.0, took)
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A fault, what is asked one after the other, and for each outcome, words of its sentence, and the seconds it may take.
type Row = (&'static [&'static str], &'static [(&'static str, Outcome, &'static str, u64)]);

const AGAIN: &str = "not asked again: ";

const ROWS: &[Row] = &[
    (&[], &[("/configz", Complete, "", 3), ("/metrics", Complete, "", 3)]),
    (&["kubelet-401"], &[("/configz", Failed, "401 from the kubelet after", 3), ("/pods", Failed, AGAIN, 1)]),
    (
        &["kubelet-403"],
        &[("/configz", Failed, "nodes/configz, nodes/proxy", 3), ("/metrics", Failed, "get nodes/metrics", 3)],
    ),
    (
        &["kubelet-404"],
        &[
            ("/debug/pprof/goroutine?debug=2", Absent, "this kubelet has no /debug/pprof", 3),
            ("/configz", Complete, "", 3),
        ],
    ),
    (
        &["kubelet-variant", "debugging-handlers-off"],
        &[
            ("/debug/pprof/goroutine?debug=2", Absent, "enableDebuggingHandlers: false", 3),
            ("/configz", Absent, "switches it off", 3),
        ],
    ),
    (
        &["kubelet-variant", "profiling-and-flags-off"],
        &[("/debug/pprof/goroutine?debug=2", Absent, "enableProfilingHandler: false", 3)],
    ),
    (&["kubelet-slow", "15", "/configz"], &[("/configz", Complete, "", 20), ("/pods", Complete, "", 3)]),
    (
        &["kubelet-hung", "/pods"],
        &[
            ("/configz", Complete, "", 3),
            ("/pods", TimedOut, "did not answer within 10s", 12),
            ("/healthz", Complete, "", 3),
        ],
    ),
    (&["kubelet-cut", "100"], &[("/configz", Failed, "ended the answer after 100 B", 3)]),
    (&["kubelet-short"], &[("/configz", Failed, "before its end; what came is kept", 3)]),
    (&["kubelet-endless", "/configz"], &[("/configz", Complete, "", 30)]),
    (
        &["kubelet-cut-off", "12"],
        &[("/configz", Failed, "401 from the kubelet after 12s", 16), ("/pods", Failed, AGAIN, 1)],
    ),
    (
        &["kubelet-self-signed"],
        &[("/configz", Failed, "the kubelet is not trusted (ca ca.crt)", 3), ("/pods", Failed, AGAIN, 1)],
    ),
    (&["kubelet-down"], &[("/configz", Failed, "nothing listens at 127.0.0.1:10250", 3), ("/pods", Failed, AGAIN, 1)]),
    (
        &["kubelet-frozen"],
        &[("/configz", TimedOut, "takes connections and does not answer them", 12), ("/pods", TimedOut, AGAIN, 1)],
    ),
    (
        &["kubelet-metrics-hang", "14"],
        &[
            ("/configz", Complete, "", 3),
            ("/metrics", TimedOut, "did not answer within 10s", 12),
            ("/pods", Complete, "", 3),
        ],
    ),
    (&["kubelet-http2"], &[("/configz", Complete, "", 3)]),
];

fn all(via: Via, way: WayTaken) {
    for (fault, asked) in ROWS {
        let _fault = (!fault.is_empty()).then(|| Fault::new(NODE, fault));
        let _forbidden = (via == Via::Auto).then(|| Fault::new(NODE, &["no-forwarding"]));
        eprintln!("{fault:?}");
        run(async {
            let talk = Talk::begin(&access(ca(), via)).await;
            for (path, outcome, words, seconds) in *asked {
                let (end, _, took) = talk.ask(KubeletPort::Api, path, 10).await;
                let detail = end.detail.clone().unwrap_or_default();
                assert!(end.outcome == *outcome && detail.contains(words), "{end:?}");
                // curl is started, and looks at the certificate first.
                let more = if via == Via::Auto { 4 } else { 0 };
                assert!(took < Duration::from_secs(seconds + more) + BUSY, "{took:?}: {end:?}");
                assert!(!detail.contains(&token()));
            }
            let record = talk.kubelet.record();
            assert!(record.way.is_none_or(|taken| taken == way), "{record:?}");
            eprintln!("  {record:?}");
        });
    }
}

#[test]
#[ignore = "needs the fleet"]
fn every_fault_has_its_sentence_through_the_connection() {
    all(Via::Forward, WayTaken::Forward);
}

#[test]
#[ignore = "needs the fleet"]
fn every_fault_has_its_sentence_where_forwarding_is_forbidden() {
    all(Via::Auto, WayTaken::Curl);
}

#[test]
#[ignore = "needs the fleet"]
fn the_health_port_needs_neither_credential_nor_forwarding() {
    for forbidden in [false, true] {
        let _fault = forbidden.then(|| Fault::new(NODE, &["no-forwarding"]));
        run(async {
            let talk = Talk::begin(&KubeletAccess::none()).await;
            let (end, body, _) = talk.ask(KubeletPort::Healthz, "/healthz", 5).await;
            assert_eq!((end.outcome, body.as_slice()), (Outcome::Complete, &b"ok"[..]));
        });
    }
    let _down = Fault::new(NODE, &["kubelet-down"]);
    run(async {
        let talk = Talk::begin(&KubeletAccess::none()).await;
        let (end, ..) = talk.ask(KubeletPort::Healthz, "/healthz", 5).await;
        assert!(end.outcome == Outcome::Failed && end.detail.unwrap().contains("10248"));
    });
}

#[test]
#[ignore = "needs the fleet"]
fn without_forwarding_and_curl_all_reasons_are_told() {
    let _forbidden = Fault::new(NODE, &["no-forwarding"]);
    let _missing = Fault::new(NODE, &["no-tool", "curl"]);
    run(async {
        let talk = Talk::begin(&access(ca(), Via::Auto)).await;
        let (end, ..) = talk.ask(KubeletPort::Api, "/configz", 10).await;
        let detail = end.detail.unwrap();
        for words in ["forward: ", "curl: there is no curl on the node", "api-server: no API server is given"] {
            assert!(detail.contains(words), "{detail}");
        }
        talk.ask(KubeletPort::Healthz, "/healthz", 5).await;
    });
}

#[test]
#[ignore = "needs the fleet"]
fn a_key_seen_first_is_held_on_to() {
    let dir = tempfile::tempdir().unwrap();
    let pins = Arc::new(Pins::new(dir.path().join("kubelet-keys")));
    {
        let _fault = Fault::new(NODE, &["kubelet-self-signed"]);
        run(async {
            for trust in ["pin (recorded now)", "pin (seen before"] {
                let talk = Talk::begin(&access(KubeletTrust::Pins(Arc::clone(&pins)), Via::Forward)).await;
                assert_eq!(talk.ask(KubeletPort::Api, "/configz", 10).await.0.outcome, Outcome::Complete);
                assert!(talk.kubelet.record().trust.starts_with(trust), "{:?}", talk.kubelet.record());
            }
        });
    }
    for forbidden in [false, true] {
        let _fault = forbidden.then(|| Fault::new(NODE, &["no-forwarding"]));
        run(async {
            let talk = Talk::begin(&access(KubeletTrust::Pins(Arc::clone(&pins)), Via::Auto)).await;
            let (end, ..) = talk.ask(KubeletPort::Api, "/configz", 10).await;
            assert!(end.detail.unwrap().contains(&format!("remove the line of {NODE}")));
            talk.ask(KubeletPort::Api, "/pods", 10).await;
        });
    }
}

#[test]
#[ignore = "needs the fleet"]
fn nothing_on_the_node_shows_the_token_while_curl_runs() {
    let _slow = Fault::new(NODE, &["kubelet-slow", "6", "/configz"]);
    let _forbidden = Fault::new(NODE, &["no-forwarding"]);
    let token = token();
    let (start, last) = token.split_at(token.len() - 1);
    let start = start.to_owned();
    // In this form the look does not find itself.
    let pattern = format!("{}[{last}]", start.replace('.', "[.]"));
    let done = Arc::new(AtomicBool::new(false));
    let looking = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let (mut looks, mut curls) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                let script = format!(
                    "i=0; while [ $i -lt 20 ]; do i=$((i+1)); grep -lazs -e '{pattern}' /proc/[0-9]*/cmdline \
                     /proc/[0-9]*/environ && exit 9; grep -lazs -e '^--pinnedpub[k]ey' /proc/[0-9]*/cmdline; sleep 0.01; \
                     done; find /tmp /run /var/tmp /root /dev/shm -xdev -type f -newer /proc/1 -size -1000k -exec grep -laFs -e \
                     '{start}' {{}} + | sed 's/^/FILE /'; true"
                );
                let out = on_node(NODE, &script);
                assert!(!out.contains("FILE "), "{out}");
                looks += 20;
                curls += out.lines().count();
            }
            (looks, curls)
        })
    };
    run(async {
        let talk = Talk::begin(&access(ca(), Via::Auto)).await;
        assert_eq!(talk.ask(KubeletPort::Api, "/configz", 20).await.0.outcome, Outcome::Complete);
        assert_eq!(talk.kubelet.record().way, Some(WayTaken::Curl));
    });
    done.store(true, Ordering::Relaxed);
    let (looks, curls) = looking.join().expect("the token was seen");
    eprintln!("{looks} looks, {curls} times curl was seen");
    assert!(curls > 20);
}
