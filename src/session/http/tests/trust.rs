//! What is accepted as a server's certificate, and as ours.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::pki::{Authority, Identity, VERSIONS};
use super::server::{Act, TestServer, say, talker};
use super::{ask, failure, get};
use crate::session::http::{HttpError, Server, Spki, TlsFailure, TlsServer, Trust, inspect};

/// A server's certificate, how it is judged, the names wanted, and what comes of it.
type Row<'a> = (&'a Identity, Trust, &'a [&'a str], Result<(), &'a str>);

const NAMES: [&str; 2] = ["worker-1.example", "10.0.0.7"];

fn ok() -> Vec<(&'static str, Vec<Act>)> {
    vec![("/", vec![say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")])]
}

/// Asserts what a handshake with `identity` gives with both versions of TLS, and that `inspect` agrees.
async fn judged(identity: &Identity, trust: &Trust, names: &[&str], want: Result<(), &str>) {
    let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let inspected = inspect(std::slice::from_ref(&identity.certificate), trust, &owned);
    for version in VERSIONS {
        let server = TestServer::start(Some(identity.server(version, None)), &ok()).await;
        let server = server.tls(trust.clone(), names);
        match (want, ask(&server, &get("/")).await) {
            (Ok(()), Ok(answer)) => {
                assert_eq!(answer.peer, Some(inspected.clone().unwrap()), "{version:?}");
                assert_eq!(super::whole(answer).await, b"ok");
            }
            (Err(want), Err(HttpError::Tls(failure))) => {
                assert!(failure.to_string().contains(want), "{version:?}: {failure}, not {want}");
                assert_eq!(inspected.clone().unwrap_err(), failure);
            }
            (want, got) => panic!("{version:?}: {:?}, not {want:?}", got.map(|answer| answer.status)),
        }
    }
}

#[tokio::test]
async fn an_authority_vouches_for_a_name_and_a_time() {
    let (ours, namesake, other) = (Authority::new("kubernetes"), Authority::new("kubernetes"), Authority::new("other"));
    let nothing = |_: &mut CertificateParams| {};
    let good = ours.signs(&NAMES, nothing);
    let foreign = "signed by an authority that is not among those given";
    let old = ours.signs(&NAMES, |params| params.not_after = date_time_ymd(2021, 3, 1));
    let early = ours.signs(&NAMES, |params| params.not_before = date_time_ymd(2999, 3, 1));
    let client = ours.signs(&NAMES, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let nameless = ours.signs(&[], nothing);
    let many: Vec<String> = (0..12).map(|n| format!("n{n}.example")).collect();
    let many = ours.signs(&many.iter().map(String::as_str).collect::<Vec<_>>(), nothing);
    let itself = Identity::own(&NAMES, nothing);
    let trusting = |identity: &Identity| Trust::Ca(Arc::new(vec![identity.certificate.clone()]));
    let authority = Identity::own(&NAMES, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let rows: &[Row<'_>] = &[
        (&good, ours.trust(), &["worker-1.example"], Ok(())),
        (&good, ours.trust(), &["no_name!", "worker-9", "10.0.0.7"], Ok(())),
        (&good, other.trust(), &["worker-1.example"], Err(foreign)),
        (&good, namesake.trust(), &["worker-1.example"], Err("not among those given, though one has its name")),
        (&itself, ours.trust(), &["worker-1.example"], Err(foreign)),
        (&itself, trusting(&itself), &["worker-1.example"], Ok(())),
        (
            &good,
            ours.trust(),
            &["worker-1", "127.0.0.1"],
            Err("its certificate is for worker-1.example, 10.0.0.7, and for none of worker-1, 127.0.0.1"),
        ),
        (&good, ours.trust(), &[], Err("and for none of ")),
        (&nameless, ours.trust(), &["worker-1"], Err("is for no name that counts, and for none of worker-1")),
        (&many, ours.trust(), &["x"], Err("n7.example, 4 more, and for none of x")),
        (&old, ours.trust(), &NAMES, Err("its certificate has expired, at 2021-03-01T00:00:00Z")),
        (&early, ours.trust(), &NAMES, Err("is not valid before 2999-03-01T00:00:00Z")),
        (&client, ours.trust(), &NAMES, Err("is not meant for servers")),
        (&authority, trusting(&authority), &NAMES, Err("judge it by its key, with pins")),
        (&authority, Trust::Any, &[], Ok(())),
        (
            &good,
            Trust::Ca(Arc::new(vec![CertificateDer::from(vec![1, 2, 3])])),
            &NAMES,
            Err("none of the 1 authorities"),
        ),
    ];
    for (identity, trust, names, want) in rows {
        judged(identity, trust, names, *want).await;
    }
}

#[tokio::test]
async fn of_a_pinned_certificate_only_the_key_counts() {
    let old = Identity::own(&[], |params| {
        params.not_after = date_time_ymd(2021, 3, 1);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let key = old.spki;
    judged(&old, &Trust::Pinned(key), &["whoever"], Ok(())).await;
    judged(&old, &Trust::Any, &["whoever"], Ok(())).await;
    judged(&old, &Trust::Pinned(Spki([7; 32])), &["whoever"], Err(&key.to_string())).await;
    assert_eq!(
        inspect(&[old.certificate], &Trust::Pinned(Spki([7; 32])), &[]),
        Err(TlsFailure::Pin { has: key.to_string() })
    );
    assert!(inspect(&[], &Trust::Any, &[]).is_err());
    assert!(inspect(&[CertificateDer::from(vec![0x30, 0])], &Trust::Any, &[]).is_err());
}

#[tokio::test]
async fn whoever_shows_a_certificate_must_have_its_key() {
    let ours = Authority::new("kubernetes");
    let mut stolen = ours.signs(&NAMES, |_| {});
    stolen.key = Identity::own(&NAMES, |_| {}).key;
    for trust in [ours.trust(), Trust::Pinned(stolen.spki), Trust::Any] {
        for version in VERSIONS {
            let server = TestServer::start(Some(stolen.server(version, None)), &ok()).await;
            let error = failure(&server.tls(trust.clone(), &NAMES), "/").await;
            assert_eq!(error.to_string(), "it shows a certificate whose key it does not have", "{version:?}");
            assert!(server.asked().is_empty(), "nothing was sent to it");
        }
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_ours_or_says_so() {
    let (ours, other) = (Authority::new("kubernetes"), Authority::new("other"));
    let server_identity = ours.signs(&NAMES, |_| {});
    let client = |authority: &Authority| {
        let usage = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        authority.signs(&["client"], usage).client()
    };
    for version in VERSIONS {
        let server = TestServer::start(Some(server_identity.server(version, Some(&ours))), &ok()).await;
        let with = |client| {
            let names = NAMES.map(str::to_owned).to_vec();
            let tls = TlsServer { names, trust: ours.trust(), client };
            Server { tls: Some(tls), ..server.plain() }
        };
        let answer = ask(&with(Some(client(&ours))), &get("/")).await.unwrap();
        assert_eq!(super::whole(answer).await, b"ok");
        for (shown, want) in [
            (None, "it wants a client certificate, and none was shown: TLS alert "),
            (Some(client(&other)), "it does not accept our client certificate: TLS alert "),
        ] {
            let error = failure(&with(shown), "/").await;
            assert!(matches!(error, HttpError::Tls(TlsFailure::ClientCertificate { .. })), "{version:?}: {error:?}");
            assert!(error.to_string().starts_with(want), "{version:?}: {error}");
        }
        assert_eq!(server.asked().len(), 1);
    }
    // One that does not ask is not shown it.
    let server = TestServer::start(Some(server_identity.server(VERSIONS[1], None)), &ok()).await;
    let tls = TlsServer { names: Vec::new(), trust: Trust::Any, client: Some(client(&ours)) };
    assert_eq!(ask(&Server { tls: Some(tls), ..server.plain() }, &get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    for (words, want) in [
        (&b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request"[..], "it answered in plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server answered"),
        (b"\xff\xfe\xfd\xfc\xfb\xfa", "what it answered is not TLS"),
        (b"", "it closed the connection in the TLS handshake"),
        // handshake_failure, as a server sends it that shares no cipher with us.
        (b"\x15\x03\x03\x00\x02\x02\x28", "it broke off the TLS handshake: TLS alert HandshakeFailure"),
    ] {
        let tls = TlsServer { names: Vec::new(), trust: Trust::Any, client: None };
        let server = Server { host: "127.0.0.1".to_owned(), port: talker(words).await, tls: Some(tls) };
        let error = failure(&server, "/").await;
        assert!(matches!(error, HttpError::Tls(TlsFailure::Handshake { .. })), "{error:?}");
        assert!(error.to_string().starts_with(want), "{error}");
    }
    let identity = Identity::own(&NAMES, |_| {});
    let server = TestServer::start(Some(identity.server(VERSIONS[1], None)), &ok()).await;
    assert_eq!(failure(&server.plain(), "/").await.to_string(), "it speaks TLS, and was asked without");
}

#[test]
fn a_key_is_read_as_it_is_written_and_as_curl_writes_it() {
    let key = Spki(std::array::from_fn(|n| u8::try_from(n * 8).unwrap()));
    let text = key.to_string();
    assert_eq!(text, "sha256:0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8");
    assert_eq!(text.parse(), Ok(key));
    assert_eq!(text.to_uppercase().replace("SHA", "sha").parse(), Ok(key));
    assert_eq!("sha256//AAgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8Pg=".parse(), Ok(key));
    for wrong in
        ["", "sha256:", "sha256:00", &text[..70], &format!("{text}00"), "sha256//AAgQ", "sha256:zz", &text[7..]]
    {
        assert!(wrong.parse::<Spki>().unwrap_err().contains("is no key"), "{wrong}");
    }
}
