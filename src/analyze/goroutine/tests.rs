//! What the parser makes of every form and wrapping, on small dumps.

use super::*;

fn dumps(text: &str) -> Vec<Dump> {
    read(text.as_bytes(), Limits::default()).unwrap()
}

fn only(text: &str) -> Dump {
    let mut dumps = dumps(text);
    assert_eq!(dumps.len(), 1, "{dumps:#?}");
    dumps.remove(0)
}

fn shown(stack: &Stack) -> Vec<String> {
    stack.frames.iter().map(ToString::to_string).collect()
}

const WRITER: &str = "goroutine 50 [running]:\na.io/x.DumpStacks({0x1, 0xf})\n\t/b/x/trap.go:82 +0x90\n\n";
const LOCK: &str = "[semacquire, 5 minutes]:\nsync.runtime_SemacquireMutex(0x0?, 0xf0?)\n\t/go/sema.go:77 +0x25\n\
                    sync.(*Mutex).lockSlow(0xc00038af80)\n\t/go/mutex.go:171 +0x165\nsync.(*Mutex).Lock(...)\n\
                    \t/go/mutex.go:90\na.io/d.(*Daemon).Inspect(0xc1, {0xc2?, 0x1})\n\t/b/d/inspect.go:40 +0x79\n\
                    created by net/http.(*Server).Serve\n\t/go/server.go:3102 +0x4db\n\n";

#[test]
fn equal_stacks_are_one_with_all_that_have_it() {
    let other = LOCK.replace("5 minutes", "7 minutes, locked to thread").replace("0xc1", "0xee");
    let dump = only(&format!("{WRITER}goroutine 7 {LOCK}goroutine 8 {other}goroutine 9 {LOCK}"));
    assert_eq!(
        (dump.form, dump.total, dump.stacks.len(), dump.lines),
        (Form::Blocks, 4, 2, LineRange { first: 1, last: 39 })
    );
    let stack = &dump.stacks[0];
    assert_eq!((stack.count, stack.longest, stack.wait()), (3, 7, Wait::Lock));
    assert_eq!(
        stack.goroutines.iter().map(|g| (g.id, g.minutes, g.locked_to_thread, g.line)).collect::<Vec<_>>(),
        [(7, 5, false, 5), (8, 7, true, 17), (9, 5, false, 29)]
    );
    assert_eq!(
        (stack.lines, stack.longest_lines),
        (LineRange { first: 5, last: 15 }, LineRange { first: 17, last: 27 })
    );
    assert_eq!(shown(stack)[2..], ["sync.(*Mutex).Lock (mutex.go:90)", "d.(*Daemon).Inspect (inspect.go:40)"]);
    assert_eq!(stack.created_by.as_ref().unwrap().to_string(), "http.(*Server).Serve (server.go:3102)");
    assert_eq!(stack.place().unwrap().to_string(), "d.(*Daemon).Inspect (inspect.go:40)");
    assert!(!dump.cut && !stack.elided);

    let locks = dump.locks();
    assert_eq!(locks.len(), 1);
    assert_eq!(
        (locks[0].address, locks[0].waiters, locks[0].longest, locks[0].longest_line),
        (0xc0_0038_af80, 3, 7, 17)
    );
    assert_eq!(dump.waiting("semacquire").count(), 1);
    assert_eq!(dump.waiting("sema").count(), 0);
    assert_eq!(dump.waiting_for(Wait::Lock).count(), 1);
    assert_eq!(dump.in_function("(*Daemon).Inspect").count(), 1);
    assert!(stack.calls("(*Daemon).Inspect", "(*Mutex).Lock"));
    assert!(!stack.calls("(*Mutex).Lock", "(*Daemon).Inspect") && !stack.calls("Inspect", "Inspect"));
}

