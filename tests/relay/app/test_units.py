"""The unit files of docs/systemd: what systemd says of them, and the relay within such bounds.

No service manager is needed: what a unit would forbid is forbidden here with the same means of the
kernel (capabilities, no_new_privs, seccomp, MDWE, a root that is read-only).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.manager import Manager
from tests.relay.support import SECONDS, Twistd, freePort
from tests.relay.workers.test_twistd import NOBODY, WORKER, mayBecomeNobody, mayRunPython
from tests.starting import TWISTD

UNITS = Path(__file__).parents[3] / "docs/systemd"
SERVICE = "groupsock-relay.service"
OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"
LOW_PORT = 83


def settings(name: str) -> list[str]:
    """The values of a setting in the service's unit, in order."""
    return re.findall(rf"(?m)^{name}=(.*)$", (UNITS / SERVICE).read_text())


def have(*programs: str) -> pytest.MarkDecorator:
    """Skips a test where programs are missing."""
    missing = [each for each in programs if shutil.which(each) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


# What systemd says


@pytest.fixture(name="units")
def fixtureUnits(tmp_path: Path) -> Path:
    """A copy of the unit files in which the program is one that there is."""
    for each in UNITS.iterdir():
        text = each.read_text().replace("/opt/groupsock-relay/bin/twistd", sys.executable)
        (tmp_path / each.name).write_text(text)
    return tmp_path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "LC_ALL": "C.UTF-8"}
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@have("systemd-analyze")
def test_systemdFindsNoFault(units: Path) -> None:
    """There is nothing that systemd-analyze verify would have to say."""
    done = analyze("verify", *units.glob("groupsock-relay.*"))
    if re.search("Failed to (initialize manager|connect)", done.stderr):
        pytest.skip(f"systemd-analyze cannot verify here: {done.stderr}")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@have("systemd-analyze")
def test_theExposureIsAsTheDocumentationSays(units: Path) -> None:
    """The exposure is at most what docs/operations.md says, of 10."""
    [stated] = re.findall(r"exposure level of ([0-9.]+)", OPERATIONS.read_text())
    threshold = f"--threshold={round(10 * float(stated))}"
    done = analyze("security", "--offline=true", threshold, units / SERVICE)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    assert done.returncode == 0, done.stdout + done.stderr


def test_theProgramIsStartedAsItCanBe(tmp_path: Path) -> None:
    """The command lines in the unit are such that twistd takes them."""
    example = UNITS.parent / "relay.example.toml"
    lines = re.findall(r"(?m)^Exec(?:Start|Reload)=\S*/twistd (.*)$", (UNITS / SERVICE).read_text())
    assert len(lines) == 2
    for each in lines:
        words = each.replace("/etc/groupsock-relay/relay.toml", str(example)).split()
        more = [] if "--check" in words else ["--check"]
        command = [sys.executable, TWISTD, *words, *more]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 routes would run")


# Within such bounds

READ_ONLY = """
mount --bind / / && cd "$PWD" || exit 9
while read -r _ target _; do mount -o remount,bind,ro "$target" 2>/dev/null; done < /proc/mounts
cd "$PWD"; touch written 2>/dev/null && exit 9
exec "$@"
"""

CONFINE = """
import ctypes, json, mmap, os, sys

allowed, families, command = json.loads(sys.argv[1])

class Compare(ctypes.Structure):  # <seccomp.h>: scmp_arg_cmp
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64),
                ("b", ctypes.c_uint64)]

seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
allow, eperm, equal = 0x7FFF0000, 0x00050001, 4
context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(eperm)))
for name in allowed:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if name == "socket":
        for family in families:
            compare = (Compare * 1)(Compare(0, equal, family, 0))
            assert not seccomp.seccomp_rule_add_array(context, allow, number, 1, compare)
    elif number >= 0:
        assert not seccomp.seccomp_rule_add_array(context, allow, number, 0, None), name
assert not seccomp.seccomp_load(context)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # <linux/prctl.h>, since Linux 6.3
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0:
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        print("memory is not both written and executed", flush=True)
os.execv(command[0], command)
"""


@functools.cache
def callsOf(group: str) -> frozenset[str]:
    """The system calls of a group of systemd's."""
    found: set[str] = set()
    lines = analyze("syscall-filter", group).stdout.splitlines()
    for each in (line.strip() for line in lines[1:]):
        if each.startswith("@"):
            found |= callsOf(each)
        elif each and not each.startswith("#"):
            found.add(each)
    return frozenset(found)


def allowedCalls() -> list[str]:
    """The system calls that the unit allows; systemd itself needs execve for the start."""
    allowed = {"execve"}
    for each in settings("SystemCallFilter"):
        groups = set[str]().union(*(callsOf(group) for group in each.lstrip("~").split()))
        allowed = allowed - groups if each.startswith("~") else allowed | groups
    return sorted(allowed)


