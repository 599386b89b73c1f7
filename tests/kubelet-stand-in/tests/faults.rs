//! Each fault does what it says, begins and ends while the stand-in runs, and keeps to its path.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]
mod common;

use std::time::{Duration, Instant};

use common::{ALL, Kubelet, ask_on, client, recordings};
use tokio::net::TcpStream;

fn configz() -> Vec<u8> {
    std::fs::read(recordings().join("kubelet-1.36.2/configz.json")).unwrap()
}

#[tokio::test]
async fn slow_and_hung_keep_to_their_path() {
    let kubelet = Kubelet::start(&[]).await;
    kubelet.faults("slow 1 /metrics\nhung /configz\n");
    let started = Instant::now();
    assert!(kubelet.hangs("/configz").await);
    let reply = kubelet.get("/metrics").await;
    assert!(started.elapsed() >= Duration::from_millis(1500), "{:?}", started.elapsed());
    assert_eq!(reply.status, 200);
    assert_eq!(kubelet.get("/debug/pprof/goroutine?debug=2").await.status, 200);
    kubelet.faults("");
    assert_eq!(kubelet.get("/configz").await.status, 200);
    assert!(kubelet.requests().contains(r#""path":"/configz","user":null,"status":null"#), "{}", kubelet.requests());
}

#[tokio::test]
async fn bodies_end_as_the_fault_says() {
    let kubelet = Kubelet::start(&[]).await;
    kubelet.faults("cut 300\n");
    for target in ["/configz", "/statusz"] {
        let reply = kubelet.get(target).await; // without its length told before, and with it
        assert_eq!((reply.status, reply.whole, reply.body.len()), (200, false, 300), "{target}");
    }
    kubelet.faults("short 50\n");
    let reply = kubelet.get("/configz").await;
    assert!(!reply.whole);
    assert_eq!(reply.body, configz());
    assert_eq!(reply.header("content-length"), Some((configz().len() + 50).to_string().as_str()));
    kubelet.faults("endless /configz\n");
    let reply = kubelet.get("/configz").await;
    assert!(!reply.whole && reply.body.len() > 8 << 20);
    assert!(reply.body.starts_with(&[configz(), configz()].concat()));
}

#[tokio::test]
async fn statuses_are_those_of_a_kubelet() {
    let kubelet = Kubelet::start(&[]).await;
    kubelet.faults("401\n");
    let reply = kubelet.get("/configz").await;
    assert_eq!((reply.status, reply.text().as_str()), (401, "Unauthorized"));
    kubelet.faults("403\n");
    let reply = kubelet.get("/configz").await;
    let body = "Forbidden (user=all, verb=get, resource=nodes, subresource(s)=[configz proxy])\n";
    assert_eq!((reply.status, reply.text().as_str()), (403, body));
    assert_eq!(kubelet.ask("GET", "/configz", "wrong", b"").await.status, 401);
    kubelet.faults("404 /debug/pprof\n");
    let reply = kubelet.get("/debug/pprof/goroutine?debug=2").await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(kubelet.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn without_its_api_server_a_kubelet_refuses_tokens_late() {
    let kubelet = Kubelet::start_with_users(&format!("certificate\tadmin\t{ALL}\n"), &[]).await;
    kubelet.faults("cut-off 3\n");
    let started = Instant::now();
    let reply = kubelet.ask("GET", "/configz", "all", b"").await;
    assert_eq!((reply.status, reply.text().as_str()), (401, "Unauthorized"));
    assert!(started.elapsed() >= Duration::from_secs(3));
    let started = Instant::now();
    assert_eq!(kubelet.ask("GET", "/configz", "", b"").await.status, 401);
    assert!(started.elapsed() < Duration::from_secs(3), "without a credential nobody is asked");
    let identity = kubelet.ca.client("admin").unwrap();
    let mut stream = kubelet.connect(client(&kubelet.ca.certificate, Some(identity))).await.unwrap();
    let reply = ask_on(&mut stream, "GET", "/configz", "", b"", "").await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().starts_with("Authorization error (user=admin, verb=get"), "{}", reply.text());
    let mut stream = TcpStream::connect(&kubelet.plain).await.unwrap();
    assert_eq!(ask_on(&mut stream, "GET", "/healthz", "", b"", "").await.status, 200);
}

#[tokio::test]
async fn the_plain_port_has_the_faults_that_name_it() {
    let kubelet = Kubelet::start(&[]).await;
    let ask = async |patience| {
        let mut stream = TcpStream::connect(&kubelet.plain).await.unwrap();
        let reply = ask_on(&mut stream, "GET", "/healthz", "", b"", "");
        tokio::time::timeout(patience, reply).await.map(|reply| reply.status)
    };
    kubelet.faults("hung\n");
    assert_eq!(ask(Duration::from_secs(20)).await.ok(), Some(200));
    kubelet.faults("hung /healthz\n");
    assert!(ask(Duration::from_millis(500)).await.is_err());
}

#[tokio::test]
async fn sets_change_while_it_runs_and_mistakes_are_loud() {
    let kubelet = Kubelet::start(&[]).await;
    kubelet.faults("set kubelet-1.21.1-dockershim\nhttp2\n");
    let recorded = recordings().join("kubelet-1.21.1-dockershim/goroutine-debug2.txt");
    assert!(kubelet.get("/debug/pprof/goroutine?debug=2").await.body == std::fs::read(recorded).unwrap());
    let mut tls = kubelet.tls();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    assert_eq!(kubelet.connect(tls).await.unwrap().get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    for mistake in ["slower 5\n", "slow\n", "set nowhere\n", "variant nowhere\n", "cut x\n"] {
        kubelet.faults(mistake);
        let reply = kubelet.get("/configz").await;
        assert_eq!(reply.status, 501, "{mistake}");
        assert!(reply.text().starts_with("kubelet stand-in: "), "{}", reply.text());
    }
}
