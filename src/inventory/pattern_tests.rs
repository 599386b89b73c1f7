//! Tests of the pattern syntax.

use proptest::prelude::*;

use super::*;

fn expand(item: &str) -> Vec<String> {
    match parse(item).unwrap_or_else(|e| panic!("{e}")).subject {
        Subject::Names(names) => names.expand(10_000).unwrap(),
        other => panic!("{item}: {other:?}"),
    }
}

#[test]
fn expands_names() {
    for (item, want) in [
        ("worker-007", "worker-007"),
        ("worker-00[1-3]", "worker-001 worker-002 worker-003"),
        ("worker-[009-011]", "worker-009 worker-010 worker-011"),
        ("worker-[1-9/4]", "worker-1 worker-5 worker-9"),
        ("rack[1-2]n[09-10]", "rack1n09 rack1n10 rack2n09 rack2n10"),
        ("[a,b]-[1-2].example.org", "a-1.example.org a-2.example.org b-1.example.org b-2.example.org"),
        ("[1-3]", "1 2 3"),
        ("n[001-002,15]x", "n001x n002x n15x"),
        ("db-*", "db-*"),
        ("rack[1-2]?", "rack1? rack2?"),
    ] {
        assert_eq!(expand(item).join(" "), want, "{item}");
    }
    assert_eq!(expand("worker-00[1-9]"), expand("worker-[001-009]"));
}

