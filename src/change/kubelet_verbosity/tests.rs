//! The contract against a kubelet of the test's own, with the scripts run on this machine in every shell there is.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::change::recover::{repair_verbosity, survey_verbosity};
use crate::change::{Answer, Permit, Script};
use crate::plan::Encoding;
use crate::plan::facts::{Daemon, ShellFacts};
use crate::session::Sink;

/// Runs scripts here.
struct Here(&'static [&'static str]);

impl Shell for Here {
    fn run<'a>(
        &'a self,
        script: &'a Script,
        args: &'a [String],
        _encoding: Encoding,
        _sink: Option<&'a mut dyn Sink>,
    ) -> BoxFuture<'a, Result<Answer, ShellError>> {
        let mut command = Command::new(self.0[0]);
        let output = command.args(&self.0[1..]).arg("-c").arg(script.text).arg("sh").args(args).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(err.is_empty(), "{:?} {args:?}: {err}", self.0);
        let answer = Answer { status: output.status.code().unwrap(), out: output.stdout, err: output.stderr };
        Box::pin(std::future::ready(Ok(answer)))
    }
}

fn shells() -> Vec<Here> {
    let all: [&[&str]; 4] = [&["/bin/sh"], &["/bin/dash"], &["/bin/busybox", "sh"], &["/bin/bash", "--posix"]];
    all.into_iter().filter(|shell| Path::new(shell[0]).exists()).map(Here).collect()
}

/// How a PUT ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// As kubelet 1.36.2 answers, or 1.21.1.
    Set(&'static str),
    /// Refused before anything was done.
    Refused(&'static str),
    /// Done, and the answer is lost.
    Unanswered,
    /// 200 with something else.
    Odd,
}

/// A kubelet: its level, what it was asked, and how its next PUTs end.
struct Fake {
    configz: Result<&'static str, &'static str>,
    level: Mutex<u32>,
    asked: Mutex<Vec<String>>,
    ends: Mutex<Vec<End>>,
}

const NEW: &str = r#"{"kubeletconfig":{"logging":{"verbosity":2}}}"#;
const SET: End = End::Set("");
const NO_RIGHT: &str =
    "PUT /debug/flags/v: 403 Forbidden (user=x, verb=update, resource=nodes, subresource(s)=[proxy])";

impl Fake {
    fn new(ends: &[End]) -> Self {
        let ends = ends.iter().rev().copied().collect();
        Self { configz: Ok(NEW), level: Mutex::new(2), asked: Mutex::default(), ends: Mutex::new(ends) }
    }

    fn level(&self) -> u32 {
        *self.level.lock().unwrap()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap()
    }
}

impl Verbosity for Fake {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        self.asked().push(format!("GET {path}"));
        Box::pin(std::future::ready(self.configz.map(|t| t.as_bytes().to_vec()).map_err(str::to_owned)))
    }

    fn put(&self, level: u32) -> BoxFuture<'_, Result<Vec<u8>, PutError>> {
        self.asked().push(format!("PUT {level}"));
        let end = self.ends.lock().unwrap().pop().unwrap_or(SET);
        if !matches!(end, End::Refused(_)) {
            *self.level.lock().unwrap() = level;
        }
        Box::pin(std::future::ready(match end {
            End::Set(behind) => Ok(format!("successfully set klog.logging.verbosity to {level}{behind}").into_bytes()),
            End::Refused(text) => Err(PutError { text: text.to_owned(), sent: false }),
            End::Unanswered => Err(PutError { text: "the answer was lost".to_owned(), sent: true }),
            End::Odd => Ok(b"ok".to_vec()),
        }))
    }
}

/// A process that stands for the kubelet.
struct Process(std::process::Child);

