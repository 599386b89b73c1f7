//! The ways beside forwarding: which is taken, and what is said where none is left.

use super::*;

/// An API server that answers as told.
struct Proxy(Result<(u16, &'static str), &'static str>);

impl NodeProxy for Proxy {
    fn get<'a>(
        &'a self,
        node: &'a str,
        _: &'a str,
        _: Duration,
        sink: &'a mut dyn Sink,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        assert_eq!(node, "ip-worker-001");
        async move {
            let (status, body) = self.0.map_err(str::to_owned)?;
            if status == 200 {
                for chunk in body.as_bytes().chunks(4) {
                    assert!(sink.write(StdStream::Out, Bytes::copy_from_slice(chunk)).await.is_continue());
                }
                return Ok(ProxyAnswer { status, body: Vec::new(), whole: true });
            }
            Ok(ProxyAnswer { status, body: body.as_bytes().to_vec(), whole: true })
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        body: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        async move {
            let (status, _) = self.0.map_err(str::to_owned)?;
            Ok(ProxyAnswer { status, body: body.as_bytes().to_vec(), whole: true })
        }
        .boxed()
    }
}

fn through(proxy: Proxy) -> KubeletAccess {
    KubeletAccess {
        credential: None,
        via: Via::ApiServer,
        proxy: Some(Arc::new(proxy)),
        node_name: "ip-{name}".to_owned(),
        ..access(1)
    }
}

#[tokio::test]
async fn an_api_server_hands_on_what_the_kubelet_says() {
    let asked = kubelet(&through(Proxy(Ok((200, "{\"pods\":1}")))));
    let (end, kept) = ask(&asked, "/pods").await;
    assert_eq!((end.outcome, kept.bytes.as_slice()), (Outcome::Complete, &b"{\"pods\":1}"[..]));
    assert_eq!(end.command, "GET /api/v1/nodes/ip-worker-001/proxy/pods (through the API server)");
    assert_eq!(asked.record().way, Some(WayTaken::ApiServer));
    assert_eq!(asked.put(&here().await, "/debug/flags/v", "4").await.unwrap(), b"4");
    let (end, kept) = ask(&kubelet(&through(Proxy(Ok((200, ""))))), "/healthz").await;
    assert_eq!((end.outcome, kept.began), (Outcome::Complete, 1), "an empty answer is one, too");
}

#[tokio::test]
async fn an_api_server_that_fails_is_asked_twice_at_the_most() {
    let asked = kubelet(&through(Proxy(Err("https://10.0.0.1:6443 did not answer within 4 s"))));
    for words in ["https://10.0.0.1", "https://10.0.0.1", "not asked again: https://10.0.0.1"] {
        let (end, _) = ask(&asked, "/pods").await;
        assert!(end.outcome == Outcome::Failed && detail(&end).starts_with(words), "{end:?}");
    }
}

#[tokio::test]
async fn without_a_way_all_reasons_are_in_one_sentence() {
    let certificate = own().client();
    let credential = Credential::new("client certificate", None, Some(certificate), Arc::new(|_| {}));
    let access = KubeletAccess { credential: Some(credential), via: Via::Curl, ..access(1) };
    let asked = kubelet(&access);
    let (end, _) = ask(&asked, "/pods").await;
    assert_eq!(
        detail(&end),
        "there is no way to the kubelet: curl: there is a client certificate only, and its key does not leave this machine"
    );
    assert!(detail(&ask(&asked, "/configz").await.0).starts_with("not asked again: "));
    assert_eq!(asked.record().refused_ways.len(), 1);
}

/// An API server whose answer breaks off after three bytes, after so much of its time.
struct BreaksOff(Duration);

impl NodeProxy for BreaksOff {
    fn get<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Duration,
        sink: &'a mut dyn Sink,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        async move {
            assert!(sink.write(StdStream::Out, Bytes::from_static(b"abc")).await.is_continue());
            tokio::time::sleep(self.0).await;
            Ok(ProxyAnswer { status: 200, body: Vec::new(), whole: false })
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<ProxyAnswer, String>> {
        async { Err("not here".to_owned()) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_through_the_api_server_that_breaks_off_is_told_from_one_that_is_out_of_time() {
    for (after, outcome) in [(0, Outcome::Failed), (60, Outcome::TimedOut)] {
        let proxy = Some(Arc::new(BreaksOff(Duration::from_secs(after))) as Arc<dyn NodeProxy>);
        let access = KubeletAccess { proxy, ..through(Proxy(Err("not asked"))) };
        let (end, kept) = ask(&kubelet(&access), "/pods").await;
        assert_eq!((end.outcome, kept.bytes.as_slice()), (outcome, &b"abc"[..]), "{end:?}");
    }
}
