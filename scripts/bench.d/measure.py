#!/usr/bin/env python3
"""measure.py [--tty] COMMAND...: runs a command and prints wall, user and system seconds and the peak of its memory in MiB.

With --tty its standard error is a terminal of 40 lines and 120 columns, which is read and thrown away. The command's own
output goes to standard error of this program; its exit status is returned. Used by scripts/bench.
"""

import fcntl
import os
import pty
import resource
import struct
import subprocess
import sys
import termios
import threading
import time


def peak_kib(pid):
    """The process's own peak (ru_maxrss would count this program, which it was forked from)."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def drain(fd):
    try:
        while os.read(fd, 65536):
            pass
    except OSError:  # the other end is closed
        pass


def main():
    args = sys.argv[1:]
    tty = args and args[0] == "--tty"
    command = args[1:] if tty else args
    errors = None
    if tty:
        master, errors = pty.openpty()
        fcntl.ioctl(errors, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        threading.Thread(target=drain, args=(master,), daemon=True).start()
    begun = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=errors)
    peak = 0
    while child.poll() is None:
        peak = max(peak, peak_kib(child.pid))
        time.sleep(0.01)
    wall = time.monotonic() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{wall:.3f} {used.ru_utime:.3f} {used.ru_stime:.3f} {peak / 1024:.1f}")
    sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)


if __name__ == "__main__":
    main()
