"""Two paths with real loss and delay between hosts, and one stream from both."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.lan.listener import Listener
from tests.lan.program import Program, needs, twistd, waitForPort, waitUntil
from tests.relay.redundancy.support import numberIn, rtp
from txgroupsock import GroupsockReactor, Route
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.redundancy import FailoverInput, MergedInput, Policy
from txgroupsock.testing.lan import Host, Lan
from txgroupsock.testing.namespaces import PATH, CommandFailed

_NETEM = ("qdisc", "replace", "dev", "eth0", "root", "netem", "limit", "10000")
SIZE = 1316
WINDOW = 0.15
SKEW = 0.08  # of the second path behind the first


class Paths:
    """
    C{b}, which has a stream by two ways: from C{a} by its eth0, and from C{far} by its eth1.

    The second takes longer, since it is sent later.

    @ivar sent: datagrams, each by either way or both.
    @ivar skew: seconds by which the second is later.
    """

    def __init__(self, lan: Lan, clock: Any) -> None:
        link, self.far = lan.addLink(lan["b"], "far", 4)
        self.near = lan["a"]
        self.receiver = lan["b"]
        self.addresses = (lan["b"].ipv4, link.ipv4)
        self.sockets = [each.socket(socket.AF_INET) for each in (self.near, self.far)]
        for sock, address in zip(self.sockets, self.addresses, strict=True):
            sock.connect((address, 5000))
        self.sent = 0
        self.skew = SKEW
        self._clock = clock
        self._later: list[bytes] = []

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def send(self, datagram: bytes, *ways: int) -> None:
        """Send one by some of the ways; a way that is cut takes nothing."""
        if 0 in ways:
            self._send(0, datagram)
        if 1 in ways:
            if not self._later:
                self._clock.callLater(self.skew, self._sendLater, self._later)
                self._clock.callLater(0, self._nextBurst)
            self._later.append(datagram)

    def _nextBurst(self) -> None:
        self._later = []

    def _sendLater(self, burst: list[bytes]) -> None:
        for each in burst:
            self._send(1, each)

    def _send(self, way: int, datagram: bytes) -> None:
        try:
            self.sockets[way].send(datagram)
        except OSError:
            pass

    async def stream(
        self, reactor: Any, count: int, choose: Callable[[int], tuple[int, ...]], rate: int = 1000
    ) -> None:
        """Send so many at a rate, in bursts of five, each by the ways that are chosen for it."""
        began = reactor.seconds()
        for index in range(count):
            if not index % 5:
                await deferLater(reactor, max(0, began + index / rate - reactor.seconds()))
            self.send(rtp(self.sent, size=SIZE), *choose(self.sent))
            self.sent += 1
        await deferLater(reactor, SKEW + 0.02)


def impair(host: Host, *what: str) -> None:
    """Have a host's eth0 lose or delay what it sends."""
    try:
        host.run(needs("tc"), *_NETEM, *what)
    except CommandFailed as error:
        if "kind is unknown" not in str(error):
            raise
        pytest.skip("this kernel has no netem")


@pytest.fixture
def paths(lan: Lan, reactor: Any) -> Iterator[Paths]:
    """Two paths, of which the second takes 80 ms longer."""
    made = Paths(lan, reactor)
    try:
        yield made
    finally:
        made.close()


def legsOf(reactor: Any, paths: Paths) -> list[UDPInput]:
    """An input for each path, to be opened on C{b}."""
    sharing = GroupsockReactor(reactor)
    return [UDPInput(sharing, InputModel.parse(f"udp://{each}:5000")) for each in paths.addresses]


@asynccontextmanager
async def merging(
    reactor: Any, lan: Lan, paths: Paths, port: int = 6000
) -> AsyncIterator[MergedInput]:
    """An open route on C{b} from both paths to C{c}."""
    with paths.receiver:
        merged = MergedInput(reactor, legsOf(reactor, paths), window=WINDOW)
        output = UDPOutput(reactor, OutputModel.parse(f"udp://{lan['c'].ipv4}:{port}"))
        route = Route(merged, [output])
        route.openRoute()
    try:
        yield merged
    finally:
        await route.closeRoute()
    assert output.counters.datagrams == merged.counters.datagrams
    assert output.counters.dropped.total() == 0


