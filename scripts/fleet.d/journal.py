"""Prints recorded lines of a kubelet in the journal's export format, as if the last had been written a moment ago: each as
long before it as it was, by the journal's stamp and by the kubelet's own. A part of scripts/fleet.

    journal.py FILE HOST BOOT-ID PID
"""

import datetime
import re
import sys
import time

STAMP = re.compile(r"^([IWEF])(\d{4} \d\d:\d\d:\d\d\.\d{6})")
PRIORITY = {"I": 6, "W": 4, "E": 3, "F": 2}


def read(path):
    """Returns level, time and text of each line; klog knows no year, any leap year will do."""
    with open(path, encoding="utf-8") as file:
        found = [(STAMP.match(line), line) for line in file.read().splitlines()]
    date = lambda stamp: datetime.datetime.strptime("2024" + stamp, "%Y%m%d %H:%M:%S.%f")
    return [(stamp[1], date(stamp[2]), line[stamp.end() :]) for stamp, line in found if stamp]


def main():
    path, host, boot, pid = sys.argv[1:]
    lines = read(path)
    now, monotonic = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    last = max(at for _, at, _ in lines)
    for level, at, text in sorted(lines, key=lambda line: line[1]):
        ago = last - at
        then = now - ago
        fields = {
            "__REALTIME_TIMESTAMP": int(then.timestamp() * 1e6),
            "__MONOTONIC_TIMESTAMP": int((monotonic - ago.total_seconds()) * 1e6),
            "_BOOT_ID": boot.replace("-", ""),
            "PRIORITY": PRIORITY[level],
            "SYSLOG_IDENTIFIER": "kubelet",
            "_HOSTNAME": host,
            "_PID": pid,
            "_SYSTEMD_UNIT": "kubelet.service",
            "MESSAGE": f"{level}{then:%m%d %H:%M:%S.%f}{text}",
        }
        print("\n".join(f"{key}={value}" for key, value in fields.items()), end="\n\n")


main()
