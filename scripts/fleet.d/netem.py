#!/usr/bin/env python3
"""netem.py FROM:TO[,FROM:TO...] RULE...: carries frames between two interfaces, late, slowly, or not at all.

The fault "netem" without the kernel's netem, which many kernels are built without. Rules are a part of tc-netem's:
delay TIME [JITTER] | loss PERCENT% | rate RATE (500kbit, 10mbit). They hold in each direction. Frames keep their order.
With "-" as the pairs the rules are only checked.
"""

import heapq
import random
import re
import select
import socket
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
QUEUE_FRAMES = 1000  # tc-netem's default limit
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "%": 0.01}


def number(word, units):
    match = re.fullmatch(r"([0-9.]+)([a-z%]+)", word)
    if not match or match[2] not in units:
        sys.exit(f"netem: expected a number with one of {', '.join(units)}, got '{word}'")
    return float(match[1]) * UNITS[match[2]]


def parse(words):
    rules = {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "rate": 0.0}
    words = list(words)
    if not words:
        sys.exit("netem: expected delay, loss or rate")
    while words:
        rule = words.pop(0)
        if rule not in ("delay", "loss", "rate") or not words:
            sys.exit(f"netem: expected delay TIME [JITTER], loss PERCENT% or rate RATE at '{rule}'")
        if rule == "delay":
            rules["delay"] = number(words.pop(0), ("us", "ms", "s"))
            if words and words[0][0].isdigit():
                rules["jitter"] = number(words.pop(0), ("us", "ms", "s"))
        elif rule == "loss":
            rules["loss"] = number(words.pop(0), ("%",))
        else:
            rules["rate"] = number(words.pop(0), ("bit", "kbit", "mbit", "gbit"))
    return rules


class Direction:
    """One way through one link: where its frames go, and when the last one of them leaves."""

    def __init__(self, to, rules):
        self.to = to
        self.rules = rules
        self.sent_at = 0.0  # the wire is free again (rate)
        self.leaves_at = 0.0  # the last frame arrives (order)
        self.queued = 0

    def due(self, frame, now):
        """When the frame is to be delivered; None when it is lost."""
        rules = self.rules
        if self.queued >= QUEUE_FRAMES or random.random() < rules["loss"]:
            return None
        at = now
        if rules["rate"]:
            self.sent_at = at = max(now, self.sent_at) + len(frame) * 8 / rules["rate"]
        at += max(0.0, rules["delay"] + random.uniform(-1, 1) * rules["jitter"])
        self.leaves_at = at = max(at, self.leaves_at)
        return at


def open_link(name):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.bind((name, ETH_P_ALL))
    link.setblocking(False)
    return link


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    rules = parse(sys.argv[2:])
    if sys.argv[1] == "-":
        return
    directions = {}
    for pair in sys.argv[1].split(","):
        near, far = map(open_link, pair.split(":"))
        directions[near] = Direction(far, rules)
        directions[far] = Direction(near, rules)
    queue, count = [], 0
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for link in select.select(list(directions), [], [], wait)[0]:
            direction = directions[link]
            try:
                frame, sender = link.recvfrom(65536)
            except OSError:  # the link is down for now
                continue
            if sender[2] == PACKET_OUTGOING:
                continue
            at = direction.due(frame, time.monotonic())
            if at is not None:
                count += 1
                direction.queued += 1
                heapq.heappush(queue, (at, count, direction, frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, direction, frame = heapq.heappop(queue)
            direction.queued -= 1
            try:
                direction.to.send(frame)
            except OSError:  # down, or its buffer is full: lost, as on a wire
                pass


if __name__ == "__main__":
    main()
