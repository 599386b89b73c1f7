//! Tests of marking and fetching: the scripts run on this machine with files, and with a journalctl of the test's own.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::*;
use crate::session::StdStream;

/// Runs scripts here, by one of the shells, with `bin` in front of the search path.
struct Here {
    shell: &'static [&'static str],
    bin: String,
}

impl Shell for Here {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _encoding: Encoding,
        sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        Box::pin(async move {
            // The scripts put the system's directories in front; the test's own must come before those.
            let text = script.text.replace("PATH=\"", &format!("PATH=\"{}:", self.bin));
            let [program, options @ ..] = self.shell else { panic!() };
            let output = Command::new(program).args(options).arg("-c").arg(text).arg("sh").args(args).output().unwrap();
            let mut answer = Answer { status: output.status.code().unwrap(), out: output.stdout, err: output.stderr };
            if let Some(sink) = sink {
                let _on = sink.write(StdStream::Out, Bytes::from(std::mem::take(&mut answer.out))).await;
            }
            Ok(answer)
        })
    }
}

fn put(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(text.as_ref()).unwrap();
}

#[derive(Default)]
struct Text(Vec<u8>);

impl Sink for Text {
    fn write<'a>(&'a mut self, _stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        self.0.extend_from_slice(&chunk);
        Box::pin(std::future::ready(ControlFlow::Continue(())))
    }
}

fn shells(bin: &Path) -> Vec<Here> {
    let all: [&[&str]; 3] = [&["/bin/sh"], &["/bin/dash"], &["/bin/busybox", "sh"]];
    all.into_iter()
        .filter(|shell| Path::new(shell[0]).exists())
        .map(|shell| Here { shell, bin: bin.display().to_string() })
        .collect()
}

const BOUNDS: Bounds =
    Bounds { timeout: Duration::from_secs(20), grace: Duration::from_secs(2), max_bytes: 64_000_000 };

async fn window(shell: &Here, cursors: &Cursors, which: LogOf) -> (WindowEnd, String) {
    let mut text = Text::default();
    let end = fetch(shell, cursors, which, &BOUNDS, Encoding::Plain, &mut text).await;
    (end, String::from_utf8(text.0).unwrap())
}

fn facts(journal: bool) -> NodeFacts {
    let unit = |unit: &str| Some(Daemon { unit: Some(unit.to_owned()), ..Daemon::default() });
    NodeFacts {
        dockerd: unit("docker.service"),
        containerd: Some(Daemon::default()),
        kubelet: unit("--evil.service"),
        journal,
        tools: [("journalctl".to_owned(), "/usr/bin/journalctl".to_owned())].into(),
        systemd_version: Some(252),
        ..NodeFacts::default()
    }
}

fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn of_files_comes_what_was_added_and_what_rotation_moved_away() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells(dir.path()) {
        let log = |name: &str| dir.path().join(name);
        for name in ["grown", "same", "rotated", "rotated.1", "emptied", "new"] {
            drop(std::fs::remove_file(log(name)));
        }
        for name in ["grown", "same", "rotated", "emptied"] {
            append(&log(name), "old line 1\nold line 2\n");
        }
        let names = ["grown", "same", "rotated", "emptied", "new", "never"];
        let files: Vec<String> = names.iter().map(|n| log(n).display().to_string()).collect();
        let mut facts = facts(true);
        facts.files.insert(files[0].clone(), true);
        let logs = LogFiles { docker: files, ..LogFiles::default() };
        let cursors = mark(&shell, &facts, &logs).await;
        append(&log("grown"), "in the window\nand more\n");
        append(&log("rotated"), "before rotation\n");
        std::fs::rename(log("rotated"), log("rotated.1")).unwrap();
        append(&log("rotated"), "after rotation\n");
        std::fs::File::create(log("emptied")).unwrap();
        append(&log("emptied"), "after emptying\n");
        append(&log("new"), "new file\n");
        let (end, text) = window(&shell, &cursors, LogOf::Docker).await;
        assert_eq!(end, WindowEnd::Complete);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("==>")).collect();
        let want = ["in the window", "and more", "before rotation", "after rotation", "after emptying", "new file"];
        assert_eq!(lines, want, "{:?}", shell.shell);
        assert!(cursors.command(LogOf::Docker).contains("grown from byte 22"), "{}", cursors.command(LogOf::Docker));
    }
}

#[tokio::test]
async fn a_node_without_any_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells(dir.path()) {
        let mut cursors = mark(&shell, &facts(false), &LogFiles::default()).await;
        let gone = FileMark { path: dir.path().join("gone").display().to_string(), end: None, shared: false };
        cursors.places.insert(LogOf::Docker, Place::Files(vec![gone]));
        let (end, _) = window(&shell, &cursors, LogOf::Docker).await;
        assert_eq!(end, WindowEnd::Absent("no log file was found".to_owned()));
    }
}