@asynccontextmanager
async def listening(reactor: Any, host: Host) -> AsyncIterator[Listener]:
    """What keeps all that comes to port 6000 of a host."""
    listener = Listener()
    with host:
        port = GroupsockReactor(reactor).listenMulticast(6000, listener)
    try:
        yield listener
    finally:
        await port.stopListening()


def numbersOf(listener: Listener) -> list[int]:
    """The numbers of what came, each found to be what was sent."""
    for datagram, _ in listener.received:
        assert datagram == rtp(numberIn(datagram), size=SIZE)
    return [numberIn(datagram) for datagram, _ in listener.received]


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_neverTheSameLost(reactor: Any, lan: Lan, paths: Paths) -> None:
    """
    Two paths that each lose 20 % at random, never the same datagram, and one 80 ms later: every
    datagram comes out once, in order.
    """
    chance = random.Random(2)

    def choose(number: int) -> tuple[int, ...]:
        return chance.choices([(0, 1), (0,), (1,)], [6, 2, 2])[0] if number else (0, 1)

    async with listening(reactor, lan["c"]) as listener, merging(reactor, lan, paths) as merged:
        await paths.stream(reactor, 4000, choose)
        await listener.has(reactor, 4000)
        assert numbersOf(listener) == list(range(4000))
        assert merged.counters.dropped.total() == 0
        one, other = merged.legs()
        assert 600 < one.lost < 1000
        assert 600 < other.lost < 1000
        assert one.lost <= other.used
        assert SKEW - 0.02 < other.skew.mean < SKEW + 0.03


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_theSameLost(reactor: Any, lan: Lan, paths: Paths) -> None:
    """Exactly the datagrams that both paths lose are missing, and are counted."""
    chance = random.Random(3)
    missing = set(chance.sample(range(1, 1999), 200))

    def choose(number: int) -> tuple[int, ...]:
        if number in missing:
            return ()
        return chance.choices([(0, 1), (0,), (1,)], [8, 1, 1])[0] if number else (0, 1)

    async with listening(reactor, lan["c"]) as listener, merging(reactor, lan, paths) as merged:
        await paths.stream(reactor, 2000, choose)
        await listener.has(reactor, 1800)
        assert numbersOf(listener) == [each for each in range(2000) if each not in missing]
        assert +merged.counters.dropped == {"lost": 200}


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_theNetworkLosesAtRandom(reactor: Any, lan: Lan, paths: Paths) -> None:
    """
    With 20 % random loss on each path, by the kernel, what comes out is in order and once; what
    is missing is what is counted, near the 4 % that both lose.
    """
    impair(paths.near, "loss", "random", "20%")
    impair(paths.far, "delay", "80ms", "loss", "random", "20%")
    paths.skew = 0
    async with listening(reactor, lan["c"]) as listener, merging(reactor, lan, paths) as merged:
        await paths.stream(reactor, 4000, lambda _: (0, 1))
        impair(paths.near, "delay", "0ms")
        impair(paths.far, "delay", "80ms")
        await paths.stream(reactor, 5, lambda _: (0, 1))
        await deferLater(reactor, 2 * WINDOW)
        numbers = numbersOf(listener)
        assert numbers == sorted(set(numbers))
        lost = merged.counters.dropped["lost"]
        assert len(numbers) + lost == 4005 - numbers[0]
        assert 80 < lost < 260


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_aPathIsCutAndRestoredTenTimes(reactor: Any, lan: Lan, paths: Paths) -> None:
    """Links that go down and come up again, one or the other, ten times, lose nothing."""
    hosts = (paths.near, paths.far)
    async with listening(reactor, lan["c"]) as listener, merging(reactor, lan, paths) as merged:
        for time in range(10):
            way = time % 2
            await deferToThread(hosts[way].setLink, up=False)
            await paths.stream(reactor, 200, lambda _: (0, 1))
            await deferToThread(hosts[way].setLink, up=True)
            while (silence := merged.legs()[way].silence) is None or silence > 0.2:
                assert paths.sent < 30_000, "the path does not come back"
                await paths.stream(reactor, 100, lambda _: (0, 1))
            await paths.stream(reactor, 100, lambda _: (0, 1))
        await listener.has(reactor, paths.sent)
        assert numbersOf(listener) == list(range(paths.sent))
        assert merged.counters.dropped.total() == 0
        assert all(each.lost > 800 for each in merged.legs())


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_aLinkThatIsCutIsFailedOver(reactor: Any, lan: Lan, paths: Paths) -> None:
    """While the first path is cut the second is given on, and the first again some time after."""
    with paths.receiver:
        source = FailoverInput(
            reactor, legsOf(reactor, paths), Policy(silence=0.3, returnAfter=0.5)
        )
        output = UDPOutput(reactor, OutputModel.parse(f"udp://{lan['c'].ipv4}:6000"))
        route = Route(source, [output])
        route.openRoute()

    async def streamUntil(active: int) -> None:
        while source.active != active:
            assert paths.sent < 30_000, source.describe()
            await paths.stream(reactor, 100, lambda _: (0, 1))

    async with listening(reactor, lan["c"]) as listener:
        await paths.stream(reactor, 500, lambda _: (0, 1))
        assert source.active == 0
        await deferToThread(paths.near.setLink, up=False)
        await streamUntil(1)
        await paths.stream(reactor, 500, lambda _: (0, 1))
        await deferToThread(paths.near.setLink, up=True)
        await streamUntil(0)
        await paths.stream(reactor, 500, lambda _: (0, 1))
        numbers = numbersOf(listener)
        assert numbers[:500] == list(range(500))
        assert numbers[-500:] == list(range(paths.sent - 500, paths.sent))
        # What was sent in the silence is gone; that and the skew is all.
        assert len(set(numbers)) > paths.sent - 600
        assert source.changes == 2
        assert source.counters.datagrams == output.counters.datagrams == len(numbers)
    await route.closeRoute()


