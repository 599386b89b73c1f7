//! The API server: genuine bodies, who may do what, a fleet's nodes in pages, the node proxy, and faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]
mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::{ALL, Kubelet, Reply, ask_on, client};
use kubelet_stand_in::pki::{Ca, write};
use kubelet_stand_in::user::sha256;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const RIGHTS: &str =
    "get:nodes,list:nodes,list:events,get:nodes/proxy,update:nodes/proxy,get:/metrics,get:/debug/pprof/*";

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kube-apiserver")
}

fn recorded(file: &str) -> String {
    std::fs::read_to_string(recordings().join(file)).unwrap()
}

struct Server {
    _process: Child,
    directory: TempDir,
    address: String,
    ca: Ca,
}

impl Server {
    async fn start(ca: Ca, nodes: Option<&str>, flags: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = ca.serving(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let users = ["no-rights\t", "metrics-only\tget:/metrics", "steering-collector\tget:nodes"];
        let mut text = format!("sha256:{}\tall\t{RIGHTS}\ncertificate\tall\t{RIGHTS}\n", sha256(b"all"));
        for user in users {
            let token = user.split('\t').next().unwrap();
            text.push_str(&format!("sha256:{}\t{user}\n", sha256(token.as_bytes())));
        }
        let path = |name: &str| directory.path().join(name);
        for (name, text) in
            [("ca.crt", ca.certificate.as_str()), ("tls.crt", &certificate), ("tls.key", &key), ("users", &text)]
        {
            write(&path(name), text).unwrap();
        }
        let flag = |name: &str, file: &str| format!("--{name}={}", path(file).display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_kube-apiserver"));
        command.args(["--secure-port=0", &format!("--recordings={}", recordings().display())]).args([
            flag("tls-cert-file", "tls.crt"),
            flag("tls-private-key-file", "tls.key"),
            flag("client-ca-file", "ca.crt"),
            flag("users", "users"),
            flag("faults", "faults"),
            flag("events", "events"),
            flag("request-log", "requests"),
        ]);
        write(
            &path("events"),
            "{\"metadata\":{\"namespace\":\"default\"},\"reason\":\"Failed\",\"type\":\"Warning\"}\n",
        )
        .unwrap();
        if let Some(nodes) = nodes {
            write(&path("nodes"), nodes).unwrap();
            command.arg(flag("nodes", "nodes"));
        }
        let mut process = command.args(flags).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
        Self { _process: process, directory, address: line.trim().to_owned(), ca }
    }

    async fn plain() -> Self {
        Self::start(Ca::new().unwrap(), None, &[]).await
    }

    async fn ask(&self, method: &str, target: &str, token: &str) -> Reply {
        self.ask_with(client(&self.ca.certificate, None), method, target, token).await
    }

    async fn ask_with(
        &self,
        config: tokio_rustls::rustls::ClientConfig,
        method: &str,
        target: &str,
        token: &str,
    ) -> Reply {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        ask_on(&mut stream, method, target, token, b"", "").await
    }

    async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "all").await
    }

