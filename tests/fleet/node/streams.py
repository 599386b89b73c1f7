"""Opens event streams of dockerd inside a node until it has so many goroutines (argv 1), and holds them until standard input is
closed, two minutes at most. Started by tests/fleet/changes.rs."""
import json, resource, select, signal, socket, sys

wanted = int(sys.argv[1])
signal.alarm(120)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ask(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/docker.sock")
    s.sendall(("GET %s HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n" % path).encode())
    return s


def goroutines():
    s, answer = ask("/info"), b""
    while True:
        part = s.recv(65536)
        if not part:
            break
        answer += part
    text = answer.partition(b"\r\n\r\n")[2]
    return json.loads(text[text.index(b"{"):text.rindex(b"}") + 1])["NGoroutines"]


streams = []
while goroutines() < wanted:
    streams.extend(ask("/events") for _ in range(200))
select.select([0], [], [])
