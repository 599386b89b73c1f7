//! Refusals that hold for all requests: each is provoked once.

use super::*;

fn pins(dir: &tempfile::TempDir) -> Arc<Pins> {
    Arc::new(Pins::new(dir.path().join("kubelet-keys")))
}

#[tokio::test]
async fn a_key_is_recorded_before_the_token_is_sent_and_another_key_never_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let identity = own();
    let server = serve(&identity, TOKEN, &[("/pods", answer("200 OK", "{}"))]).await;
    let mut access = KubeletAccess { trust: KubeletTrust::Pins(pins(&dir)), ..access(server.port) };
    let first = kubelet(&access);
    let (end, kept) = ask(&first, "/pods").await;
    assert_eq!((end.outcome, end.detail.clone(), kept.bytes.as_slice()), (Outcome::Complete, None, &b"{}"[..]));
    assert_eq!(end.command, format!("GET https://127.0.0.1:{}/pods (through the SSH connection)", server.port));
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /healthz ") && !asked[0].to_ascii_lowercase().contains("authorization"));
    let record = first.record();
    assert_eq!((record.way, record.trust.as_str()), (Some(WayTaken::Forward), "pin (recorded now)"));
    let text = std::fs::read_to_string(dir.path().join("kubelet-keys")).unwrap();
    assert!(text.contains(&format!("{NODE} {}", record.key.unwrap())), "{text}");

    access.credential = Some(tokens(&[TOKEN]));
    let again = kubelet(&access);
    assert_eq!(ask(&again, "/pods").await.0.outcome, Outcome::Complete);
    assert!(again.record().trust.starts_with("pin (seen before, since "), "{}", again.record().trust);

    let stranger = serve(&own(), TOKEN, &[("/pods", answer("200 OK", "{}"))]).await;
    access.port = Some(stranger.port);
    access.credential = Some(tokens(&[TOKEN]));
    let refused = kubelet(&access);
    let (end, _) = ask(&refused, "/pods").await;
    let file = dir.path().join("kubelet-keys").display().to_string();
    for words in [&file, NODE, "since 20", "remove the line of worker-001", "nothing secret was sent"] {
        assert!(detail(&end).contains(words), "{end:?}");
    }
    let (end, _) = ask(&refused, "/configz").await;
    assert!(end.outcome == Outcome::Failed && detail(&end).starts_with("not asked again: "), "{end:?}");
    assert_eq!(with_token(&stranger), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_of_another_authority_ends_all_requests_before_the_token_is_sent() {
    let (good, bad) = (Authority::new("good"), Authority::new("bad"));
    for (signer, names, outcome) in [
        (&good, &["worker-001"][..], Outcome::Complete),
        (&bad, &["worker-001"], Outcome::Failed),
        (&good, &["worker-002"], Outcome::Failed),
    ] {
        let server = serve(&signer.signs(names, |_| {}), TOKEN, &[("/pods", answer("200 OK", "{}"))]).await;
        let trust = KubeletTrust::Ca { pem: Arc::new(good.pem().into_bytes()), file: "ca.crt".to_owned() };
        let kubelet = kubelet(&KubeletAccess { trust, ..access(server.port) });
        let (end, _) = ask(&kubelet, "/pods").await;
        assert_eq!(end.outcome, outcome, "{end:?}");
        if outcome != Outcome::Complete {
            assert!(detail(&end).starts_with("the kubelet is not trusted (ca ca.crt): "), "{end:?}");
            assert_eq!(with_token(&server), Vec::<String>::new());
            assert!(detail(&ask(&kubelet, "/configz").await.0).starts_with("not asked again: "));
        }
    }
    let trust = KubeletTrust::Ca { pem: Arc::new(b"nothing".to_vec()), file: "ca.crt".to_owned() };
    let (end, _) = ask(&kubelet(&KubeletAccess { trust, ..access(1) }), "/pods").await;
    assert_eq!(detail(&end), "no certificate of an authority can be read from ca.crt ([kubelet] ca)");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_nothing_is_asked_any_more() {
    let server = serve(&own(), OTHER, &[("/pods", answer("200 OK", "{}"))]).await;
    let renewing = KubeletAccess { credential: Some(aged(&[TOKEN, OTHER]).await), ..access(server.port) };
    let (end, kept) = ask(&kubelet(&renewing), "/pods").await;
    assert_eq!((end.outcome, kept.began, with_token(&server).len()), (Outcome::Complete, 1, 2), "{end:?}");

    let third = "eyJhbGciOi.third-token.c2lnbmF0dXJl";
    let server = serve(&own(), third, &[]).await;
    let renewing = KubeletAccess { credential: Some(aged(&[TOKEN, OTHER, third]).await), ..access(server.port) };
    let refused = kubelet(&renewing);
    let (end, kept) = ask(&refused, "/pods").await;
    assert_eq!((end.outcome, end.status, kept.began), (Outcome::Failed, Some(401), 0));
    for words in ["401 from the kubelet after ", "a renewed token as well", "cannot reach its API server"] {
        assert!(detail(&end).contains(words), "{end:?}");
    }
    assert_eq!(with_token(&server).len(), 2);
    let before = server.asked().len();
    assert!(detail(&ask(&refused, "/configz").await.0).starts_with("not asked again: 401 from the kubelet"));
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn a_port_nobody_listens_at_is_asked_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let kubelet = kubelet(&access(port));
    let (end, _) = ask(&kubelet, "/pods").await;
    assert!(detail(&end).starts_with(&format!("nothing listens at 127.0.0.1:{port} on the node")), "{end:?}");
    assert!(detail(&end).contains("[kubelet] address"), "{end:?}");
    assert!(detail(&ask(&kubelet, "/configz").await.0).starts_with("not asked again: nothing listens"));
    let error = kubelet.put(&here().await, "/debug/flags/v", "4").await.unwrap_err();
    assert!(!error.sent && error.text.starts_with("nothing listens"), "a PUT is tried all the same: {error:?}");
    assert_eq!(kubelet.record().way, None);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_stopped_costs_ten_seconds_once() {
    // The kernel completes connections that nobody accepts.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let kubelet = kubelet(&access(listener.local_addr().unwrap().port()));
    let begun = tokio::time::Instant::now();
    let (end, _) = ask(&kubelet, "/pods").await;
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert!(detail(&end).contains("the kubelet's process hangs or is stopped"), "{end:?}");
    let (end, _) = ask(&kubelet, "/metrics").await;
    assert!(end.outcome == Outcome::TimedOut && detail(&end).starts_with("not asked again: "), "{end:?}");
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_a_credential_nothing_is_asked() {
    let server = serve(&own(), TOKEN, &[]).await;
    let kubelet = kubelet(&KubeletAccess { credential: None, ..access(server.port) });
    assert_eq!(ask(&kubelet, "/pods").await.0.outcome, Outcome::Skipped);
    assert_eq!(server.asked().len(), 0);
}