impl Process {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn facts(&self) -> NodeFacts {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let kubelet = Daemon {
            pid: Some(self.0.id()),
            start_ticks: Some(start),
            cmdline: vec!["kubelet".to_owned()],
            ..Daemon::default()
        };
        NodeFacts {
            boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned(),
            shell: ShellFacts { rights: Rights::Root, ..ShellFacts::default() },
            kubelet: Some(kubelet),
            ..NodeFacts::default()
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn policy(level: u8) -> ChangePolicy {
    ChangePolicy { kubelet_verbosity: Some(level), ..ChangePolicy::default() }
}

fn operator(run: &str) -> Operator {
    Operator { run_id: run.to_owned(), who: "kim@laptop".to_owned(), node: "n1".to_owned() }
}

fn place(dir: &tempfile::TempDir) -> NotePlace {
    NotePlace(dir.path().join("kubelet").display().to_string())
}

async fn try_raise(
    shell: &Here,
    fake: &dyn Verbosity,
    facts: &NodeFacts,
    place: &NotePlace,
    run: &str,
) -> Result<Raised, Box<ChangeRecord>> {
    let policy = policy(4);
    let prepared = prepare(fake, facts, &policy).await?;
    let permit = Permit::of(&policy, ChangeId::KubeletVerbosity).unwrap();
    let operator = operator(run);
    let mend = "plegcollect revert --nodes n1 --flags".to_owned();
    let terms = Terms { operator: &operator, mend, window: policy.window, place: place.clone() };
    raise(shell, fake, prepared, permit, &terms).await
}

#[tokio::test]
async fn it_is_raised_under_a_note_and_put_back_without_one() {
    for shell in shells() {
        for behind in ["", "\n"] {
            let (dir, process, fake) =
                (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[End::Set(behind); 2]));
            let place = place(&dir);
            let raised = try_raise(&shell, &fake, &process.facts(), &place, "r1").await.unwrap();
            assert_eq!(fake.level(), 4);
            let note = std::fs::read_to_string(format!("{}/note", place.0)).unwrap();
            for line in ["run=r1", "who=kim@laptop", "node=n1", "prior=2", "level=4", "version=1"] {
                assert!(note.lines().any(|l| l == line), "{line}: {note}");
            }
            let until: u64 = note.lines().find_map(|l| l.strip_prefix("until=")).unwrap().parse().unwrap();
            assert!(until > 260, "{note}");
            let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!((mode(&place.0), mode(&format!("{}/note", place.0))), (0o700, 0o600));
            assert_eq!(std::fs::read_dir(&place.0).unwrap().count(), 1, "nothing half made is left");

            let record = raised.lower(&shell, &fake).await;
            assert_eq!(record.state, ChangeState::Reverted, "{record:?}");
            assert_eq!((record.before["level"].as_str(), record.after["level"].as_str()), ("2", "2"));
            assert!(
                record.text.ends_with("put back to 2") && record.remains[0].contains("somebody else"),
                "{record:?}"
            );
            assert_eq!(*fake.asked(), ["GET /configz", "PUT 4", "PUT 2"]);
            assert!(!Path::new(&place.0).exists());
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_where_it_may_not_be_raised() {
    let process = Process::new();
    let known = process.facts();
    let mut no_root = known.clone();
    no_root.shell.rights = Rights::None;
    let mut no_pid = known.clone();
    no_pid.kubelet.as_mut().unwrap().start_ticks = None;
    let mut other = known.clone();
    other.kubelet.as_mut().unwrap().cmdline.push("--v=3".to_owned());
    let refused = ChangeState::Refused;
    for (facts, configz, level, state, part) in [
        (&known, Err("403"), 4, refused, "the level before is unknown: /configz was not read (403)"),
        (&known, Ok("<html>"), 4, refused, "not JSON"),
        (&other, Ok(NEW), 4, refused, "/configz says 2 and the command line says 3"),
        (&no_root, Ok(NEW), 4, refused, "root's rights"),
        (&no_pid, Ok(NEW), 4, refused, "which process"),
        (&known, Ok(NEW), 2, ChangeState::Skipped, "logs at level 2 already"),
        (&known, Ok(NEW), 1, ChangeState::Skipped, "never lowered"),
    ] {
        let fake = Fake { configz, ..Fake::new(&[]) };
        let record = prepare(&fake, facts, &policy(level)).await.unwrap_err();
        assert!(record.state == state && record.text.contains(part), "{part}: {record:?}");
        assert!(fake.asked().iter().all(|asked| asked.starts_with("GET")), "{part}");
    }
    let record = prepare(&Fake::new(&[]), &known, &ChangePolicy::default()).await.unwrap_err();
    assert_eq!(record.state, ChangeState::Skipped);
}

#[tokio::test]
async fn a_refused_put_leaves_nothing() {
    for shell in shells() {
        for (text, part) in [
            (NO_RIGHT, "needs the rule: update nodes/proxy"),
            ("PUT: 405 flags endpoint is disabled.", "enableDebugFlagsHandler"),
            ("PUT: 404", "enableDebugFlagsHandler"),
        ] {
            let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[End::Refused(text)]));
            let record = try_raise(&shell, &fake, &process.facts(), &place(&dir), "r1").await.unwrap_err();
            assert!(record.state == ChangeState::Refused && record.text.contains(part), "{record:?}");
            assert!(record.remains.is_empty() && record.applied.is_none());
            assert!(fake.level() == 2 && !Path::new(&place(&dir).0).exists());
        }
    }
}

#[tokio::test]
async fn a_put_without_proof_is_put_back_at_once() {
    let shell = &shells()[0];
    for end in [End::Unanswered, End::Odd] {
        let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[end]));
        let record = try_raise(shell, &fake, &process.facts(), &place(&dir), "r1").await.unwrap_err();
        assert_eq!(record.state, ChangeState::Reverted, "{record:?}");
        assert!(record.text.starts_with("it was not seen to be raised (") && fake.level() == 2, "{record:?}");
        assert!(!Path::new(&place(&dir).0).exists());
    }
}

#[tokio::test(start_paused = true)]
async fn a_level_that_cannot_be_put_back_is_told_with_the_command_and_its_note_stays() {
    let shell = &shells()[0];
    let no = End::Refused("PUT: 401 Unauthorized");
    let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[SET, no, no, no]));
    let raised = try_raise(shell, &fake, &process.facts(), &place(&dir), "r1").await.unwrap();
    let record = raised.lower(shell, &fake).await;
    assert_eq!(record.state, ChangeState::StillChanged);
    assert!(record.text.contains("may still log at level 4 instead of 2") && record.text.contains("401"), "{record:?}");
    assert_eq!(record.mend.as_deref(), Some("plegcollect revert --nodes n1 --flags"));
    assert!(Path::new(&format!("{}/note", place(&dir).0)).exists() && fake.level() == 4);
    // A passing trouble is not the end.
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new(&[SET, no, End::Unanswered, SET]));
    let raised = try_raise(shell, &fake, &process.facts(), &place(&dir), "r1").await.unwrap();
    assert_eq!(raised.lower(shell, &fake).await.state, ChangeState::Reverted);
}