/// A journalctl that knows of one unit with lines numbered from 1, and what `--after-cursor` really does.
fn journalctl(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let text = r#"#!/bin/sh
log=$(dirname "$0")/entries
from= after= lines=99999 export= unit= driver=
while [ $# -gt 0 ]; do
  case $1 in
    -n) lines=$2; shift ;;
    -u) unit=$2; shift ;;
    -o) [ "$2" != export ] || export=1; shift ;;
    --cursor=*) from=${1#*i=} ;;
    --after-cursor=*) after=${1#*i=} ;;
    _TRANSPORT=driver) driver=1 ;;
  esac
  shift
done
[ -z "$driver" ] || { cat "$(dirname "$0")/driver"; exit 0; }
[ "$unit" = docker.service ] || exit 0
if [ -n "$from$after" ]; then
  awk -v f="${from:-$after}" -v s="${after:+1}" -v e="$export" -v n="$lines" \
    '$1 >= f { if (s) { s = ""; next } if (n-- > 0) print (e ? "__CURSOR=s=a;i=" $1 : "line " $1) }' "$log"
elif [ -n "$export" ]; then
  tail -n "$lines" "$log" | awk '{ print "__CURSOR=s=a;i=" $1; print "MESSAGE=x"; print "__CURSOR=s=a;i=9" }'
else
  awk '{ print "line " $1 }' "$log"
fi
"#;
    let path = dir.join("journalctl");
    put(&path, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn of_a_journal_no_line_is_lost_at_the_beginning_of_the_window() {
    let dir = tempfile::tempdir().unwrap();
    journalctl(dir.path());
    let entries = dir.path().join("entries");
    for shell in shells(dir.path()) {
        // Entries before the mark, entries after it, whether those before it have been vacuumed meanwhile.
        for (before, added, vacuumed) in
            [(0, 1, false), (0, 5, false), (3, 0, false), (3, 1, false), (3, 40, false), (3, 1, true), (3, 2, true)]
        {
            let numbers = |range: std::ops::RangeInclusive<usize>| range.map(|n| format!("{n}\n")).collect::<String>();
            put(&entries, numbers(1..=before));
            let cursors = mark(&shell, &facts(true), &LogFiles::default()).await;
            assert!(cursors.at.is_some_and(|at| at > 1_700_000_000));
            put(&entries, numbers(if vacuumed { before + 1 } else { 1 }..=before + added));
            let (end, text) = window(&shell, &cursors, LogOf::Docker).await;
            assert_eq!(end, WindowEnd::Complete);
            let want: String = (before + 1..=before + added).map(|n| format!("line {n}\n")).collect();
            assert_eq!(text, want, "{before} {added} {vacuumed} {:?}", shell.shell);
        }
    }
}

#[tokio::test]
async fn dropped_lines_of_the_units_are_counted_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    journalctl(dir.path());
    put(dir.path().join("entries"), "1\n");
    put(
        dir.path().join("driver"),
        "Suppressed 37500 messages from docker.service\nSuppressed 7 messages from /system.slice/docker.service\n\
         Suppressed 5 messages from other.service\nSuppressed x messages from docker.service\nJournal started\n",
    );
    for shell in shells(dir.path()) {
        let cursors = mark(&shell, &facts(true), &LogFiles::default()).await;
        assert_eq!(suppressed(&shell, &cursors).await, Some(37_507));
    }
}

#[tokio::test]
async fn a_daemon_without_a_unit_of_its_own_has_no_window_and_no_option_is_taken_for_a_unit() {
    let dir = tempfile::tempdir().unwrap();
    journalctl(dir.path());
    put(dir.path().join("entries"), "1\n");
    for shell in shells(dir.path()) {
        let cursors = mark(&shell, &facts(true), &LogFiles::default()).await;
        for (which, want) in [(LogOf::Containerd, "in dockerd's log"), (LogOf::Kubelet, "no systemd unit")] {
            let (end, _) = window(&shell, &cursors, which).await;
            assert!(matches!(&end, WindowEnd::Absent(why) if why.contains(want)), "{end:?}");
        }
        assert_eq!(cursors.units(), ["docker.service"]);
    }
}

#[test]
fn a_node_cannot_pass_off_anything_as_a_mark() {
    let journal = || Place::Journal { unit: "docker.service".to_owned(), cursor: None, format: "short-iso" };
    let mut places = BTreeMap::from([(LogOf::Docker, journal()), (LogOf::Kubelet, Place::Nowhere("no".to_owned()))]);
    let long = format!("cursor docker {}", "a".repeat(301));
    for line in
        ["cursor docker $(id)", "cursor docker a b", "cursor docker", &long, "cursor kubelet s=1", "file docker 1 2"]
    {
        read_marks(line, &mut places);
        assert_eq!(places[&LogOf::Docker], journal(), "{line}");
    }
    assert_eq!(read_marks("now x\nnow 17\ncursor docker s=1;i=2", &mut places), Some(17));
    assert!(matches!(&places[&LogOf::Docker], Place::Journal { cursor: Some(c), .. } if c == "s=1;i=2"));
}
