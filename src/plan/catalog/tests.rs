//! Tests of the catalog as a whole and of the form of a step.

use super::*;
use crate::plan::schema::How;

fn user(text: &str) -> Result<Catalog, CatalogError> {
    let table: toml::Table = text.parse().unwrap();
    Catalog::builtin().with_user_steps(&[(table, 12)])
}

#[test]
fn builtin_catalog_parses_and_is_not_empty() {
    let catalog = Catalog::parse_builtin().unwrap();
    assert_eq!(catalog, Catalog::builtin());
    assert!(catalog.steps().len() > 45, "{}", catalog.steps().len());
    for (name, _) in SCRIPTS {
        assert!(shipped(builtin_script(name).unwrap(), true).len() < 60_000, "{name}");
    }
}

#[test]
fn holds_every_row_of_the_evidence_table() {
    let catalog = Catalog::builtin();
    let files: Vec<&str> = catalog.steps().iter().map(|s| s.file.as_str()).collect();
    for file in [
        "host/ps.txt",
        "host/stuck.txt",
        "host/top-1.txt",
        "host/top-2.txt",
        "host/pstree.txt",
        "host/free.txt",
        "host/meminfo.txt",
        "host/vmstat.txt",
        "host/pressure.txt",
        "host/sar-cpu.txt",
        "host/iostat.txt",
        "host/iotop.txt",
        "host/df.txt",
        "host/df-inodes.txt",
        "host/mounts.txt",
        "host/limits.txt",
        "host/systemd.txt",
        "host/runc.txt",
        "host/dbus-cookie-1.txt",
        "host/dbus-cookie-2.txt",
        "kernel/dmesg.txt",
        "net/sockets.txt",
        "net/interfaces.txt",
        "net/routes.txt",
        "net/conntrack.txt",
        "cni/listing.txt",
        "cni/config.txt",
        "cni/errors.txt",
        "docker/ps.txt",
        "docker/stats.txt",
        "docker/pprof/goroutine-1.txt",
        "docker/pprof/goroutine-2.txt",
        "docker/stacks-found.txt",
        "containerd/stacks-found.txt",
        "docker/info.json",
        "docker/version.json",
        "docker/status.txt",
        "docker/fds.txt",
        "docker/daemon.json",
        "docker/journal.txt",
        "containerd/journal.txt",
        "containerd/status.txt",
        "cri/ps.txt",
        "cri/pods.txt",
        "cri/stats.txt",
        "cri/info.json",
        "cri/logs/control-plane.txt",
        "kubelet/status.txt",
        "kubelet/journal.txt",
        "kubelet/cmdline.txt",
        "docker/stacks/1.log",
        "docker/stacks/2.log",
        "containerd/stacks/1.log",
        "containerd/stacks/2.log",
        "containerd/shims.txt",
        "docker/journal-window.txt",
        "containerd/journal-window.txt",
        "kubelet/journal-window.txt",
    ] {
        assert!(files.contains(&file), "{file} is not collected");
    }
}

#[test]
fn scripts_have_nothing_that_dropping_comments_could_break() {
    for (name, text) in SCRIPTS {
        assert!(!text.contains("<<"), "{name} has a here-document");
        assert!(text.ends_with('\n') && text.starts_with("# "), "{name} needs an opening comment");
    }
}

#[test]
fn reads_a_step_of_the_user() {
    let catalog = user(
        "id = 'site/raid'\nabout = 'state of the controller'\ntimeout = '1m'\nmax-bytes = '1MiB'\nok-exit = [0, 1]\n\
         profiles = ['incident']\n[[try]]\nargv = ['storcli', '/c0', 'show']\n[[try]]\nscript = 'cat \"$1\"'\n\
         args = ['/proc/{kubelet.pid}/maps']\nneeds = ['cat']\n",
    )
    .unwrap();
    let step = catalog.get(&"site/raid".parse().unwrap()).unwrap();
    assert_eq!(step.file, "site/raid.txt");
    assert_eq!(step.bounds.max_bytes, 1 << 20);
    assert_eq!(step.bounds.timeout.as_secs(), 60);
    assert_eq!(step.ways.len(), 2);
    assert!(catalog.tools().contains("storcli"));
    assert!(catalog.markdown_table().contains("| `site/raid` | `storcli /c0 show`, else `a script` | before | 1m |"));
}

