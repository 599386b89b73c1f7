//! Single requests: statuses, bodies that go wrong, pages, the node proxy.

use std::time::{Duration, Instant};

use plegcollect::cluster::{ApiBounds, ClusterNode};
use plegcollect::evidence::Outcome;
use tokio_util::sync::CancellationToken;

use crate::server::{ApiServer, Ca, Reply, fixture, say};
use crate::sinks::Collect;
use crate::{BOUNDS, TOKEN, by_address, file, open};

const NAMES: &[&str] = &["127.0.0.1"];

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_outcome_with_the_reason_of_the_status_object() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| say(asked.path.trim_start_matches('/'))).await;
    let (cluster, told) = open(&by_address(dir.path(), &ca, &[&server]));
    let cancel = CancellationToken::new();
    for (file, outcome, status, says) in [
        ("metrics-excerpt.txt", Outcome::Complete, 200, ""),
        (
            "401-wrong.json",
            Outcome::Failed,
            401,
            "HTTP 401 (Unauthorized): the API server does not accept the credential (token from a file)",
        ),
        ("403-metrics.json", Outcome::Failed, 403, "User \"no-rights\" cannot get path \"/metrics\""),
        ("403-node.json", Outcome::Failed, 403, "cannot get resource \"nodes\" in API group \"\""),
        ("429-too-many-requests.txt", Outcome::Failed, 429, "Too many requests, please try again later."),
    ] {
        let mut sink = Collect::default();
        let end = cluster.get(0, &format!("/{file}"), BOUNDS, &mut sink, &cancel).await;
        assert_eq!((end.outcome, end.status), (outcome, Some(status)), "{end:?}");
        let detail = end.detail.unwrap_or_default();
        assert!(detail.contains(says) && detail.is_empty() == says.is_empty(), "{detail}");
        let want = if status == 200 { fixture(file) } else { Vec::new() };
        assert!(sink.out == want, "{file}: the body is passed on as it is, that of a refusal is not");
    }
    assert_eq!(told.all()[0], TOKEN, "the redactor is told before the first request");
    assert!(server.asked().iter().all(|asked| asked.authorization == format!("Bearer {TOKEN}")));
    let shown = format!("{cluster:?}");
    assert!(!shown.contains(TOKEN) && shown.contains(&server.url()), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_is_kept_although_the_status_is_500() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let body = b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
    let server = ApiServer::start(&ca, NAMES, |_| Reply::Say(500, body.to_vec())).await;
    let (cluster, _) = open(&by_address(dir.path(), &ca, &[&server]));
    let mut sink = Collect::default();
    let end = cluster.get(0, "/readyz?verbose", BOUNDS, &mut sink, &CancellationToken::new()).await;
    assert_eq!(end.detail.unwrap(), "HTTP 500: [-]etcd failed: reason withheld");
    assert_eq!(sink.out, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_go_wrong_keep_what_came() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| match asked.path.as_str() {
        "/cut" => Reply::Cut(b"half".to_vec()),
        "/endless" => Reply::Endless,
        _ => Reply::Hang,
    })
    .await;
    let (cluster, _) = open(&by_address(dir.path(), &ca, &[&server]));
    let cancel = CancellationToken::new();
    let short = ApiBounds { within: Duration::from_millis(700), ..BOUNDS };
    for (path, bounds, outcome, bytes, says) in [
        ("/cut", BOUNDS, Outcome::Failed, 4, "closed the connection in the middle"),
        ("/endless", BOUNDS, Outcome::Truncated, 1 << 20, "more than 1 MB"),
        ("/hung", short, Outcome::TimedOut, 0, "did not answer within 700ms"),
    ] {
        let mut sink = Collect::default();
        let end = cluster.get(0, path, bounds, &mut sink, &cancel).await;
        assert_eq!((end.outcome, sink.out.len()), (outcome, bytes), "{path}: {end:?}");
        assert!(end.detail.as_ref().unwrap().contains(says), "{end:?}");
        assert_eq!(end.is_silent(), path == "/hung");
    }
    let end = async {
        let mut sink = Collect::default();
        cluster.get(0, "/hung", BOUNDS, &mut sink, &cancel).await
    };
    let stopping = async { cancel.cancel() };
    let (end, ()) = tokio::join!(end, stopping);
    assert_eq!(end.outcome, Outcome::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_hung_or_of_another_authority_says_so_soon() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let hung = ApiServer::start(&ca, NAMES, |_| Reply::Hang).await;
    let strange = ApiServer::start(&Ca::new(), NAMES, |_| say("version.json")).await;
    let misnamed = ApiServer::start(&ca, &["kubernetes.example"], |_| say("version.json")).await;
    let unauthorized = ApiServer::start(&ca, NAMES, |_| say("401-wrong.json")).await;
    let refusing = ApiServer::start(&ca, NAMES, |_| Reply::Hang).await;
    let mut settings = by_address(dir.path(), &ca, &[&hung, &strange, &misnamed, &unauthorized, &refusing]);
    // A listener nobody accepts from: the handshake gets no answer.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.api_servers.push(format!("https://{}", silent.local_addr().unwrap()));
    let url = refusing.url();
    drop(refusing);
    let (cluster, _) = open(&settings);
    let cancel = CancellationToken::new();
    let clock = Instant::now();
    let asked = futures::future::join_all((0..6).map(|i| cluster.version(i, &cancel))).await;
    let took = clock.elapsed();
    let says: Vec<String> = asked.into_iter().map(|end| end.unwrap_err().why()).collect();
    for (said, want) in says.iter().zip([
        "did not answer within 5s",
        "not signed by the authority we were given",
        "set `server-name`",
        "HTTP 401 (Unauthorized)",
        "refused",
        "no connection within 4 s",
    ]) {
        assert!(said.contains(want) && !said.contains(TOKEN), "{said:?} is to say {want:?} ({url})");
    }
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_the_certificate_can_be_given() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, &["kubernetes.example"], |_| say("version.json")).await;
    let mut settings = by_address(dir.path(), &ca, &[&server]);
    settings.server_name = Some("kubernetes.example".to_owned());
    let (cluster, _) = open(&settings);
    assert_eq!(cluster.version(0, &CancellationToken::new()).await.unwrap(), fixture("version.json"));
}