    async fn json(&self, target: &str) -> Value {
        let reply = self.get(target).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn faults(&self, text: &str) {
        write(&self.directory.path().join("faults"), text).unwrap();
    }
}

#[tokio::test]
async fn answers_are_those_that_were_recorded() {
    let server = Server::plain().await;
    for (target, token, status, file) in [
        ("/readyz?verbose", "all", 200, "readyz-verbose.txt"),
        ("/livez?verbose", "all", 200, "livez-verbose.txt"),
        ("/readyz", "", 200, "anon-readyz.txt"),
        ("/healthz", "no-rights", 200, "healthz.txt"),
        ("/version", "all", 200, "version.json"),
        ("/metrics", "all", 200, "metrics-excerpt.txt"),
        ("/metrics", "metrics-only", 200, "metrics-excerpt.txt"),
        ("/debug/pprof/goroutine?debug=1", "all", 200, "goroutine-debug1.txt"),
        ("/debug/pprof/goroutine?debug=2", "all", 200, "goroutine-debug2-first.txt"),
        ("/api/v1/nodes/vm", "all", 200, "node.json"),
        ("/api/v1/nodes", "all", 200, "nodes.json"),
        ("/api/v1/nodes/vm/proxy/healthz", "all", 400, "node-proxy-healthz.txt"),
        ("/metrics", "", 403, "401-no-token.json"),
        ("/metrics", "wrong", 401, "401-wrong.json"),
        ("/readyz", "wrong", 401, "401-wrong.json"),
        ("/metrics", "no-rights", 403, "403-metrics.json"),
        ("/debug/pprof/goroutine?debug=1", "no-rights", 403, "403-pprof.json"),
        ("/api/v1/nodes/vm", "no-rights", 403, "403-node.json"),
        ("/api/v1/nodes/vm/proxy/metrics", "metrics-only", 403, "403-node-proxy-metrics.json"),
    ] {
        let reply = server.ask("GET", target, token).await;
        assert_eq!((reply.status, reply.text()), (status, recorded(file)), "{target} by '{token}'");
        let head = std::fs::read_to_string(recordings().join(format!("{file}.headers"))).unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
        assert_eq!(reply.header("content-type"), Some(kind), "{file}");
    }
    let reply = server.ask("PUT", "/debug/flags/v", "steering-collector").await;
    assert!(
        reply.text().contains(r#"User \"steering-collector\" cannot put path \"/debug/flags/v\""#),
        "{}",
        reply.text()
    );
    let reply = server.ask("GET", "/api/v1/nodes", "no-rights").await;
    assert!(reply.text().contains(r#"nodes is forbidden: User \"no-rights\" cannot list resource \"nodes\""#));
    assert_eq!(server.get("/api/v1/pods").await.status, 501);
    assert_eq!(server.get("/api/v1/nodes/other").await.status, 404);
}

#[tokio::test]
async fn a_client_certificate_counts_when_its_ca_does() {
    let server = Server::plain().await;
    let with = |ca: &Ca, user: &str| client(&server.ca.certificate, Some(ca.client(user).unwrap()));
    assert_eq!(server.ask_with(with(&server.ca, "all"), "GET", "/api/v1/nodes/vm", "").await.status, 200);
    let stranger = server.ask_with(with(&server.ca, "somebody"), "GET", "/api/v1/nodes/vm", "").await;
    assert!(stranger.text().contains(r#"User \"somebody\" cannot get"#), "{}", stranger.text());
    let other = Ca::new().unwrap();
    assert_eq!(server.ask_with(with(&other, "all"), "GET", "/api/v1/nodes/vm", "").await.status, 401);
}

const FLEET: &str =
    "a\t10.0.0.1\tTrue\tpool=x\nb\t10.0.0.2\tFalse\tpool=y,node.kubernetes.io/instance-group=w\nc\t10.0.0.3\tUnknown\n";

#[tokio::test]
async fn nodes_are_recast_and_come_in_pages() {
    let server = Server::start(Ca::new().unwrap(), Some(FLEET), &[]).await;
    let mut names = Vec::new();
    let mut target = "/api/v1/nodes?limit=2".to_owned();
    loop {
        let list = server.json(&target).await;
        names.extend(
            list["items"].as_array().unwrap().iter().map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        let Some(token) = list["metadata"]["continue"].as_str() else { break };
        assert_eq!(list["metadata"]["remainingItemCount"], 1);
        let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        target = format!("/api/v1/nodes?limit=2&continue={token}");
    }
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(server.get("/api/v1/nodes?limit=2&continue=other").await.status, 400);
    let ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap();
        format!("{} {}", ready["status"].as_str().unwrap(), ready["reason"].as_str().unwrap())
    };
    for (name, address, want) in [
        ("a", "10.0.0.1", "True KubeletReady"),
        ("b", "10.0.0.2", "False KubeletNotReady"),
        ("c", "10.0.0.3", "Unknown NodeStatusUnknown"),
    ] {
        let node = server.json(&format!("/api/v1/nodes/{name}")).await;
        assert_eq!(node["status"]["addresses"][0]["address"], address);
        assert_eq!(ready(&node), want);
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.2");
    }
    let b = server.json("/api/v1/nodes/b").await;
    assert_eq!(b["metadata"]["labels"]["node.kubernetes.io/instance-group"], "w");
    assert_eq!(server.get("/api/v1/nodes/vm").await.status, 404);
}

#[tokio::test]
async fn events_are_selected_by_their_fields() {
    let server = Server::start(Ca::new().unwrap(), Some(FLEET), &[]).await;
    for (selector, count) in [
        ("", 3),
        ("involvedObject.kind=Node", 2),
        ("involvedObject.kind=Node,involvedObject.name=b", 1),
        ("reason%3DFailed", 1),
        ("reason!=Failed", 2),
        ("type%3D%3DWarning", 1),
    ] {
        let list = server.json(&format!("/api/v1/events?fieldSelector={selector}")).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{selector}");
    }
    assert_eq!(server.get("/api/v1/events?fieldSelector=what=1").await.status, 400);
    assert_eq!(server.json("/api/v1/namespaces/other/events").await["items"], serde_json::json!([]));
}

#[tokio::test]
async fn the_node_proxy_passes_on_to_the_kubelet() {
    let kubelet = Kubelet::start_with_users(&format!("certificate\tall\t{ALL}\n"), &[]).await;
    let port = kubelet.address.rsplit(':').next().unwrap().to_owned();
    let path = |name: &str| kubelet.directory.path().join(name).display().to_string();
    let (certificate, key) = kubelet.ca.client("all").unwrap();
    write(Path::new(&path("client.crt")), &certificate).unwrap();
    write(Path::new(&path("client.key")), &key).unwrap();
    let mut flags = vec![
        format!("--kubelet-certificate-authority={}", path("ca.crt")),
        format!("--kubelet-client-certificate={}", path("client.crt")),
        format!("--kubelet-client-key={}", path("client.key")),
    ];
    let nodes = "here\t127.0.0.1\tTrue\n";
    let refusing = Server::start(Ca::new().unwrap(), Some(nodes), &flags).await;
    let target = format!("/api/v1/nodes/here:{port}/proxy/debug/pprof/goroutine?debug=2");
    let reply = refusing.get(&target).await;
    assert_eq!((reply.status, reply.text()), (400, recorded("node-proxy-healthz.txt")));
    flags.push("--proxy-to-loopback=true".to_owned());
    let server = Server::start(Ca::new().unwrap(), Some(nodes), &flags).await;
    let reply = server.get(&target).await;
    let body = std::fs::read(common::recordings().join("kubelet-1.36.2/goroutine-debug2.txt")).unwrap();
    assert!(reply.status == 200 && reply.body == body, "{}", reply.status);
    assert_eq!(server.ask("GET", &target, "no-rights").await.status, 403);
    let reply = server.get("/api/v1/nodes/here:1/proxy/healthz").await;
    assert!(reply.status == 503 && reply.text().contains("refused"), "{}", reply.text());
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let server = Server::plain().await;
    server.faults("429\n");
    let reply = server.get("/metrics").await;
    assert_eq!(
        (reply.status, reply.header("retry-after"), reply.text()),
        (429, Some("1"), recorded("429-too-many-requests.txt"))
    );
    server.faults("401 /api\n403 /metrics\n404 /version\n");
    for (target, status) in [("/api/v1/nodes", 401), ("/metrics", 403), ("/version", 404), ("/readyz", 200)] {
        assert_eq!(server.get(target).await.status, status, "{target}");
    }
    server.faults("cut 300 /metrics\nendless /version\nhung /livez\n");
    let reply = server.get("/metrics").await;
    assert!(!reply.whole && reply.body.len() == 300);
    assert!(server.get("/version").await.body.len() > 8 << 20);
    assert!(tokio::time::timeout(Duration::from_millis(500), server.get("/livez")).await.is_err());
    server.faults("silent\n");
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let said = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut [0; 1])).await;
    assert!(said.is_err(), "{said:?}");
    server.faults("");
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn it_speaks_http2_and_logs_no_token() {
    let server = Server::plain().await;
    let mut config = client(&server.ca.certificate, None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    server.ask("GET", "/version", "very-secret").await;
    let log = std::fs::read_to_string(server.directory.path().join("requests")).unwrap();
    assert!(log.contains(r#""path":"/version","user":null,"status":401"#) && !log.contains("secret"), "{log}");
}