#[test]
fn refuses_a_bad_step_with_its_id_line_and_key() {
    let good = "id = 'site/x'\nabout = 'x'\n";
    let run = "[[try]]\nargv = ['true']\n";
    for (text, want) in [
        (format!("{good}argv = ['true']\n{run}"), "key `argv` belongs under [[step.try]]"),
        (format!("{good}timeot = '5s'\n{run}"), "key `timeot` is unknown; did you mean \"timeout\"?"),
        (format!("{good}[[try]]\nargvv = ['true']\n"), "key `try.argvv` is unknown; did you mean \"argv\"?"),
        (format!("about = 'x'\n{run}"), "key `id` is missing"),
        (format!("id = 'Host/ps'\nabout = 'x'\n{run}"), "key `id`: invalid step id"),
        (format!("id = 'host/ps'\nabout = 'x'\n{run}"), "host/ps is already a step of the built-in catalog host.toml"),
        (format!("id = 'node/x'\nabout = 'x'\n{run}"), "the area \"node\" is kept"),
        (format!("{good}file = '../x'\n{run}"), "key `file`"),
        (format!("{good}file = 'site/../../x'\n{run}"), "key `file`"),
        (format!("{good}file = 'docker/ps.txt'\n{run}"), "key `file`"),
        (format!("id = 'host/mine'\nabout = 'x'\nfile = 'host/PS.txt'\n{run}"), "host/ps.txt is taken by step host/ps"),
        (format!("id = 'host/mine'\nabout = 'x'\nfile = 'host/ps.txt/a'\n{run}"), "is taken by step host/ps"),
        (format!("{good}timeout = '5'\n{run}"), "key `timeout`: \"5\" is no duration"),
        (format!("{good}timeout = '1h'\n{run}"), "key `timeout`: 1h is outside 1s to 10m"),
        (format!("{good}max-bytes = 'many'\n{run}"), "key `max-bytes`: \"many\" is no size"),
        (format!("{good}max-bytes = '2TB'\n{run}"), "key `max-bytes`: 2TB is outside"),
        (format!("{good}phase = 'bevore'\n{run}"), "key `phase`: \"bevore\" is none of before, during, after"),
        (format!("{good}requires = ['doker']\n{run}"), "no capability \"doker\"; did you mean \"dockerd\"?"),
        (format!("{good}profiles = []\n{run}"), "key `profiles` is empty"),
        (format!("{good}ok-exit = [256]\n{run}"), "key `ok-exit`"),
        (format!("{good}heavy = 1\n{run}"), "key `heavy` must be true or false"),
        (good.to_owned(), "there is no [[step.try]]"),
        (format!("{good}[[try]]\nargv = []\n"), "key `try.argv` must begin with"),
        (format!("{good}[[try]]\nargv = ['{{dockerd.pid}}']\n"), "key `try.argv` must begin with"),
        (
            format!("{good}[[try]]\nargv = ['ls', '{{dockerd.pit}}']\n"),
            "no placeholder {dockerd.pit}; did you mean \"dockerd.pid\"?",
        ),
        (format!("{good}[[try]]\nscript = 'kill {{dockerd.pid}}'\n"), "put it into `args`"),
        (format!("{good}[[try]]\nscript-file = 'stuck.sh'\n"), "is for built-in steps"),
        (format!("{good}[[try]]\nread = ['etc/passwd']\n"), "is not an absolute path"),
        (format!("{good}[[try]]\nargv = ['a']\nread = ['/b']\n"), "exactly one of"),
        (format!("{good}[[try]]\nargv = ['a']\nargs = ['/b']\n"), "exactly one of"),
        (format!("{good}[[try]]\nargv = ['a']\nneeds = ['a b']\n"), "key `try.needs`"),
        (format!("{good}made-by = 'stack-dump'\n"), "key `made-by` is for built-in steps"),
        (format!("{good}made-by = 'stack-dump'\n{run}"), "key `made-by` is for built-in steps"),
    ] {
        let error = user(&text).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(want), "{text}\n-> {shown}");
        assert!(shown.contains("inventory line 12"), "{shown}");
        let id = if text.starts_with("about") { "without id" } else { error.step.as_str() };
        assert!(shown.contains(id) && !id.is_empty(), "{shown}");
    }
}

#[test]
fn names_the_nearest_steps() {
    let catalog = Catalog::builtin();
    assert_eq!(catalog.nearest("host/pss").first(), Some(&"host/ps"));
    assert!(catalog.nearest("dcoker").contains(&"docker"));
    assert!(catalog.nearest("ps").contains(&"host/ps"));
    assert!(catalog.nearest(&"x".repeat(100_000)).is_empty());
}

#[test]
fn top_has_no_home_to_leave_its_directory_in() {
    let catalog = Catalog::builtin();
    for step in catalog.steps() {
        for way in &step.ways {
            if let How::Argv(argv) = &way.how
                && argv.iter().any(|word| word.literal() == Some("top"))
            {
                let words: Vec<String> = argv.iter().map(|word| word.source()).collect();
                assert!(
                    words.starts_with(&["env", "HOME=/proc", "XDG_CONFIG_HOME=/proc"].map(str::to_owned)),
                    "{words:?}"
                );
            }
        }
    }
}
