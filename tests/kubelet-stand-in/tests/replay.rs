//! Every answer is, byte for byte, what was recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy exempts test functions, not what they share"
)]

#[allow(missing_docs, unreachable_pub, dead_code, reason = "shared by several test programs")]
mod common;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Kubelet, ask_on, recordings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Row {
    file: String,
    method: String,
    target: String,
    status: u16,
    seconds: String,
}

fn index(directory: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(directory.join("index.tsv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with(['#', '@'])).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, method, target, status, _, _, seconds] = columns[..] else { panic!("{line}") };
        let [file, method, seconds] = [file, method, seconds].map(ToOwned::to_owned);
        Row { file, method, target: target.replace('*', "other"), status: status.parse().unwrap(), seconds }
    });
    rows.collect()
}

/// Names and values as recorded, but for what differs from one answer to the next. HTTP/2 writes names in small letters.
fn comparable(headers: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let headers = headers.into_iter().map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let value = if ["date", "content-length"].contains(&name.as_str()) { String::new() } else { value };
        (name, value)
    });
    headers.collect()
}

fn recorded_head(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("{}.headers", path.display())).unwrap_or_default();
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    comparable(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
}

async fn check_every_row(kubelet: &Kubelet, directory: &Path, http2: bool) {
    let mut checked = 0;
    for row in index(directory).iter().filter(|row| row.method != "BUSY") {
        let what = format!("{} {} {}", directory.display(), row.method, row.target);
        if row.seconds == "-" || row.file == "-" || row.seconds.parse::<f64>().unwrap() >= 100.0 {
            assert!(kubelet.hangs(&row.target).await, "{what}");
            continue;
        }
        let reply = kubelet.ask(&row.method, &row.target, "all", b"4").await;
        let path = directory.join(&row.file);
        assert_eq!(reply.status, row.status, "{what}");
        assert!(reply.whole, "{what}");
        assert!(reply.body == std::fs::read(&path).unwrap(), "{what}: {}", reply.text());
        let mut wanted = recorded_head(&path);
        if http2 && !wanted.iter().any(|(name, _)| name == "content-length") {
            wanted.push(("transfer-encoding".to_owned(), "chunked".to_owned())); // HTTP/2 has no such header
        }
        if !wanted.is_empty() {
            let mut headers = comparable(reply.headers);
            if http2 {
                headers.sort(); // its order is that of another protocol
                wanted.sort();
            }
            assert_eq!(headers, wanted, "{what}");
        }
        checked += 1;
    }
    assert!(checked > 2, "{}: {checked}", directory.display());
}

#[tokio::test]
async fn every_row_of_kubelet_1_36_is_served_as_recorded() {
    let kubelet = Kubelet::start(&[]).await;
    check_every_row(&kubelet, &recordings().join("kubelet-1.36.2"), false).await;
}

#[tokio::test]
async fn every_row_of_the_pleg_hang_is_served_as_recorded() {
    let kubelet = Kubelet::start(&["--set=kubelet-1.36.2-pleg-hang"]).await;
    check_every_row(&kubelet, &recordings().join("kubelet-1.36.2-pleg-hang"), false).await;
}

#[tokio::test]
async fn every_row_of_kubelet_1_21_is_served_as_recorded() {
    let kubelet = Kubelet::start(&["--set=kubelet-1.21.1-dockershim"]).await;
    check_every_row(&kubelet, &recordings().join("kubelet-1.21.1-dockershim"), true).await;
}

#[tokio::test]
async fn every_row_of_the_variants_is_served_as_recorded() {
    let kubelet = Kubelet::start(&[]).await;
    for entry in std::fs::read_dir(recordings().join("kubelet-1.36.2/variants")).unwrap() {
        let directory = entry.unwrap().path();
        kubelet.faults(&format!("variant {}\n", directory.file_name().unwrap().to_str().unwrap()));
        check_every_row(&kubelet, &directory, false).await;
    }
    kubelet.faults("");
    assert_eq!(kubelet.get("/configz").await.status, 200);
}

#[tokio::test]
async fn samples_come_in_turn() {
    let kubelet = Kubelet::start(&["--set=kubelet-1.36.2-pleg-hang"]).await;
    let mut seen = HashMap::<Vec<u8>, usize>::new();
    for _ in 0..4 {
        *seen.entry(kubelet.get("/debug/pprof/goroutine?debug=2").await.body).or_default() += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [2, 2]);
    let log = kubelet.requests();
    assert_eq!(log.matches("goroutine-debug2-t020.txt").count(), 2, "{log}");
}

#[tokio::test]
async fn put_of_the_verbosity_answers_as_both_versions_do() {
    let put = async |kubelet: &Kubelet, body: &[u8]| kubelet.ask("PUT", "/debug/flags/v", "all", body).await;
    let kubelet = Kubelet::start(&[]).await;
    let recorded = recordings().join("kubelet-1.36.2/debug-flags-v");
    for (file, body) in [
        ("put-4.txt", "4"),
        ("put-newline.txt", "4\n"),
        ("put-negative.txt", "-1"),
        ("put-word.txt", "debug"),
        ("put-empty-body.txt", ""),
        ("put-6.txt", "6"),
        ("put-2-back.txt", "2"),
    ] {
        let reply = put(&kubelet, body.as_bytes()).await;
        assert_eq!(reply.body, std::fs::read(recorded.join(file)).unwrap(), "{file}");
        assert_eq!(comparable(reply.headers), recorded_head(&recorded.join(file)), "{file}");
        assert_eq!(
            reply.status,
            if file.contains("put-4") || body == "6" || body == "2" { 200 } else { 400 },
            "{file}"
        );
    }
    assert_eq!(kubelet.ask("PUT", "/debug/flags/vmodule", "all", b"x=4").await.status, 404);
    let levels: Vec<_> =
        kubelet.requests().lines().map(|line| line.rsplit("\"v\":").next().unwrap().to_owned()).collect();
    assert_eq!(levels, ["4}", "4}", "4}", "4}", "4}", "6}", "2}", "2}"]);

    let kubelet = Kubelet::start(&["--set=kubelet-1.21.1-dockershim"]).await;
    let recorded = recordings().join("kubelet-1.21.1-dockershim");
    for (file, body) in [
        ("put-flags-v-4.txt", "4"),
        ("put-flags-v-newline.txt", "4\n"),
        ("put-flags-v-word.txt", "debug"),
        ("put-flags-v-2-back.txt", "2"),
    ] {
        assert_eq!(put(&kubelet, body.as_bytes()).await.body, std::fs::read(recorded.join(file)).unwrap(), "{file}");
    }
}