def within(bounds: str, user: int) -> str:
    """Python that gives a process the bounds of the unit, for C{Twistd}."""
    families = [getattr(socket, each) for each in settings("RestrictAddressFamilies")[0].split()]
    before = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"]
    before += ["setpriv", "--inh-caps=-all", "--no-new-privs", f"--bounding-set={bounds}"]
    if user:
        before += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    # Neither coverage nor bytecode can be written.
    return (
        "import json, shutil\n"
        "for each in list(os.environ):\n    if each.startswith('COV'): del os.environ[each]\n"
        f"command = json.dumps([{allowedCalls()!r}, {[int(each) for each in families]!r}, "
        "sys.argv[1:]])\n"
        f"sys.argv[1:] = [*{before!r}, sys.executable, '-c', {CONFINE!r}, command]\n"
        "sys.argv[1] = shutil.which(sys.argv[1])"
    )


needsBounds = pytest.mark.skipif(
    not mayBecomeNobody()
    or not all(map(shutil.which, ["systemd-analyze", "setpriv", "unshare"]))
    or not list(Path("/usr").glob("lib*/**/libseccomp.so.2")),
    reason="needs root, systemd-analyze, setpriv, unshare and libseccomp",
)


def relays(incoming: int, receiver: socket.socket, payload: bytes) -> None:
    """A burst of datagrams has to come out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(50):
            sender.sendto(b"%s%d" % (payload, number), ("127.0.0.1", incoming))
    for number in range(50):
        assert receiver.recv(100) == b"%s%d" % (payload, number)


@pytest.fixture(name="folder")
def fixtureFolder() -> Iterator[Path]:
    """A folder into which everybody may look, as nobody but its owner may below tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@needsBounds
@pytest.mark.parametrize("workers", [1, 2])
def test_theRelayWorksWithinTheBoundsOfTheUnit(folder: Path, workers: int) -> None:
    """With no capability, few system calls, nothing to write to and no memory that is written and
    executed, it relays, reloads, tells systemd, and ends without a warning.
    """
    user = NOBODY if mayRunPython() else 0
    ports = [freePort(), freePort()]
    config = folder / "relay.toml"
    with Manager() as manager, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(3 * SECONDS)
        route = "[[route]]\nfrom = 'udp://127.0.0.1:{}'\nto = 'udp://127.0.0.1:{}'\n"
        first, second = (route.format(each, receiver.getsockname()[1]) for each in ports)
        group = route.format(freePort(), 9).replace("127.0.0.1", "239.77.1.1", 1)
        group = group.replace("'\nto", "?interface=lo'\nto")
        config.write_text(first + group)
        options = ("-n", "--pidfile=", "--logger=txgroupsock.relay.logs.journal")
        arguments = [f"--config={config}", *(["--workers=2"] if workers > 1 else [])]
        through = f"{manager.through(1.0)}\n{within('-all', user)}"
        with Twistd(folder, *arguments, options=options, through=through) as relay:
            ready = manager.takeUntil("READY")
            assert (ready.pid, ready.uid) == (relay.pid, user)
            for pid in [relay.pid, *workersOf(relay, workers)]:
                state = Path(f"/proc/{pid}/status").read_text()
                assert len(re.findall(r"(?m)^Cap\w*:\t0{16}$", state)) == 5
                assert re.search(r"(?m)^NoNewPrivs:\t1$", state)
                assert re.search(r"(?m)^Seccomp:\t2$", state)
            relays(ports[0], receiver, b"before")
            if workers == 1:
                config.write_text(first + group + second)
                relay.signal(signal.SIGHUP)
                manager.takeUntil("RELOADING")
                assert manager.takeUntil("READY").values["STATUS"] == "3 routes, 3 outputs"
                relays(ports[1], receiver, b"after")
            relay.signal(signal.SIGTERM)
            manager.takeUntil("STOPPING")
            assert relay.end() == -signal.SIGTERM
    said = [each for each in relay.text.splitlines() if not each.startswith("<6>")]
    assert [each for each in said if "wmem_max" not in each and "rmem_max" not in each] in (
        ["memory is not both written and executed"],
        [],  # before Linux 6.3
    )


def workersOf(relay: Twistd, count: int) -> list[int]:
    """The processes of workers, if there are any."""
    numbers = range(1, count + 1) if count > 1 else ()
    return [int(relay.waitFor(WORKER.format(each))[1]) for each in numbers]


@needsBounds
@pytest.mark.parametrize("capability", ["", ",+net_bind_service"])
def test_lowPortsNeedOneCapability(tmp_path: Path, capability: str) -> None:
    """CAP_NET_BIND_SERVICE is enough for ports below 1024, and without it they are refused."""
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= LOW_PORT:
        pytest.skip(f"here everybody may use ports from {start} on")
    routes = [f"--from=udp://127.0.0.1:{LOW_PORT}", "--to=udp://127.0.0.1:9"]
    through = within(f"-all{capability}", 0)
    options = ("-n", "--pidfile=")
    with Twistd(tmp_path, *routes, options=options, through=through) as relay:
        if capability:
            relay.waitFor(f"listening on 127.0.0.1 port {LOW_PORT}\n")
        else:
            assert relay.end() == 1
            assert f"127.0.0.1:{LOW_PORT}: Permission denied; ports below 1024" in relay.text
