#!/usr/bin/env python3
"""timeline.py: a bundle's manifest on standard input; prints when each step began and ended, as bars, and what the node
waited for: at every moment the step that was to end last before something new began. Used by scripts/bench.
"""

import datetime
import json
import sys

WIDTH = 60


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main():
    manifest = json.load(sys.stdin)
    zero = seconds(manifest["started"])
    whole = seconds(manifest["finished"]) - zero
    steps = []
    for step in manifest["steps"]:
        if step["started"]:
            at = seconds(step["started"]) - zero
            steps.append((at, at + step["duration-ms"] / 1000, step["phase"], step["id"], sum(f["bytes"] for f in step["files"]), step["wire-bytes"]))
    steps.sort()
    print(f"{'step':<28} {'phase':<7} {'at':>6} {'took':>6} {'bytes':>8} {'wire':>8}")
    for at, until, phase, name, size, wire in steps:
        begin, length = int(at / whole * WIDTH), max(1, round((until - at) / whole * WIDTH))
        print(f"{name:<28} {phase:<7} {at:6.2f} {until - at:6.2f} {size:8} {wire:8}  |{' ' * begin}{'#' * length}")
    path, at = [], max((s[1] for s in steps), default=0.0)
    while before := [s for s in steps if s[1] <= at + 1e-3]:
        last = max(before, key=lambda s: s[1])
        path.append(f"{last[3]} {last[1] - last[0]:.2f}")
        at = last[0]
        steps = [s for s in steps if s is not last]
    print(f"first step at {at:.2f} s, all over at {whole:.2f} s; waited for, in order: {', '.join(reversed(path))}")


if __name__ == "__main__":
    main()
