"""Waits inside a node for a moment of a debug window and does something at once. Started by tests/fleet/trigger.rs.

argv: MOMENT DELAY ACTION [COUNT]. MOMENT: `after` (the word on standard input), `link:N` or `new:N` (the Nth time that
name appears beside daemon.json), `dir` (the guard's directory appears), `stop` (it is told to stop), `state:WORD`,
`dump:dockerd` or `dump:containerd` (a file of stacks appears).
DELAY: seconds from that moment. ACTION: tell, kill-guard, kill-guard-group, end-guard, restart-dockerd, kill-dockerd, stop-containerd.
It says `ready`, then `hit PHASE`, then `done WHAT`, and ends when its standard input is closed.
"""
import ctypes, glob, os, select, signal, struct, subprocess, sys, time

OURS = "plegcollect"
CONFIG = "/etc/docker"
GUARD = "/run/" + OURS
BESIDE = {"link": "daemon.json." + OURS + "-orig", "new": "daemon.json." + OURS + "-new"}
DUMPS = {"dockerd": "/run/docker/goroutine-stacks-", "containerd": "/tmp/containerd."}
CREATE, MOVED_TO, CLOSE_WRITE = 0x100, 0x80, 0x8

moment, delay, action = sys.argv[1], float(sys.argv[2]), sys.argv[3]
count = int(sys.argv[4]) if len(sys.argv) > 4 else 1
kind, _, wanted = moment.partition(":")


def tell(words):
    os.write(1, (words + "\n").encode())


def read(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return ""


def phase():
    state = read(GUARD + "/state").split(" ")[0] or ("no guard" if not os.path.isdir(GUARD) else "arming")
    if os.path.lexists(CONFIG + "/" + BESIDE["link"]):
        state += " mid-swap"
    elif os.path.lexists(CONFIG + "/" + BESIDE["new"]):
        state += " before swap"
    if glob.glob(DUMPS["dockerd"] + "*") or glob.glob(DUMPS["containerd"] + "*"):
        state += ", dumping"
    return state


libc = ctypes.CDLL(None, use_errno=True)
inotify = libc.inotify_init1(0)


def watch(path):
    return libc.inotify_add_watch(inotify, path.encode(), CREATE | MOVED_TO | CLOSE_WRITE)


def events():
    """Names that appeared (True) or were written, as they come; ends the program when standard input is closed."""
    while True:
        for fd in select.select([inotify, 0], [], [])[0]:
            if fd == 0:
                if not os.read(0, 100):
                    sys.exit(0)
                yield "/go", True
                continue
            data = os.read(inotify, 65536)
            while data:
                where, mask, _, size = struct.unpack("iIII", data[:16])
                name = data[16:16 + size].rstrip(b"\0").decode()
                data = data[16 + size:]
                yield paths.get(where, "?") + "/" + name, not mask & CLOSE_WRITE


paths = {watch(path): path for path in (CONFIG, "/run", "/run/docker", "/tmp")}


def watch_guard():
    if os.path.isdir(GUARD):
        paths[watch(GUARD)] = GUARD


def reached():
    seen = 0
    for name, appeared in events():
        if name == "/go" and kind == "after":
            return
        if name == GUARD:
            watch_guard()
            if kind == "dir":
                return
        if kind in BESIDE and appeared and name == CONFIG + "/" + BESIDE[kind]:
            seen += 1
            if seen == int(wanted):
                return
        if kind == "dump" and appeared and name.startswith(DUMPS[wanted]):
            return
        if kind == "stop" and os.path.exists(GUARD + "/stop"):
            return
        if kind == "state" and name.startswith(GUARD) and read(GUARD + "/state").split(" ")[0] == wanted:
            return


def guards():
    found = []
    for path in glob.glob("/proc/[0-9]*/cgroup"):
        if OURS + "-guard" in read(path):
            found.append(int(path.split("/")[2]))
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return len(pids)


def main_guard():
    """The guard's shell; what it has started has it as parent, or has another command line."""
    for pid in guards():
        if "guard.sh" in read("/proc/%d/cmdline" % pid) and read("/proc/%d/stat" % pid).rpartition(")")[2].split()[1:2] == ["1"]:
            return [pid]
    return []


def act():
    if action == "tell":
        return ""
    if action in ("kill-guard", "kill-guard-group"):
        killed = []
        for n in range(count):
            if n:
                # As soon as systemd has brought it back, or not at all.
                end = time.monotonic() + 3
                while not main_guard() and time.monotonic() < end:
                    time.sleep(0.02)
            killed.append(str(kill(main_guard() if action == "kill-guard" else guards())))
        return "killed " + "+".join(killed)
    if action == "end-guard":
        # Within the second that systemd waits before it brings it back.
        killed = kill(guards())
        subprocess.call(["systemctl", "stop", OURS + "*"])
        return "killed %d, %d are left" % (killed, len(guards()))
    if action == "restart-dockerd":
        return "status %d" % subprocess.call(["systemctl", "restart", "docker.service"])
    if action == "kill-dockerd":
        return "killed %d" % kill([int(read("/run/docker.pid"))])
    if action == "stop-containerd":
        os.kill(containerd, signal.SIGSTOP)
        return "stopped %d" % containerd
    raise ValueError(action)


containerd = int(subprocess.check_output(["systemctl", "show", "-p", "MainPID", "--value", "containerd.service"]))
watch_guard()
tell("ready")
reached()
if delay > 0.001:
    end = time.monotonic() + delay
    while time.monotonic() < end:
        # The run may be over before; then nothing is done any more.
        if select.select([0], [], [], max(0, end - time.monotonic()))[0] and not os.read(0, 100):
            sys.exit(0)
elif delay > 0:
    end = time.perf_counter() + delay
    while time.perf_counter() < end:
        pass
now = phase()
tell("hit " + now)
tell("done " + act())