/// Two pages, the second asked for by what the first says.
fn paged(path: &str) -> Reply {
    let node = |name: &str, ip: &str, ready: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"pool":"a"}}}},
              "status":{{"addresses":[{{"type":"InternalIP","address":"{ip}"}},{{"type":"Hostname","address":"{name}.example"}}],
              "conditions":[{{"type":"Ready","status":"{ready}","reason":"KubeletNotReady"}}]}}}}"#
        )
    };
    let list = |more: &str, items: &[String]| {
        let text = format!(
            r#"{{"kind":"NodeList","apiVersion":"v1","metadata":{{"continue":"{more}"}},"items":[{}]}}"#,
            items.join(",")
        );
        Reply::Say(200, text.into_bytes())
    };
    match path {
        "/version" => say("version.json"),
        "/api/v1/nodes?limit=500" => list("a+/=", &[node("n1", "10.0.0.1", "True"), node("n2", "10.0.0.2", "False")]),
        "/api/v1/nodes?limit=500&continue=a%2B%2F%3D" => list("", &[node("n3", "10.0.0.3", "Unknown")]),
        _ => Reply::Say(
            410,
            b"{\"kind\":\"Status\",\"message\":\"The provided continue parameter is too old\",\"reason\":\"Expired\"}"
                .to_vec(),
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_page_by_page_and_kept_one_object_a_line() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| paged(&asked.path)).await;
    let (cluster, _) = open(&by_address(dir.path(), &ca, &[&server]));
    let nodes = cluster.nodes().await.unwrap();
    assert_eq!(nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    let second = &nodes[1];
    assert_eq!((second.ready.as_str(), second.reason.as_str()), ("False", "KubeletNotReady"));
    assert_eq!(second.labels["pool"], "a");
    assert!(second.is("n2", None) && second.is("n2.example", None) && second.is("other", Some("10.0.0.2")));
    assert!(!second.is("other", Some("10.0.0.1")) && !second.is("10.0.0.2", None));

    let mut sink = Collect::default();
    let keep = |node: &ClusterNode| node.ready != "True";
    let paths = ["/api/v1/nodes".to_owned()];
    let cancel = CancellationToken::new();
    let end = cluster.list(0, &paths, BOUNDS, &keep, &mut sink, &cancel).await;
    assert_eq!((end.outcome, end.detail), (Outcome::Complete, None));
    let text = String::from_utf8(sink.out).unwrap();
    let names: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["metadata"]["name"].to_string())
        .collect();
    assert_eq!(names, ["\"n2\"", "\"n3\""]);

    let end = cluster.list(0, &["/api/v1/events".to_owned()], BOUNDS, &keep, &mut Collect::default(), &cancel).await;
    assert_eq!(end.detail.unwrap(), "HTTP 410 (Expired): The provided continue parameter is too old");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_answers_are_understood() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| match asked.path.as_str() {
        "/version" => say("version.json"),
        "/api/v1/nodes?limit=500" => say("nodes.json"),
        "/api/v1/nodes/vm" => say("node.json"),
        _ => Reply::Say(
            404,
            b"{\"kind\":\"Status\",\"message\":\"nodes \\\"x\\\" not found\",\"reason\":\"NotFound\"}".to_vec(),
        ),
    })
    .await;
    let (cluster, _) = open(&by_address(dir.path(), &ca, &[&server]));
    let nodes = cluster.nodes().await.unwrap();
    assert!(
        nodes.iter().any(|node| node.name == "vm" && !node.internal_ips.is_empty() && node.ready == "True"),
        "{nodes:?}"
    );
    let mut sink = Collect::default();
    let paths = ["/api/v1/nodes/vm", "/api/v1/nodes/x"].map(str::to_owned);
    let end = cluster.list(0, &paths, BOUNDS, &|_| true, &mut sink, &CancellationToken::new()).await;
    assert_eq!(
        (end.outcome, end.detail.unwrap()),
        (Outcome::Complete, "HTTP 404 (NotFound): nodes \"x\" not found".to_owned())
    );
    let line = String::from_utf8(sink.out).unwrap();
    assert_eq!(line.lines().count(), 1);
    let (got, want): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&line).unwrap(), serde_json::from_slice(&fixture("node.json")).unwrap());
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_from_the_first_server_that_answers() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let refusing = ApiServer::start(&ca, NAMES, |_| say("401-wrong.json")).await;
    let well = ApiServer::start(&ca, NAMES, |asked| paged(&asked.path)).await;
    let settings = by_address(dir.path(), &ca, &[&refusing, &well]);
    assert_eq!(open(&settings).0.nodes().await.unwrap().len(), 3);

    let alone = open(&by_address(dir.path(), &ca, &[&refusing])).0;
    let error = alone.nodes().await.unwrap_err();
    assert!(!error.setup && error.text.contains(&refusing.url()) && error.text.contains("HTTP 401"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_asked_for_once_more() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("count");
    let script = format!(
        "n=$(cat {path} 2>/dev/null || echo 0); n=$((n+1)); echo $n >{path}; echo tok-number-$n-of-this-test",
        path = path.display()
    );
    let server = ApiServer::start(&ca, NAMES, |asked| match asked.authorization.as_str() {
        "Bearer tok-number-2-of-this-test" => say("version.json"),
        _ => say("401-wrong.json"),
    })
    .await;
    let mut settings = by_address(dir.path(), &ca, &[&server]);
    settings.token = Some(plegcollect::inventory::access::TokenFrom::Command(script));
    let (cluster, told) = open(&settings);
    // The first token is fresh; the source is asked for another some seconds later at the earliest.
    let renewed = async {
        while cluster.version(0, &CancellationToken::new()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(crate::sinks::LONG, renewed).await.unwrap();
    assert_eq!(told.all(), ["tok-number-1-of-this-test", "tok-number-2-of-this-test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_proxy_passes_on_what_the_kubelet_says() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/api/v1/nodes/n1/proxy/configz") => Reply::Say(200, b"{}".to_vec()),
        ("GET", "/api/v1/nodes/n1/proxy/debug/pprof/goroutine?debug=1") => Reply::Cut(b"goroutine".to_vec()),
        ("GET", "/api/v1/nodes/n1/proxy/healthz") => Reply::Say(400, fixture("node-proxy-healthz.txt")),
        ("PUT", "/api/v1/nodes/n1/proxy/debug/flags/v") if asked.body == "4" => Reply::Say(200, b"set".to_vec()),
        ("GET", "/api/v1/nodes/n1/proxy/metrics") => say("403-node-proxy-metrics.json"),
        _ => Reply::Hang,
    })
    .await;
    let (cluster, _) = open(&by_address(dir.path(), &ca, &[&server]));
    let (proxy, cancel, within) = (cluster.node_proxy(), CancellationToken::new(), Duration::from_secs(5));
    for (path, status, sunk, whole, says) in [
        ("/configz", 200, "{}", true, ""),
        ("/debug/pprof/goroutine?debug=1", 200, "goroutine", false, ""),
        ("/healthz", 400, "", true, "address not allowed"),
        ("/metrics", 403, "", true, "cannot get resource"),
    ] {
        let mut sink = Collect::default();
        let answer = proxy.get("n1", path, within, &mut sink, &cancel).await.unwrap();
        assert_eq!((answer.status, answer.whole, &*sink.out), (status, whole, sunk.as_bytes()), "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains(says), "{path}");
    }
    let answer = proxy.put("n1", "/debug/flags/v", "4", within).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"set"[..]));
    let late = proxy.put("n1", "/nothing", "4", Duration::from_millis(300)).await.unwrap_err();
    assert!(late.contains("gave no answer within 300ms"), "{late}");
    let gone = ApiServer::start(&ca, NAMES, |_| Reply::Hang).await;
    let settings = by_address(dir.path(), &ca, &[&gone, &server]);
    drop(gone);
    let both = open(&settings).0.node_proxy();
    let answer = both.get("n1", "/configz", within, &mut Collect::default(), &cancel).await.unwrap();
    assert_eq!(answer.status, 200, "reading goes on at the next server");
    let error = both.put("n1", "/debug/flags/v", "4", within).await.unwrap_err();
    assert!(error.contains("refused"), "{error}");
    for bad in ["", "../x", "n1/proxy", "N1"] {
        assert!(proxy.put(bad, "/debug/flags/v", "4", within).await.unwrap_err().contains("is no name of a node"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_no_header_can_carry_is_told_and_not_shown() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| Reply::Hang).await;
    file(&dir.path().join("token"), "tok\u{1}en-with-a-control");
    let settings = by_address(dir.path(), &ca, &[&server]);
    let said = match plegcollect::cluster::Cluster::open(&settings, &crate::Told::default().on_secret()) {
        Err(error) => error.text,
        Ok(cluster) => cluster.version(0, &CancellationToken::new()).await.unwrap_err().why(),
    };
    assert!(!said.contains("control") && !said.is_empty(), "{said}");
    assert!(server.paths().is_empty());
}
