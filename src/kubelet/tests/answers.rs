//! Answers to single requests: none of them closes the way for others.

use super::*;

#[tokio::test]
async fn each_refusal_is_that_requests_own() {
    let old = answer("403 Forbidden", "Forbidden (user=no-rights, verb=get, resource=nodes, subresource=proxy)");
    let server = serve(
        &own(),
        TOKEN,
        &[
            ("/debug/pprof/goroutine", old),
            ("/runningpods/", answer("405 Method Not Allowed", "Debug endpoints are disabled.\n")),
            ("/healthz", answer("500 Internal Server Error", "[+]ping ok\n[-]syncloop failed: reason withheld\n")),
            ("/stats", answer("500 Internal Server Error", "Authorization error (user=u, verb=get, resource=nodes)")),
            ("/pods", answer("200 OK", "{}")),
        ],
    )
    .await;
    let kubelet = kubelet(&access(server.port));
    for (path, outcome, status, words) in [
        ("/debug/pprof/goroutine", Outcome::Failed, 403, "user \"no-rights\" may not get nodes/proxy"),
        ("/flagz", Outcome::Absent, 404, "this kubelet has no /flagz"),
        ("/runningpods/", Outcome::Absent, 405, "enableDebuggingHandlers: false"),
        ("/flagz", Outcome::Absent, 404, "enableDebuggingHandlers: false switches it off"),
        ("/healthz", Outcome::Failed, 500, "the kubelet answered 500: [+]ping ok"),
        ("/stats", Outcome::Failed, 500, "is it cut off from it?"),
        ("/pods", Outcome::Complete, 200, ""),
    ] {
        let (end, kept) = ask(&kubelet, path).await;
        assert_eq!((end.outcome, end.status), (outcome, Some(status)), "{end:?}");
        assert!(detail(&end).contains(words), "{end:?}");
        assert_eq!(kept.began, usize::from(status == 200), "only a 200 goes to the receiver");
    }
}

#[tokio::test]
async fn the_end_of_a_body_is_the_end_of_the_step() {
    let part = say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
    let packed = say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f___");
    let endless = say("HTTP/1.1 200 OK\r\n\r\n");
    let server = serve(
        &own(),
        TOKEN,
        &[
            ("/cut", vec![part.clone(), Act::Close]),
            ("/drop", vec![part.clone(), Act::Drop]),
            ("/hang", vec![part, Act::Hang]),
            ("/packed", vec![packed]),
            ("/endless", vec![endless, Act::Repeat(b"xxxxxxxx")]),
            ("/configz", answer("200 OK", "<html>")),
        ],
    )
    .await;
    let kubelet = kubelet(&access(server.port));
    for path in ["/cut", "/drop"] {
        let (end, kept) = ask(&kubelet, path).await;
        assert_eq!((end.outcome, kept.bytes.as_slice()), (Outcome::Failed, &b"0123456789"[..]));
        assert_eq!(detail(&end), "the kubelet ended the answer after 10 B, before its end; what came is kept");
    }
    let (end, kept) = ask(&kubelet, "/packed").await;
    assert_eq!((end.outcome, kept.encoding), (Outcome::Complete, Some(Encoding::Gzip)));
    let (end, _) = ask(&kubelet, "/configz").await;
    assert!(end.outcome == Outcome::Complete && detail(&end).contains("does something else listen"), "{end:?}");
    let session = here().await;
    let mut kept = Kept { limit: Some(1000), ..Kept::default() };
    let end = kubelet.get(&session, &api("/endless", 10), &mut kept, &CancellationToken::new()).await;
    assert_eq!((end.outcome, end.detail.clone()), (Outcome::Complete, None), "the writer knows that it is cut");
    let mut kept = Kept::default();
    let end = kubelet.get(&session, &api("/hang", 1), &mut kept, &CancellationToken::new()).await;
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert_eq!(detail(&end), "the answer was not whole within 1.0s; the 10 B that came are kept");
    let cancel = CancellationToken::new();
    let (end, ()) = tokio::join!(
        async {
            let mut kept = Kept::default();
            kubelet.get(&session, &api("/hang", 60), &mut kept, &cancel).await
        },
        async {
            until("the second request", || {
                with_token(&server).iter().filter(|r| r.starts_with("GET /hang")).count() >= 2
            })
            .await;
            cancel.cancel();
        },
    );
    assert_eq!(end.outcome, Outcome::Cancelled, "{end:?}");
}

#[tokio::test]
async fn a_put_has_the_bare_body_and_says_whether_it_may_have_worked() {
    let server = serve(
        &own(),
        TOKEN,
        &[
            ("/debug/flags/v", answer("200 OK", "successfully set klog.logging.verbosity to 4")),
            (
                "/forbidden",
                answer("403 Forbidden", "Forbidden (user=u, verb=update, resource=nodes, subresource(s)=[proxy])"),
            ),
            ("/gone", vec![Act::Drop]),
            ("/broken", answer("500 Internal Server Error", "x")),
        ],
    )
    .await;
    let kubelet = kubelet(&access(server.port));
    let session = here().await;
    let said = kubelet.put(&session, "/debug/flags/v", "4").await.unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "successfully set klog.logging.verbosity to 4");
    let put = with_token(&server).pop().unwrap();
    assert!(put.starts_with("PUT /debug/flags/v HTTP/1.1\r\n") && put.ends_with("\r\n\r\n4"), "{put}");
    for (path, sent, words) in [
        ("/forbidden", false, "user \"u\" may not update nodes/proxy"),
        ("/gone", true, "closed"),
        ("/broken", true, "the kubelet answered 500: x"),
    ] {
        let error = kubelet.put(&session, path, "4").await.unwrap_err();
        assert!(error.sent == sent && error.text.contains(words), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn something_small_is_read_whole_or_not_at_all() {
    let long = "{".to_owned() + &"x".repeat(SMALL_MOST);
    let server =
        serve(&own(), TOKEN, &[("/configz", answer("200 OK", "{\"a\":1}")), ("/pods", answer("200 OK", &long))]).await;
    let kubelet = kubelet(&access(server.port));
    let session = here().await;
    assert_eq!(kubelet.read(&session, "/configz").await.unwrap(), b"{\"a\":1}");
    assert_eq!(kubelet.read(&session, "/pods").await.unwrap_err(), "the answer of /pods is larger than 4 MiB");
    assert_eq!(kubelet.read(&session, "/nothing").await.unwrap_err(), "this kubelet has no /nothing");
}
