//! Tests of tokens learnt in a run: whatever the chunks and the surroundings, none is left.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const OPAQUE: &str = "node-diagnostics+Zm9v/YmFy.42~x";
const JWT: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl-_x";

fn knowing() -> &'static Redactor {
    static ONE: LazyLock<Redactor> = LazyLock::new(|| {
        let redactor = Redactor::new(&RedactConfig::default()).unwrap();
        redactor.learn(OPAQUE);
        redactor.learn(JWT);
        redactor.learn(JWT);
        redactor
    });
    &ONE
}

fn cut(redactor: &Redactor, binary: bool, input: &[u8], sizes: &[usize]) -> (Vec<u8>, u64) {
    let mut stream = RedactStream::new(binary);
    let (mut out, mut rest) = (Vec::new(), input);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*size).clamp(1, rest.len()));
        stream.push(redactor, now, &mut out);
        rest = later;
    }
    stream.finish(redactor, &mut out);
    (out, stream.counts().total())
}

fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn a_learnt_token_survives_in_no_form_of_a_header() {
    let redactor = knowing();
    for token in [OPAQUE, JWT] {
        let tagged = String::from_utf8(redactor.placeholder(redactor.token, token.as_bytes())).unwrap();
        for (before, after) in [
            ("Authorization: Bearer ", "\r\n"),
            ("authorization: bearer ", ""),
            ("> Authorization: Bearer ", "\nHost: x\n"),
            ("curl -H \"Authorization: Bearer ", "\" https://x/"),
            ("map[Accept:[*/*] Authorization:[Bearer ", "] User-Agent:[x]]"),
            ("{\"Authorization\":[\"Bearer ", "\"]}"),
            ("Proxy-Authorization: Token ", ""),
            ("?token=", "&y=2"),
            ("token: ", "\n"),
            ("http://u:", "@h/"),
            ("plain ", " text"),
            ("x", "x"),
            ("", ""),
        ] {
            let got = redactor.text(&format!("{before}{token}{after}"));
            assert_eq!(got, format!("{before}{tagged}{after}"), "{before}");
            assert_eq!(redactor.text(&got), got, "a second time changes nothing");
            for offset in 0..3 {
                let inside = format!("{}{before}{token}{after}", "_".repeat(offset));
                let got = redactor.text(&format!("data: {} end", STANDARD.encode(&inside)));
                let middle = STANDARD.encode(&token[3..token.len() - 3]);
                assert!(got.contains("[redacted:"), "{offset} {before}: {got}");
                assert!(!got.contains(&middle[..middle.len() - 4]), "{offset} {before}: {got}");
            }
        }
        let whole = redactor.text(&format!("a {token} b").repeat(3));
        assert_eq!(whole.matches("[redacted:token:").count(), 3, "{whole}");
    }
}

#[test]
fn base64_is_found_at_each_alignment_whatever_stands_around_it() {
    let redactor = knowing();
    for before in 0..7 {
        for after in 0..4 {
            let plain = format!("{}{OPAQUE}{}", "k".repeat(before), "z".repeat(after));
            let text = STANDARD.encode(plain);
            let got = redactor.text(&text);
            assert!(got.contains("[redacted:token:"), "{before} {after}: {got}");
            // At most a character at each end hangs on both token and neighbour.
            let left = got.split('[').next().unwrap().len() + got.rsplit(']').next().unwrap().len();
            assert!(text.len() - left + 6 >= OPAQUE.len() * 4 / 3, "{before} {after}: {got}");
        }
    }
}

#[test]
fn what_was_cut_off_is_taken_out_too_and_other_tokens_are_left_to_their_rules() {
    let redactor = knowing();
    for text in [format!("said: {}…", &OPAQUE[..12]), format!("said: {}", &OPAQUE[..12])] {
        let got = redactor.text(&text);
        assert!(got.starts_with("said: [redacted:token:") && !got.contains("node-diag"), "{got}");
    }
    for keep in ["node-diagnostics is ready", "node-di…", "node-diagnostics+Zm9v/ and more", "nod"] {
        assert_eq!(redactor.text(keep), keep);
    }
    let other = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJvdGhlciJ9.b3RoZXI";
    let got = redactor.text(&format!("x {other} y"));
    assert!(got.starts_with("x [redacted:jwt:") && got.ends_with("] y"), "{got}");
}