#[tokio::test]
async fn a_kubelet_that_was_restarted_is_left_as_it_started() {
    for shell in shells() {
        let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[]));
        let facts = process.facts();
        let raised = try_raise(&shell, &fake, &facts, &place(&dir), "r1").await.unwrap();
        drop(process);
        let record = raised.lower(&shell, &fake).await;
        assert_eq!(record.state, ChangeState::EndedByRestart, "{record:?}");
        assert_eq!(*fake.asked(), ["GET /configz", "PUT 4"]);
        assert!(!Path::new(&place(&dir).0).exists());
        // And before: it is not the one whose level was read.
        let record = try_raise(&shell, &fake, &facts, &place(&dir), "r1").await.unwrap_err();
        assert!(record.state == ChangeState::Refused && record.text.contains("another process"), "{record:?}");
        assert!(!Path::new(&place(&dir).0).exists());
    }
}

/// A kubelet that is started anew at the first PUT, which the new one gets.
struct Restarting(Fake, Mutex<Option<Process>>);

impl Verbosity for Restarting {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<u8>, String>> {
        self.0.read(path)
    }

    fn put(&self, level: u32) -> BoxFuture<'_, Result<Vec<u8>, PutError>> {
        drop(self.1.lock().unwrap().take());
        self.0.put(level)
    }
}