class Splitting(DatagramProtocol):
    """Sends what comes by two paths, of which each loses some, never the same."""

    noisy = False

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._chance = random.Random(4)
        self._turns = deque[tuple[int, ...]]([(0, 1)])
        self.lost = [0, 0]

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if not self._turns:
            ways = self._chance.choices([(0, 1), (0,), (1,)], [6, 2, 2])[0]
            self._turns.extend([ways] * self._chance.randint(1, 4))
        ways = self._turns.popleft()
        self._paths.send(datagram, *ways)
        for way in {0, 1}.difference(ways):
            self.lost[way] += 1


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_ffmpegDecodesWhatIsMerged(
    reactor: Any, lan: Lan, paths: Paths, tmp_path: Path
) -> None:
    """A picture that ffmpeg sends as RTP is decoded without an error, with losses on both legs."""
    ffmpeg = (needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "warning")
    description = tmp_path / "stream.sdp"  # with rtp://, ffmpeg loses the first packet itself
    description.write_text(
        f"v=0\no=- 0 0 IN IP4 {lan['c'].ipv4}\ns=-\nc=IN IP4 {lan['c'].ipv4}\nt=0 0\n"
        "m=video 6000 RTP/AVP 33\n"
    )
    splitting = Splitting(paths)
    with paths.near:
        port = GroupsockReactor(reactor).listenMulticast(7000, splitting, "127.0.0.1")
    player = Program(
        lan["c"],
        *(*ffmpeg, "-xerror", "-err_detect", "explode", "-probesize", "200000"),
        *("-protocol_whitelist", "file,rtp,udp", "-i", str(description)),
        *("-map", "0:v", "-frames:v", "50", "-f", "null", "-"),
    )
    sender = Program(
        paths.near,
        *(*ffmpeg, "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-t", "5"),
        *("-c:v", "mpeg2video", "-b:v", "1500k", "-g", "12"),
        *("-f", "rtp_mpegts", "rtp://127.0.0.1:7000?pkt_size=1328"),
    )
    async with merging(reactor, lan, paths) as merged:
        with player:
            waitForPort(lan["c"], 6000)
            with sender:
                deadline = reactor.seconds() + 30
                while player._process.poll() is None and reactor.seconds() < deadline:
                    await deferLater(reactor, 0.05)
            assert player.end() == 0, player.output
        said = player.output.lower()
        assert not any(word in said for word in ("error", "corrupt", "invalid", "missed")), said
        assert min(splitting.lost) > 20
        assert merged.counters.dropped.total() == 0
        assert min(each.lost for each in merged.legs()) > 20
    await port.stopListening()
    await deferLater(reactor, SKEW + 0.02)  # what is still to be sent by the second