#[test]
fn reads_user_port_and_exclusion() {
    let names = |item: &str| match parse(item).unwrap() {
        Pattern { subject: Subject::Names(n), exclude, .. } => {
            (n.user.clone(), n.port, exclude, n.glob, n.expand(10).unwrap().join(" "))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(names("root@n[1-2]:2222"), (Some("root".into()), Some(2222), false, false, "n1 n2".into()));
    assert_eq!(names("me@corp.example@n1"), (Some("me@corp.example".into()), None, false, false, "n1".into()));
    assert_eq!(names("!n[1-2]"), (None, None, true, false, "n1 n2".into()));
    assert_eq!(names("!db-*"), (None, None, true, true, "db-*".into()));
}

#[test]
fn tells_addresses_from_brackets() {
    for (item, want) in [
        ("[fe80::1]:22", ("fe80::1", None, Some(22))),
        ("[fe80::1]", ("fe80::1", None, None)),
        ("root@[2001:DB8:0::1]:2222", ("2001:db8::1", Some("root"), Some(2222))),
        ("::1", ("::1", None, None)),
        ("root@fe80::1%eth0", ("fe80::1%eth0", Some("root"), None)),
    ] {
        let Subject::Address { address, user, port } = parse(item).unwrap().subject else { panic!("{item}") };
        assert_eq!((address.as_str(), user.as_deref(), port), want, "{item}");
    }
    assert_eq!(address_name("fe80::1%eth0"), "fe80--1-eth0");
    assert_eq!(address_name("::1"), "0--1");
    assert!(address_name("::1").parse::<super::super::NodeName>().is_ok());
}

#[test]
fn splits_lists() {
    let list = |l: &str| parse_list(l).unwrap().into_iter().map(|p| p.text).collect::<Vec<_>>();
    assert_eq!(list("a, b[1,2] ,@g,!c,-"), ["a", "b[1,2]", "@g", "!c", "-"]);
    assert_eq!(parse("-").unwrap().subject, Subject::Stdin);
    assert_eq!(parse("@workers").unwrap().subject, Subject::Group("workers".into()));
    assert!(parse("!@workers").unwrap().exclude);
}

#[test]
fn refuses_with_position_and_remedy() {
    for (list, part) in [
        ("", "is empty"),
        (" ", "is empty"),
        ("a,,b", "nothing between two commas"),
        ("a,", "remove that comma"),
        ("worker-[1-", "opened at character 8 is never closed: add ']'"),
        ("root@n[1-3", "opened at character 7 is never closed"),
        ("n[]", "bracket at character 2 is empty"),
        ("n[9-1]", "bracket at character 2 has the reversed range 9-1"),
        ("n[1-9/0]", "step 0"),
        ("n[1-[2-3]]", "brackets stand side by side"),
        ("n1]", "']' at character 3 closes nothing"),
        ("n1]2[", "']' at character 3"),
        ("a b", "' ' at 2"),
        ("a/b", "'/' at 2"),
        ("ünode", "'ü' at 1"),
        ("n\u{1b}[31m", "at 2"),
        ("!", "names nothing after '!'"),
        ("!-", "standard input cannot be excluded"),
        ("@", "names no group"),
        ("@a b", "' '"),
        ("!root@n1", "leave the user out"),
        ("!n1:22", "leave the port out"),
        ("n1:0", "port \"0\""),
        ("n1:65536", "port \"65536\""),
        ("n1:+22", "port \"+22\""),
        ("n1:", "port \"\""),
        ("n1:[1-3]", "port"),
        (":22", "holds no name"),
        ("root@", "holds no name"),
        ("a@@g", "cannot"),
        ("$(id)@n1", "'$'"),
        ("a b@n1", "' '"),
        ("-oX", "cannot start with '-'"),
        ("-oX@n1", "cannot start with '-'"),
        (".hidden", "cannot start with"),
        ("fe80::1::2", "several ':'"),
        ("host:22:33", "several ':'"),
        ("[fe80::zz]", "no IPv6 address"),
        ("[fe80::1]x", "only :PORT"),
        ("[fe80::1]:x", "port \"x\""),
        ("[fe80::1%]", "no IPv6 address"),
    ] {
        // Some are valid syntax apart from one thing that only the list or the item shows.
        match parse_list(list) {
            Err(error) => assert!(error.to_string().contains(part), "{list}: {error}"),
            Ok(patterns) => panic!("{list}: accepted as {patterns:?}, not refused for {part}"),
        }
    }
}

#[test]
fn counts_before_it_allocates() {
    let refused = |item: &str| match parse(item).unwrap().subject {
        Subject::Names(names) => names.expand(10_000).unwrap_err(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("n[1-999999999]"), "999,999,999");
    assert_eq!(refused("n[1-10001]"), "10,001");
    assert_eq!(refused("n[0-999999999999999999]"), "1,000,000,000,000,000,000");
    assert_eq!(refused(&format!("n{}", "[0-9]".repeat(40))), "more than 10^38");
    assert_eq!(refused(&format!("n{}", "[0-9]".repeat(5))), "100,000");
    assert_eq!(expand("n[1-10000]").len(), 10_000);
}

#[test]
fn globs() {
    for (glob, text, want) in [
        ("*", "", true),
        ("*", "abc", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*b", "abc", false),
        ("a?c", "abc", true),
        ("a?", "a", false),
        ("a**c", "abbc", true),
        ("*a*b*", "xxaxxbxx", true),
        ("abc", "ab", false),
        ("ab", "abc", false),
        ("a*a*a*a*b", &"a".repeat(2000), false),
    ] {
        assert_eq!(glob_matches(glob, text), want, "{glob} {text}");
    }
}

/// The slow, obvious way to match a glob.
fn obviously_matches(glob: &[u8], text: &[u8]) -> bool {
    match (glob.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            obviously_matches(&glob[1..], text) || (!text.is_empty() && obviously_matches(glob, &text[1..]))
        }
        (Some(b'?'), Some(_)) => obviously_matches(&glob[1..], &text[1..]),
        (Some(g), Some(t)) if g == t => obviously_matches(&glob[1..], &text[1..]),
        _ => false,
    }
}

/// A piece of a pattern with the texts it stands for, made together so that neither is derived from the other's parser.
fn piece() -> impl Strategy<Value = (String, Vec<String>)> {
    prop_oneof![
        "[a-z][a-z0-9.-]{0,5}x".prop_map(|t| (t.clone(), vec![t])),
        (0_u32..200, 0_u32..30, 1_usize..5, 1_u32..6).prop_map(|(first, more, width, step)| {
            let low = format!("{first:0width$}");
            let all =
                (first..=first + more).step_by(step as usize).map(|n| format!("{n:0w$}", w = low.len())).collect();
            let high = format!("{:0w$}", first + more, w = low.len());
            let step = if step == 1 { String::new() } else { format!("/{step}") };
            (format!("[{low}-{high}{step}]"), all)
        }),
        proptest::collection::vec(prop_oneof!["[0-9]{1,4}", "[a-z]{1,3}"], 2..5)
            .prop_map(|words| (format!("[{}]", words.join(",")), words)),
        "[a-z0-9]{1,6}".prop_map(|class| (format!("[{class}]"), class.chars().map(String::from).collect())),
    ]
}

proptest! {
    #[test]
    fn expansion_is_the_product_of_its_pieces(pieces in proptest::collection::vec(piece(), 1..4)) {
        let text: String = std::iter::once("p").chain(pieces.iter().map(|(t, _)| t.as_str())).collect();
        let mut want = vec!["p".to_owned()];
        for (_, ends) in &pieces {
            want = want.iter().flat_map(|w| ends.iter().map(move |e| format!("{w}{e}"))).collect();
        }
        let Subject::Names(names) = parse(&text).unwrap().subject else { panic!() };
        prop_assert_eq!(names.count(), Some(want.len() as u128));
        prop_assert_eq!(names.expand(usize::MAX).unwrap(), want);
    }

    #[test]
    fn never_panics_and_never_yields_an_option(text in "\\PC{0,40}") {
        if let Ok(patterns) = parse_list(&text) {
            for pattern in patterns {
                if let Subject::Names(names) = pattern.subject {
                    for name in names.expand(1000).unwrap_or_default() {
                        prop_assert!(!name.starts_with('-'));
                    }
                }
            }
        }
    }

    #[test]
    fn brackets_of_any_text_do_not_panic(text in "[0-9a-c,/\\-\\[\\]@!:*%]{0,24}") {
        if let Ok(patterns) = parse_list(&text) {
            for pattern in patterns {
                if let Subject::Names(names) = pattern.subject {
                    let count = names.count();
                    if let Ok(all) = names.expand(1000) {
                        prop_assert_eq!(count, Some(all.len() as u128));
                    }
                }
            }
        }
    }

    #[test]
    fn glob_agrees_with_the_obvious_matcher(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        prop_assert_eq!(glob_matches(&glob, &text), obviously_matches(glob.as_bytes(), text.as_bytes()));
    }
}