#[test]
fn every_version_has_its_own_details() {
    let dump = only(
        "goroutine 1 [chan receive, 5 minutes, locked to thread]:\nmain.main()\n\t/src/main.go:12 +0x1d\n\
         runtime.goexit()\n\t/usr/lib/go/src/runtime/proc.c:1445\n\n\
         goroutine 2 gp=0xc1 m=0 mp=0x5 [select (no cases)]:\n...additional frames elided...\n\
         created by a.F in goroutine 203\n\t/a.go:5 +0x1\n\n\
         goroutine 3 [running]:\n\tgoroutine running on other thread; stack unavailable\ncreated by a.F in goroutine 1\n\t/a.go:6 +0x1\n\
         goroutine 4 [select]:\na.G[...](...)\n...23 frames elided...\na.H()\n\t/a b.go:9 +0x1 fp=0x1 sp=0x2 pc=0x3\n\
         [originating from goroutine 1]:\na.I()\n\t/i.go:1\ncreated by a.J\n\t/j.go:1\n",
    );
    assert_eq!(dump.total, 4);
    let of = |id: u64| dump.stacks.iter().find(|stack| stack.goroutines[0].id == id).unwrap();
    assert_eq!(shown(of(1)), ["main.main (main.go:12)", "runtime.goexit (proc.c:1445)"]);
    assert!(of(1).goroutines[0].locked_to_thread);
    assert!(of(2).elided && of(2).frames.is_empty() && of(4).elided);
    assert_eq!(of(2).created_by.as_ref().unwrap().line, 5);
    assert!(of(3).frames.is_empty());
    assert_eq!(shown(of(4)), ["a.G[...]", "a.H (a b.go:9)"]);
    assert!(of(4).created_by.is_none(), "the creator is the ancestor's");
    assert_eq!(of(1).meaningful().count(), 1);
}

#[test]
fn grouped_dumps_are_read_with_their_labels() {
    let dump = only(
        "goroutine profile: total 16\n13 @ 0x48 0x46\n# labels: {\"k\":\"v\"}\n#\t0x48\ta.io/c.(*D).tick+0xb6\t\tc@v0.56.2/c.go:593\n\n\
         2 @ 0x48 0x47\n#\t0x48\ta.io/c.(*D).tick+0xb6\tc@v0.56.2/c.go:593\n\n1 @ 0x1 0x2\n",
    );
    assert_eq!((dump.form, dump.announced, dump.total, dump.stacks.len()), (Form::Grouped, Some(16), 16, 2));
    assert_eq!((dump.stacks[0].count, dump.stacks[0].labels.as_deref()), (15, Some("{\"k\":\"v\"}")));
    assert_eq!(dump.stacks[0].lines, LineRange { first: 2, last: 4 });
    assert_eq!(shown(&dump.stacks[0]), ["c.(*D).tick (c.go:593)"]);
    assert_eq!(shown(&dump.stacks[1]), ["0x1", "0x2"]);
    assert_eq!(dump.stacks[0].wait(), Wait::Unknown);
}

#[test]
fn records_of_other_profiles_are_no_goroutines() {
    let other = "threadcreate profile: total 12\n11 @\n#\t0x0\n\n1 @ 0x48\n#\t0x48\truntime.allocm+0x1\ta.go:1\n";
    assert_eq!(dumps(other), []);
    let both = format!("{other}goroutine profile: total 1\n1 @ 0x48\n#\t0x48\tmain.main+0x1\ta.go:1\n{other}");
    assert_eq!(only(&both).total, 1);
    assert_eq!(only("3 @ 0x48\n#\t0x48\tmain.main+0x1\ta.go:1\n").announced, None);
}

#[test]
fn dumps_of_one_stream_are_told_apart() {
    let one = format!("{WRITER}goroutine 7 {LOCK}");
    let grouped = "goroutine profile: total 1\n1 @ 0x48\n#\t0x48\tmain.main+0x1\ta.go:1\n";
    for (what, text, totals) in [
        ("by the one that writes", format!("{one}{one}"), vec![2, 2]),
        ("by the one that writes, with a new number", format!("{one}{}", one.replace("50", "51")), vec![2, 2]),
        ("by a number that comes again", format!("goroutine 7 {LOCK}goroutine 7 {LOCK}"), vec![1, 1]),
        (
            "by marks",
            format!(
                "=== BEGIN goroutine stack dump ===\ngoroutine 7 {LOCK}=== END goroutine stack dump ===\n=== BEGIN goroutine stack dump ===\ngoroutine 8 {LOCK}"
            ),
            vec![1, 1],
        ),
        (
            "by names of files",
            format!("==> a.log <==\n(found)\ngoroutine 7 {LOCK}==> b.log <==\ngoroutine 8 {LOCK}"),
            vec![1, 1],
        ),
        ("by form", format!("{one}{grouped}{grouped}{one}"), vec![2, 1, 1, 2]),
        ("by text in quotes", format!("m=\"{}\"\n", "goroutine 7 [select]:\\nmain.f()\\n").repeat(2), vec![1, 1]),
    ] {
        assert_eq!(dumps(&text).iter().map(|dump| dump.total).collect::<Vec<_>>(), totals, "{what}");
    }
    let named = dumps(&format!("==> /run/a.log <==\ngoroutine 7 {LOCK}"));
    assert_eq!(named[0].origin.title.as_deref(), Some("/run/a.log"));
}