#[tokio::test]
async fn a_profile_takes_its_seconds_and_there_is_one_at_a_time() {
    let kubelet = Kubelet::start(&[]).await;
    let started = Instant::now();
    let (first, second) = tokio::join!(kubelet.get("/debug/pprof/profile?seconds=4"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        kubelet.get("/debug/pprof/profile?seconds=1").await
    });
    assert!(started.elapsed() >= Duration::from_secs(4));
    assert_eq!(first.status, 200);
    assert_eq!(second.status, 500);
    assert_eq!(
        second.body,
        std::fs::read(recordings().join("kubelet-1.36.2/pprof-more/profile-while-busy.txt")).unwrap()
    );
    // A client that leaves ends its profile.
    assert!(kubelet.hangs("/debug/pprof/profile?seconds=20000").await);
    for _ in 0..50 {
        if kubelet.get("/debug/pprof/profile?seconds=1").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the profile goes on without its client: {}", kubelet.requests());
}

#[tokio::test]
async fn what_took_long_takes_long_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("own")).unwrap();
    let write =
        |name: &str, text: &str| kubelet_stand_in::pki::write(&directory.path().join("own").join(name), text).unwrap();
    write("index.tsv", "@rules\t1.36\nmetrics.txt\tGET\t/metrics\t200\ttext/plain\t2\t1.2\n");
    write("metrics.txt", "up");
    let kubelet = Kubelet::start(&[&format!("--recordings={}", directory.path().display()), "--set=own"]).await;
    let started = Instant::now();
    assert_eq!(kubelet.get("/metrics").await.text(), "up");
    assert!(started.elapsed() >= Duration::from_millis(1200));
}

#[tokio::test]
async fn what_was_not_recorded_is_not_made_up() {
    let kubelet = Kubelet::start(&["--set=kubelet-1.21.1-dockershim"]).await;
    assert_eq!(kubelet.get("/debug/pprof/goroutine").await.status, 501);
    assert_eq!(kubelet.get("/debug/pprof/heap?debug=1").await.status, 501);
    assert_eq!(kubelet.get("/pods/").await.status, 200);
}

#[tokio::test]
async fn one_connection_carries_several_requests() {
    let kubelet = Kubelet::start(&[]).await;
    let mut stream = kubelet.connect(kubelet.tls()).await.unwrap();
    for target in ["/healthz", "/configz", "/metrics", "/nowhere", "/healthz"] {
        let reply = ask_on(&mut stream, "GET", target, "all", b"", "").await;
        assert_eq!(reply.status, if target == "/nowhere" { 404 } else { 200 }, "{target}");
    }
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
}

#[tokio::test]
async fn metrics_are_compressed_for_those_who_accept_it() {
    let kubelet = Kubelet::start(&[]).await;
    let mut stream = kubelet.connect(kubelet.tls()).await.unwrap();
    let reply = ask_on(&mut stream, "GET", "/metrics", "all", b"", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(reply.body.as_slice()), &mut body).unwrap();
    assert!(body == std::fs::read(recordings().join("kubelet-1.36.2/metrics.txt")).unwrap());
    let reply = ask_on(&mut stream, "GET", "/pods", "all", b"", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(reply.header("content-encoding"), None);
}

#[tokio::test]
async fn the_plain_ports_answer_as_recorded() {
    let kubelet = Kubelet::start(&[]).await;
    let mut stream = TcpStream::connect(&kubelet.plain).await.unwrap();
    let reply = ask_on(&mut stream, "GET", "/healthz", "", b"", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    assert_eq!(ask_on(&mut stream, "GET", "/metrics", "", b"", "").await.status, 404);

    let mut stream = TcpStream::connect(&kubelet.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, std::fs::read(recordings().join("kubelet-1.36.2/auth/http-on-https-port.txt")).unwrap());
    assert_eq!(kubelet.journal().await, "I1120 a line\n");
}

#[tokio::test]
async fn http2_is_spoken_when_asked_for() {
    let kubelet = Kubelet::start(&["--set=kubelet-1.21.1-dockershim", "--http2=true"]).await;
    let mut tls = kubelet.tls();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = kubelet.connect(tls).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://worker-001/debug/pprof/goroutine?debug=2")
        .header("authorization", "Bearer all")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.status(), 200);
    let headers = reply.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let path = recordings().join("kubelet-1.21.1-dockershim/goroutine-debug2.txt");
    assert_eq!(comparable(headers), recorded_head(&path));
    let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
    assert!(body == std::fs::read(path).unwrap());
    assert!(kubelet.requests().contains("\"protocol\":\"HTTP/2.0\""), "{}", kubelet.requests());
}
