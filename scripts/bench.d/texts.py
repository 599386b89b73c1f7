#!/usr/bin/env python3
"""texts.py journal|stacks BYTES SOURCE: makes a large text of a small genuine one, the same every time.

journal: SOURCE are kubelet log lines; times go on, ids and numbers are drawn from pools as large as a busy node's.
stacks: SOURCE is one dump of dockerd; its goroutines come again and again, in the shares of a lock convoy, with other
numbers, addresses and ages. Used by scripts/bench.
"""

import random
import re
import sys

rng = random.Random(1)


def skewed(pool):
    """A few come often, most seldom."""
    return pool[int(len(pool) * rng.random() ** 2.5)]


def journal(size, source):
    lines = [re.sub(r"^[IWEF]\d{4} \S+ +\d+ ", "", line) for line in source.splitlines() if line.strip()]
    ids = ["%064x" % rng.getrandbits(256) for _ in range(600)]
    uids = ["%08x-%04x-%04x-%04x-%012x" % tuple(rng.getrandbits(b) for b in (32, 16, 16, 16, 48)) for _ in range(120)]
    pods = [f"{rng.choice(('web', 'api', 'batch', 'cache', 'ingest'))}-{rng.getrandbits(36):09x}-{rng.getrandbits(20):05x}" for _ in range(120)]
    at, written = 0.0, 0
    while written < size:
        line = skewed(lines)
        line = re.sub(r"\b[0-9a-f]{64}\b", lambda _: skewed(ids), line)
        line = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", lambda _: skewed(uids), line)
        line = re.sub(r"\b\d{3,}\b", lambda m: str(rng.randrange(10 ** len(m[0]))), line)
        at += rng.expovariate(20)
        clock = "%02d:%02d:%09.6f" % (at // 3600 % 24, at // 60 % 60, at % 60)
        level = "IWE"[rng.randrange(3)]
        text = f'2026-11-20T{clock}+0000 worker-010 kubelet[12938]: {level}1120 {clock}   12938 {line}'
        if rng.random() < 0.7:
            text += f' pod="{rng.choice(("default", "prod", "kube-system"))}/{skewed(pods)}" podUID={skewed(uids)} containerID="docker://{skewed(ids)}"'
        written += sys.stdout.write(text + "\n")


def stacks(size, source):
    blocks = [b for b in source.split("\n\n") if b.startswith("goroutine ")]
    number, written = 1, 0
    while written < size:
        number += rng.randrange(1, 9)
        block = re.sub(r"^goroutine \d+ \[([^,\]]*)[^\]]*\]", lambda m: f"goroutine {number} [{m[1]}, {rng.randrange(1, 400)} minutes]", skewed(blocks))
        block = re.sub(r"0xc[0-9a-f]{9}", lambda _: "0xc%09x" % (rng.getrandbits(30) & ~31), block)
        written += sys.stdout.write(block + "\n\n")


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("journal", "stacks"):
        sys.exit(__doc__)
    with open(sys.argv[3], errors="replace") as source:
        {"journal": journal, "stacks": stacks}[sys.argv[1]](int(sys.argv[2]), source.read())


if __name__ == "__main__":
    main()