#[test]
fn binary_evidence_keeps_its_length() {
    let redactor = knowing();
    let mut input: Vec<u8> = (0..=255).collect();
    input.extend_from_slice(OPAQUE.as_bytes());
    input.extend([0, 255, b'n', b'o', b'd']);
    for size in [1, 7, 4096] {
        let (out, found) = cut(redactor, true, &input, &[size]);
        assert_eq!((out.len(), found), (input.len(), 1));
        assert!(!holds(&out, OPAQUE) && holds(&out, &"x".repeat(OPAQUE.len())) && out.ends_with(b"nod"));
    }
    let plain = Redactor::new(&RedactConfig::default()).unwrap();
    assert_eq!(cut(&plain, true, &input, &[3]), (input, 0), "nothing was learnt");
}

#[test]
fn a_token_learnt_while_a_stream_runs_is_found_in_what_comes_after() {
    let redactor = Redactor::new(&RedactConfig::default()).unwrap();
    let (mut stream, mut out) = (RedactStream::new(false), Vec::new());
    stream.push(&redactor, b"no-such-token-yet ", &mut out);
    redactor.learn("second-token-of-ours");
    stream.push(&redactor, b"second-token-", &mut out);
    stream.push(&redactor, b"of-ours\n", &mut out);
    stream.finish(&redactor, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("no-such-token-yet [redacted:token:") && text.ends_with("]\n"), "{text}");
    let mut totals = BTreeMap::new();
    redactor.tally(stream.counts(), &mut totals);
    assert_eq!(totals, BTreeMap::from([("token".to_owned(), 1)]));
}

#[test]
fn a_token_in_json_leaves_json() {
    let (out, counts) = knowing().json(format!("{{\"a\":[\"{OPAQUE}\",\"b {JWT}\"],\"c\":1}}").as_bytes());
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((value["c"].as_i64(), counts.total()), (Some(1), 2));
    assert!(!holds(&out, OPAQUE) && !holds(&out, JWT));
}

#[test]
fn nothing_learnt_is_printed() {
    let shown = format!("{:?}", knowing());
    assert!(!shown.contains("node-diag") && !shown.contains("eyJ"), "{shown}");
    let rule = RedactRule { name: "token".into(), pattern: "a".into(), replace: None };
    let config = RedactConfig { rules: vec![rule], ..RedactConfig::default() };
    assert!(Redactor::new(&config).unwrap_err().to_string().contains("built-in"));
}

#[test]
fn a_long_token_in_a_line_longer_than_a_piece_is_found() {
    let redactor = Redactor::new(&RedactConfig::default()).unwrap();
    let token: String = (0..60_000_u32).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    redactor.learn(&token);
    let input = format!("{}{token}{}", "y".repeat(stream::PIECE - 100), "y".repeat(300_000));
    let (out, found) = cut(&redactor, false, input.as_bytes(), &[32 << 10]);
    assert_eq!((found, out.len() < input.len()), (1, true));
    assert!(!holds(&out, &token[..64]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn chunks_do_not_matter_and_no_token_is_left(
        picks in proptest::collection::vec(0..9_usize, 1..24),
        sizes in proptest::collection::vec(1..90_usize, 1..6),
        binary in any::<bool>(),
    ) {
        let redactor = knowing();
        let mut input = Vec::new();
        for pick in picks {
            let encoded = STANDARD.encode(OPAQUE);
            let part: &[u8] = match pick {
                0 => OPAQUE.as_bytes(),
                1 => JWT.as_bytes(),
                2 => encoded.as_bytes(),
                3 => &OPAQUE.as_bytes()[..14],
                4 => &JWT.as_bytes()[..40],
                5 => b"\nAuthorization: Bearer ",
                6 => b"\n",
                7 => "…".as_bytes(),
                _ => b" n e ",
            };
            input.extend_from_slice(part);
        }
        let (out, found) = cut(redactor, binary, &input, &sizes);
        prop_assert_eq!(&(out.clone(), found), &cut(redactor, binary, &input, &[input.len()]));
        prop_assert!(!holds(&out, OPAQUE) && !holds(&out, JWT) && !holds(&out, &STANDARD.encode(OPAQUE)[..40]));
        if binary {
            prop_assert_eq!(out.len(), input.len());
        }
    }
}