def configured(lan: Lan, paths: Paths, folder: Path, how: str) -> Program:
    """The program on C{b} that a file tells to give what comes by both paths to C{c}."""
    file = folder / "relay.toml"
    legs = [f"udp://{each}:5000" for each in paths.addresses]
    file.write_text(
        f"[[route]]\nname = 'stream'\nfrom = {legs}\nto = 'udp://{lan['c'].ipv4}:6000'\n{how}\n"
    )
    return Program(paths.receiver, *twistd("--config", str(file)))


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_theProgramMergesWhatAFileSays(
    reactor: Any, lan: Lan, paths: Paths, tmp_path: Path
) -> None:
    """
    The relay with a configuration file gives on each datagram once, in order, while each path
    loses others and one is later, and while the file is read again with another window.
    """
    chance = random.Random(7)

    def choose(number: int) -> tuple[int, ...]:
        return chance.choices([(0, 1), (0,), (1,)], [6, 2, 2])[0] if number else (0, 1)

    async with listening(reactor, lan["c"]) as listener:
        with configured(lan, paths, tmp_path, "[route.merge]\nwindow = '150ms'") as relay:
            await deferToThread(relay.waitFor, "SIGHUP reads")
            await paths.stream(reactor, 1000, choose)
            file = tmp_path / "relay.toml"
            file.write_text(file.read_text().replace("150ms", "200ms"))
            relay.signal(signal.SIGHUP)
            await paths.stream(reactor, 1000, choose)
            await listener.has(reactor, 2000)
            assert numbersOf(listener) == list(range(2000))
            relay.end(signal.SIGTERM)
        assert "applied: 1 changed" in relay.output
        assert "2,000 datagrams" in relay.output


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_whatGStreamerSendsIsWhole(
    reactor: Any, lan: Lan, paths: Paths, tmp_path: Path
) -> None:
    """
    A transport stream that GStreamer sends as RTP is byte by byte what GStreamer gets behind the
    relay, with losses on both legs, and ffmpeg decodes it without an error.
    """
    gstreamer = shutil.which("gst-launch-1.0", path=PATH)
    if gstreamer is None:
        pytest.skip("gst-launch-1.0 is not installed (Debian: gstreamer1.0-tools)")
    # It complains about each datagram, and would wait for somebody to read that.
    quietly = ("sh", "-c", 'exec "$@" 2>/dev/null', "sh")
    ffmpeg = (needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "warning")
    sent, got = tmp_path / "sent.ts", tmp_path / "got.ts"
    make = (
        "-f lavfi -i testsrc2=size=320x240:rate=25 -t 4 -c:v mpeg2video -b:v 1500k -g 12 -f mpegts"
    )
    subprocess.run([*ffmpeg, *make.split(), str(sent)], check=True, timeout=30)
    splitting = Splitting(paths)
    with paths.near:
        port = GroupsockReactor(reactor).listenMulticast(7000, splitting, "127.0.0.1")
    caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33"
    receiver = Program(
        lan["c"],
        *(
            *quietly,
            gstreamer,
            "-q",
            "-e",
            "udpsrc",
            "port=6000",
            f"caps={caps}",
            "!",
            "rtpmp2tdepay",
        ),
        *("!", "filesink", f"location={got}", "buffer-mode=unbuffered"),
    )
    sender = Program(
        paths.near,
        *(*quietly, gstreamer, "-q", "filesrc", f"location={sent}", "blocksize=1316"),
        *("!", "identity", "datarate=250000", "!", "video/mpegts,packetsize=188,systemstream=true"),
        *("!", "rtpmp2tpay", "!", "udpsink", "host=127.0.0.1", "port=7000"),
    )
    with configured(lan, paths, tmp_path, "[route.merge]\nwindow = '150ms'") as relay, receiver:
        await deferToThread(relay.waitFor, "SIGHUP reads")
        await deferToThread(waitForPort, lan["c"], 6000)
        with sender:
            size = sent.stat().st_size

            def isThere() -> bool:
                return got.exists() and got.stat().st_size >= size

            await deferToThread(waitUntil, isThere, "all of the stream has come")
        receiver.end(signal.SIGINT)
        relay.end(signal.SIGTERM)
    assert min(splitting.lost) > 20
    assert got.read_bytes() == sent.read_bytes()
    check = [*ffmpeg, "-xerror", "-err_detect", "explode", "-i", str(got), "-f", "null", "-"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=30, check=True)
    assert not done.stderr
    await port.stopListening()
    await deferLater(reactor, SKEW + 0.02)  # what is still to be sent by the second
