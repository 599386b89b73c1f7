//! Flags of kubelets: merged with the inventory, refused, and told to another command.

#![expect(clippy::disallowed_methods, reason = "test files need not survive a crash")]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Only {
    #[command(flatten)]
    kubelet: KubeletArgs,
}

fn parse(line: &str) -> KubeletArgs {
    Only::try_parse_from(line.split(' ')).unwrap().kubelet
}

fn inventory(text: &str) -> Inventory {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.toml");
    std::fs::write(&path, text).unwrap();
    Inventory::load(&path, None).unwrap()
}

#[test]
fn a_credential_of_the_flags_replaces_the_inventory_s_as_a_whole_and_all_else_one_by_one() {
    let inventory = inventory(
        "[kubelet]\ntoken-env = \"T\"\nclient-certificate = \"/c\"\nclient-key = \"/k\"\nca = \"/ca\"\nport = 1\n\
         via = \"curl\"\ncpu-profile = 9\naddress = \"10.0.0.1\"\n",
    );
    let settings = parse("x").settings(Some(&inventory));
    assert_eq!(settings, inventory.kubelet);
    let settings = parse("x --kubelet-token-file /t --kubelet-port 2").settings(Some(&inventory));
    assert_eq!((settings.token, settings.client), (Some(TokenFrom::File("/t".into())), None));
    assert_eq!((settings.port, settings.via, settings.cpu_profile), (Some(2), Some(KubeletVia::Curl), Some(9)));
    assert_eq!((settings.trust, settings.address.as_deref()), (Some(TrustFrom::Ca("/ca".into())), Some("10.0.0.1")));
    let settings = parse("x --kubelet-client-cert /c2 --kubelet-client-key /k2 --kubelet-insecure --cpu-profile 0")
        .settings(Some(&inventory));
    assert_eq!((settings.token, settings.client), (None, Some(("/c2".into(), "/k2".into()))));
    assert_eq!((settings.trust, settings.cpu_profile), (Some(TrustFrom::Insecure), Some(0)));
    for (line, want) in
        [("x --kubelet-pins /p", TrustFrom::Pins(Some("/p".into()))), ("x --kubelet-ca /o", TrustFrom::Ca("/o".into()))]
    {
        assert_eq!(parse(line).settings(Some(&inventory)).trust, Some(want), "{line}");
    }
    assert_eq!(parse("x").settings(None), KubeletSettings::default());
}

#[test]
fn flags_that_contradict_each_other_or_are_out_of_range_are_refused() {
    for line in [
        "x --kubelet-token-file /t --kubelet-token-env T",
        "x --kubelet-token-command c --kubelet-kubeconfig",
        "x --kubelet-ca /c --kubelet-insecure",
        "x --kubelet-ca /c --kubelet-pins /p",
        "x --kubelet-client-cert /c",
        "x --kubelet-client-key /k",
        "x --kubelet-port 0",
        "x --kubelet-port 65536",
        "x --cpu-profile 61",
        "x --cpu-profile -1",
        "x --kubelet-via ssh",
    ] {
        assert!(Only::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn the_way_to_kubelets_can_be_given_to_another_command_and_holds_no_text_of_a_token_command() {
    for (line, want) in [
        ("x", ""),
        (
            "x --kubelet-token-file /t --kubelet-via api-server --cpu-profile 3",
            "--kubelet-token-file /t --kubelet-via api-server",
        ),
        (
            "x --kubelet-client-cert /c --kubelet-client-key /it's --kubelet-port 1 --kubelet-insecure",
            r"--kubelet-client-cert /c --kubelet-client-key '/it'\''s' --kubelet-port 1 --kubelet-insecure",
        ),
        ("x --kubelet-kubeconfig --kubelet-pins /p", "--kubelet-pins /p --kubelet-kubeconfig"),
        (
            "x --kubelet-token-command s3cret --kubelet-ca /ca",
            "--kubelet-token-command \"${KUBELET_LOGIN:?set it to the command of the run}\" --kubelet-ca /ca",
        ),
    ] {
        assert_eq!(parse(line).way(), want, "{line}");
        // As it is recorded.
        let redactor = crate::cli::identity::redactor(None).unwrap();
        assert_eq!(redactor.text(&parse(line).way()), want, "{line}");
    }
    let way = parse("x --kubelet-token-command c").way();
    let run = |prefix: &str| {
        let script = format!("{prefix} printf '%s|' {way}");
        std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
    };
    assert_eq!(run("KUBELET_LOGIN='get it';").stdout, b"--kubelet-token-command|get it|");
    let refused = run("unset KUBELET_LOGIN;");
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("set it to the command of the run"));
}

#[test]
fn what_cannot_be_of_use_is_refused_before_anything_is_contacted() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "abcdefgh-token\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (at, token) = (dir.path().display(), token.display());
    let on_secret: OnSecret = Arc::new(|_: &str| {});
    for (flags, code, want) in [
        (format!("--kubelet-pins {at}"), 3, "is no plain file to keep kubelets' keys in"),
        (format!("--kubelet-pins {token}"), 3, "cannot be used"),
        (format!("--kubelet-ca {token}"), 3, "holds no certificate in PEM form"),
        (format!("--kubelet-ca {at}"), 3, "is no plain file"),
        ("--kubelet-via api-server".to_owned(), 2, "through the API server, and none is named"),
    ] {
        let args = parse(&format!("x --kubelet-token-file {token} {flags}"));
        let error = args.access(None, None, &on_secret).err().unwrap();
        assert!(error.code == code && error.text.contains(want), "{flags}: {error:?}");
    }
    let args = parse(&format!("x --kubelet-token-file {token} --kubelet-pins {at}/new"));
    assert!(args.access(None, None, &on_secret).is_ok(), "written at the first use");
}

#[test]
fn a_verbosity_nobody_can_set_is_refused_on_the_command_line_and_told_of_the_inventory() {
    use crate::cli::change_args::ChangeArgs;

    let changes = ChangeArgs { kubelet_verbosity: Some(4), ..ChangeArgs::default() };
    let error = parse("x").selection(None, &changes).unwrap_err();
    assert_eq!((error.code, error.text.as_str()), (2, "--kubelet-verbosity needs a credential for kubelets"));
    assert!(parse("x --kubelet-token-file /t").selection(None, &changes).is_ok());

    for flag in ["--kubelet-ca /c", "--kubelet-insecure", "--kubelet-via curl", "--kubelet-port 1", "--cpu-profile 9"] {
        let (none, some) = (parse(&format!("x {flag}")), parse(&format!("x {flag} --kubelet-token-env T")));
        let error = none.selection(None, &ChangeArgs::default()).unwrap_err();
        let name = flag.split(' ').next().unwrap();
        assert_eq!((error.code, error.text), (2, format!("{name} has no effect without a credential for kubelets")));
        assert!(some.selection(None, &ChangeArgs::default()).is_ok());
    }

    let policy = ChangePolicy { kubelet_verbosity: Some(4), ..ChangePolicy::default() };
    assert!(parse("x").in_vain(None, &policy).unwrap().starts_with("kubelet-verbosity = 4 of the inventory has no"));
    assert_eq!(parse("x --kubelet-token-env T").in_vain(None, &policy), None);
    assert_eq!(parse("x").in_vain(None, &ChangePolicy { read_only: true, ..policy }), None);
    assert_eq!(parse("x").in_vain(None, &ChangePolicy::default()), None);
}