#[tokio::test]
async fn a_kubelet_that_was_started_just_before_the_put_gets_its_level_back() {
    for shell in shells() {
        let (dir, process) = (tempfile::tempdir().unwrap(), Process::new());
        let facts = process.facts();
        let kubelet = Restarting(Fake::new(&[]), Mutex::new(Some(process)));
        let record = try_raise(&shell, &kubelet, &facts, &place(&dir), "r1").await.unwrap_err();
        assert_eq!(record.state, ChangeState::EndedByRestart, "{record:?}");
        assert_eq!(*kubelet.0.asked(), ["GET /configz", "PUT 4", "PUT 2"]);
        assert!(kubelet.0.level() == 2 && !Path::new(&place(&dir).0).exists());
    }
}

#[tokio::test]
async fn what_would_add_a_line_to_a_note_is_not_taken() {
    let (shell, process, dir) = (&shells()[0], Process::new(), tempfile::tempdir().unwrap());
    let facts = process.facts();
    let daemon = facts.kubelet.as_ref().unwrap();
    let process = KubeletProcess {
        pid: daemon.pid.unwrap(),
        start_ticks: daemon.start_ticks.unwrap(),
        boot_id: facts.boot_id.clone(),
    };
    for (run, who) in [("r1", "kim\nprior=9"), ("r1", "kim\u{1b}[2J"), ("r1\nprior=9", "kim")] {
        let left = note::leave(shell, &place(&dir), &process, 5, run, &[("who", who.to_owned())]).await.unwrap();
        assert!(matches!(&left, note::Left::Not(why) if why.contains("characters that are not taken")), "{run} {who}");
        assert!(!Path::new(&place(&dir).0).exists());
    }
}

#[tokio::test]
async fn somebody_else_s_note_is_respected_and_told_by_its_age() {
    for shell in shells() {
        let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[]));
        let (facts, place) = (process.facts(), place(&dir));
        let first = try_raise(&shell, &fake, &facts, &place, "r1").await.unwrap();
        let record = try_raise(&shell, &fake, &facts, &place, "r2").await.unwrap_err();
        assert!(record.text.contains("kim@laptop since ") && record.text.contains("expects to be done"), "{record:?}");
        let file = format!("{}/note", place.0);
        let old = std::fs::read_to_string(&file).unwrap();
        let old: String = old.lines().filter(|l| !l.starts_with("until=")).map(|l| format!("{l}\n")).collect();
        put(&file, &format!("{old}until=1\n"));
        let record = try_raise(&shell, &fake, &facts, &place, "r2").await.unwrap_err();
        assert!(
            record.text.ends_with("has not put it back: first run plegcollect revert --nodes n1 --flags"),
            "{record:?}"
        );
        assert!(Path::new(&file).exists(), "a refused run removes nobody's note");
        // Somebody has removed ours and left his own meanwhile: the level is put back, his note stays.
        put(&file, &old.replace("run=r1", "run=r9"));
        let record = first.lower(&shell, &fake).await;
        assert!(record.state == ChangeState::Reverted && record.warnings[0].contains("run r9"), "{record:?}");
        assert!(Path::new(&file).exists() && fake.level() == 2);
    }
}