/// Every line with a prefix of its own, as journalctl prints what a crash writes; it drops empty lines.
fn journal(program: &str, text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty()).enumerate();
    lines.map(|(at, line)| format!("2026-11-21T06:35:15.{at:06}+0000 worker-006 {program}: {line}")).collect()
}

#[test]
fn journal_lines_are_read_by_process() {
    let one = journal("dockerd[7]", &format!("{WRITER}goroutine 7 {LOCK}"));
    let noise = "2026-11-21T06:35:15.000000+0000 worker-006 systemd[1]: main.f()";
    let mixed: Vec<String> = one.iter().flat_map(|line| [line.clone(), noise.to_owned()]).collect();
    let plain = only(&format!("{WRITER}goroutine 7 {LOCK}"));
    let dump = only(&mixed.join("\n"));
    assert_eq!(dump.stacks.iter().map(shown).collect::<Vec<_>>(), plain.stacks.iter().map(shown).collect::<Vec<_>>());
    assert_eq!(dump.origin.prefix.as_deref(), Some("2026-11-21T06:35:15.000000+0000 worker-006 dockerd[7]"));

    let grouped = "goroutine profile: total 1\n1 @ 0x48\n#\t0x48\tmain.main+0x1\ta.go:1".to_owned();
    let after = [one.clone(), vec![grouped]].concat().join("\n");
    assert_eq!(dumps(&after).iter().map(|dump| dump.form).collect::<Vec<_>>(), [Form::Blocks, Form::Grouped]);

    let other = journal("dockerd[8]", &format!("goroutine 9 {LOCK}"));
    assert_eq!(dumps(&[one, other].concat().join("\n")).iter().map(|dump| dump.total).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn strange_lines_in_between_are_passed_over_and_many_end_a_block() {
    let strange = "E1121 06:35:15.796164    1234 a.go:12] \"Something\" err=\"x\"\n";
    let (head, rest) = LOCK.split_at(LOCK.find("sync.(*Mutex).lockSlow").unwrap());
    for (times, frames) in [(1, 4), (3, 4), (4, 1)] {
        let dump = only(&format!("goroutine 7 {head}{}{rest}", strange.repeat(times)));
        assert_eq!(dump.stacks[0].frames.len(), frames, "{times}");
    }
}

#[test]
fn stacks_indented_in_structured_logs_are_read() {
    let indented: String = format!("goroutine 7 {LOCK}").lines().map(|line| format!("\t{line}\n")).collect();
    let dump =
        only(&format!("E1121 06:35:15.796164    1234 a.go:12] \"Observed a panic\" stacktrace=<\n{indented} >\n"));
    assert_eq!((dump.stacks[0].frames.len(), dump.stacks[0].created_by.is_some()), (4, true));
}

#[test]
fn a_dump_that_was_cut_off_is_there_as_far_as_it_came() {
    let dump = only("goroutine 7 [select]:\nmain.f(0x1)\n\t/a.go:1 +0x1\nmain.g(0x");
    assert_eq!(shown(&dump.stacks[0]), ["main.f (a.go:1)"]);
    let dump = only("goroutine 7 [select]:\nmain.f(0x1)\n\t/a.go:1 +0x1\nmain.g(0x1)\n\t/b.g");
    assert_eq!(shown(&dump.stacks[0]), ["main.f (a.go:1)", "main.g"]);
    let dump = only("goroutine profile: total 165\n13 @ 0x48 0x");
    assert_eq!((dump.announced, dump.total), (Some(165), 13));
}

#[test]
fn what_goes_beyond_the_limits_is_counted() {
    let text: String = (0..100)
        .map(|n| format!("goroutine {n} [select]:\nmain.f{n}(0x1)\n\t/a.go:{n} +0x1\nmain.g()\n\t/b.go:1\n\n"))
        .collect();
    let limits = Limits { stacks: 10, goroutines: 7, ..Limits::default() };
    let dump = &read(text.as_bytes(), limits).unwrap()[0];
    assert_eq!((dump.total, dump.stacks.len(), dump.stacks[0].count), (100, 11, 90));
    assert_eq!(dump.stacks.iter().map(|stack| stack.goroutines.len()).sum::<usize>(), 7);
    assert!(dump.cut);

    let dump = &read(text.as_bytes(), Limits { frames: 1, ..Limits::default() }).unwrap()[0];
    assert!(dump.cut && dump.stacks.iter().all(|stack| stack.frames.len() == 1));
    let dumps = read(format!("{text}{text}{text}").as_bytes(), Limits { dumps: 2, ..Limits::default() }).unwrap();
    assert_eq!(dumps.iter().map(|dump| dump.cut).collect::<Vec<_>>(), [false, true]);
    let dump = &read(text.as_bytes(), Limits { distinct_frames: 5, ..Limits::default() }).unwrap()[0];
    assert!(dump.cut && dump.total == 100);
}

#[test]
fn no_more_states_are_told_apart_than_can_be_searched() {
    let text: String = (0..100).map(|n| format!("goroutine {n} [s{n}]:\nmain.f()\n\n")).collect();
    let stack = &only(&text).stacks[0];
    assert_eq!((stack.count, stack.states.len(), stack.states[0].clone()), (100, 17, ("other states".into(), 84)));
}

#[test]
fn signatures_are_the_same_for_other_arguments_ids_and_directories() {
    let same = LOCK.replace("0xc1", "0xff").replace("/b/d/", "/other/").replace("5 minutes", "1 minutes");
    let line = LOCK.replace("inspect.go:40", "inspect.go:41");
    let function = LOCK.replace("Inspect", "Remove");
    let stack = |text: &str| only(&format!("goroutine 7 {text}")).stacks.remove(0);
    let first = stack(LOCK);
    for (text, signature, shape) in [(&same, true, true), (&line, false, true), (&function, false, false)] {
        let other = stack(text);
        assert_eq!(
            (other.signature() == first.signature(), other.shape() == first.shape()),
            (signature, shape),
            "{text}"
        );
    }
    // Kept in reports, so it must not change from version to version.
    assert_eq!([first.signature().to_string(), first.shape().to_string()], ["615c7f0f980c7fcc", "50f1b673bf645a41"]);
}

#[test]
fn goroutines_that_stand_are_found_by_number() {
    let moved = LOCK.replace("inspect.go:40", "inspect.go:55");
    let earlier = only(&format!("{WRITER}goroutine 7 {LOCK}goroutine 8 {LOCK}goroutine 9 {LOCK}"));
    let later = only(&format!("{WRITER}goroutine 7 {LOCK}goroutine 8 {moved}goroutine 10 {LOCK}"));
    let found = standing(&earlier, &later);
    assert_eq!(
        found.iter().map(|standing| (standing.count, standing.ids.clone())).collect::<Vec<_>>(),
        [(1, vec![7]), (1, vec![50])]
    );
    assert_eq!((found[0].earlier.count, found[0].later.count), (3, 2));
}

#[test]
fn without_numbers_standing_goroutines_are_at_most_so_many() {
    let grouped = |count: u64| {
        only(&format!("goroutine profile: total {count}\n{count} @ 0x48\n#\t0x48\tmain.main+0x1\ta.go:1\n"))
    };
    let (earlier, later) = (grouped(13), grouped(5));
    let found = standing(&earlier, &later);
    assert_eq!(found.iter().map(|standing| (standing.count, standing.ids.len())).collect::<Vec<_>>(), [(5, 0)]);
}

#[test]
fn a_reader_that_fails_is_an_error() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    assert!(read(io::BufReader::new(Broken), Limits::default()).is_err());
}
