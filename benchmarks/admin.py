"""
How late a stream becomes while many look at the status of a relay: python benchmarks/admin.py.

A relay with many routes, one of which carries a stream; clients ask it for a page again and again,
each as soon as it has its answer.  Run it in a network of its own, if not on a quiet machine:
unshare -rn sh -c 'ip link set lo up; python benchmarks/admin.py'.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HOST, WEB, VIEWERS, FIRST = "127.0.0.1", 18088, 18080, 20000


def configuration(given: argparse.Namespace, sink: int) -> str:
    """A file with a stream, and many routes or outputs that carry nothing or are not heard."""
    others = [f"udp://{HOST}:{port}" for port in range(10001, 10000 + given.outputs)]
    tables = [
        f'[[route]]\nname = "r{number}"\nfrom = "udp://{HOST}:{FIRST + number}"\n'
        f"to = {json.dumps([f'udp://{HOST}:{sink if not number else 9}', *others])}\n"
        for number in range(given.routes)
    ]
    if given.viewers:
        tables[0] += 'viewers = "plain"\n'
        tables.append(
            f'[viewers]\nlisten = "tcp:{VIEWERS}:interface={HOST}"\n'
            "limits = { viewers = 5000, viewersPerChannel = 5000, viewersPerAddress = 5000 }\n"
        )
    head = f'workers = {given.workers}\n[admin]\nlisten = "tcp:{WEB}:interface={HOST}"\n'
    return head + "".join(tables)


def watch(count: int) -> list[socket.socket]:
    """So many viewers, who take what fits into the kernel's buffers."""
    watching = []
    for _ in range(count):
        viewer = socket.create_connection((HOST, VIEWERS))
        viewer.sendall(b"GET /r0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        watching.append(viewer)
    return watching


def ask(path: str, until: float, counts: list[int]) -> None:
    """Ask for a page again and again."""
    while time.monotonic() < until:
        with socket.create_connection((HOST, WEB)) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            while client.recv(1 << 20):
                pass
        counts.append(1)


def stream(port: int, rate: float, until: float) -> None:
    """Send the time, at a rate."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        due = time.monotonic()
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            sender.sendto(repr(time.monotonic()).encode(), (HOST, port))
            due += 1 / rate


def clients(path: str, count: int, seconds: float) -> None:
    """So many clients, in a process of their own."""
    counts: list[int] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=ask, args=(path, until, counts)) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(f"{len(counts) / seconds:,.0f} answers a second", flush=True)


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=300)
    parser.add_argument("--outputs", type=int, default=3, help="of each route")
    parser.add_argument("--viewers", type=int, default=0, help="of the stream; one worker only")
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--path", default="/api/status")
    parser.add_argument("--as-clients", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_clients:
        clients(given.path, given.clients, given.seconds)
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket(type=socket.SOCK_DGRAM) as sink:
        sink.bind((HOST, 0))
        sink.settimeout(10)
        text = configuration(given, sink.getsockname()[1])
        Path(folder, "relay.toml").write_text(text)
        run = "from twisted.scripts.twistd import run; run()"
        twistd = [sys.executable, "-c", run, "-n", "-l", f"{folder}/log", f"--pidfile={folder}/pid"]
        twistd += ["groupsock-relay", "--config", f"{folder}/relay.toml"]
        with subprocess.Popen(twistd, cwd=folder) as relay:
            try:
                measure(given, sink)
            finally:
                relay.terminate()


def measure(given: argparse.Namespace, sink: socket.socket) -> None:
    """Send, ask, and see how late the stream is."""
    address = f"http://{HOST}:{WEB}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}/healthz").close()
            break
        except OSError:
            time.sleep(0.1)
    watching = watch(given.viewers)
    until = time.monotonic() + given.seconds
    again = [sys.executable, __file__, "--as-clients", "--path", given.path]
    again += ["--clients", str(given.clients), "--seconds", str(given.seconds)]
    with subprocess.Popen(again, stdout=subprocess.PIPE, text=True) as asking:
        threading.Thread(target=stream, args=(FIRST, given.rate, until), daemon=True).start()
        late = []
        while time.monotonic() < until:
            try:
                sent = float(sink.recv(100))
                late.append(time.monotonic() - sent)
            except TimeoutError:
                break
        answered, _ = asking.communicate()
    for each in watching:
        each.close()
    late.sort()
    print(
        f"{given.routes} routes of {given.outputs} outputs, {given.viewers} viewers, "
        f"{given.clients} clients of {given.path}, {given.workers} worker: "
        f"late at most {1000 * late[-1]:.1f} ms, 99 % {1000 * late[int(0.99 * len(late))]:.1f} ms, "
        f"half {1000 * late[len(late) // 2]:.1f} ms; {len(late)} datagrams; {answered.strip()}"
    )
    with urllib.request.urlopen(f"{address}/api/status") as answer:
        status = json.load(answer)
    turns = [each["longestTurn"] for each in (status["reactor"], *status["workers"])]
    print("the longest turns took", ", ".join(f"{1000 * turn:.1f} ms" for turn in turns))


if __name__ == "__main__":
    main()