fn put(path: impl AsRef<Path>, text: &str) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_neither_used_nor_removed() {
    let process = Process::new();
    let facts = process.facts();
    for shell in shells() {
        let fake = Fake::new(&[]);
        let make: [(Make, &str); 5] = [
            (&|d| symlink("/tmp", d).unwrap(), "is a symbolic link"),
            (&|d| put(d, ""), "is not a directory"),
            (&|d| with_mode(d, 0o755), "has the mode 755"),
            (
                &|d| {
                    with_mode(d, 0o700);
                    symlink("/etc/passwd", d.join("note")).unwrap();
                },
                "note is a symbolic link",
            ),
            (
                &|d| {
                    with_mode(d, 0o700);
                    with_mode(&d.join("note"), 0o700);
                },
                "note is not a file",
            ),
        ];
        for (make, part) in make {
            let dir = tempfile::tempdir().unwrap();
            make(&dir.path().join("kubelet"));
            let record = try_raise(&shell, &fake, &facts, &place(&dir), "r1").await.unwrap_err();
            assert!(record.state == ChangeState::Refused && record.text.contains(part), "{part}: {record:?}");
            let found = survey_verbosity(&shell, &place(&dir)).await.unwrap();
            assert!(!found.clean() && found.sentences()[0].contains(part), "{part}: {found:?}");
            let verdict = repair_verbosity(&shell, &place(&dir), &found, Some(&fake), true).await.unwrap();
            assert!(!verdict.clean && dir.path().join("kubelet").symlink_metadata().is_ok(), "{part}");
        }
        if rustix::process::geteuid().is_root() {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().join("kubelet");
            with_mode(&at, 0o700);
            std::os::unix::fs::chown(&at, Some(65534), None).unwrap();
            let record = try_raise(&shell, &fake, &facts, &place(&dir), "r1").await.unwrap_err();
            assert!(record.text.contains("belongs to uid 65534"), "{record:?}");
        }
        assert!(fake.asked().iter().all(|asked| asked.starts_with("GET")));
    }
}

type Make<'a> = &'a dyn Fn(&Path);

fn with_mode(dir: &Path, mode: u32) {
    std::fs::create_dir(dir).unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_a_dead_run_left_is_put_back_from_its_note() {
    for shell in shells() {
        let (dir, process, fake) = (tempfile::tempdir().unwrap(), Process::new(), Fake::new(&[]));
        let place = place(&dir);
        let note = format!("{}/note", place.0);
        drop(try_raise(&shell, &fake, &process.facts(), &place, "r1").await.unwrap());
        let found = survey_verbosity(&shell, &place).await.unwrap();
        assert!(found.busy(), "its run may be alive: {found:?}");
        let verdict = repair_verbosity(&shell, &place, &found, Some(&fake), false).await.unwrap();
        assert!(verdict.clean && verdict.lines[0].contains("left alone") && fake.level() == 4, "{verdict:?}");

        let text = std::fs::read_to_string(&note).unwrap();
        put(
            &note,
            &text
                .lines()
                .map(|l| if l.starts_with("until=") { "until=1\n".to_owned() } else { format!("{l}\n") })
                .collect::<String>(),
        );
        let found = survey_verbosity(&shell, &place).await.unwrap();
        assert!(
            found.sentences()[0].starts_with("the kubelet's verbosity is raised from 2 to 4 by kim@laptop since 20"),
            "{found:?}"
        );
        let verdict = repair_verbosity(&shell, &place, &found, None, false).await.unwrap();
        assert!(
            !verdict.clean && verdict.lines[0].contains("give its credential") && Path::new(&note).exists(),
            "{verdict:?}"
        );
        let refused = Fake::new(&[End::Refused(NO_RIGHT)]);
        let verdict = repair_verbosity(&shell, &place, &found, Some(&refused), false).await.unwrap();
        assert!(!verdict.clean && verdict.lines[0].contains("could not be put back to 2") && Path::new(&note).exists());
        let verdict = repair_verbosity(&shell, &place, &found, Some(&fake), false).await.unwrap();
        assert!(verdict.clean && fake.level() == 2 && !Path::new(&place.0).exists(), "{verdict:?}");
        assert!(survey_verbosity(&shell, &place).await.unwrap().clean());

        // Of a kubelet that was restarted only the note is left, young or not.
        drop(try_raise(&shell, &fake, &process.facts(), &place, "r1").await.unwrap());
        drop(process);
        let puts = fake.asked().len();
        let found = survey_verbosity(&shell, &place).await.unwrap();
        let verdict = repair_verbosity(&shell, &place, &found, None, false).await.unwrap();
        assert!(verdict.clean && !Path::new(&place.0).exists(), "{verdict:?}");
        assert_eq!(fake.asked().len(), puts);
    }
}
