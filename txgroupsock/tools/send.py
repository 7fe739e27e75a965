"""C{twistd groupsock-send}: the command line, and the service that it asks for."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.python import usage
from twisted.python.usage import CompleteFiles, Completer, Completions

from txgroupsock.primitives import AddressError, parseAddress
from txgroupsock.relay.app.completion import TO, shapes
from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.relay.models.url import URLError
from txgroupsock.teststream.stream import HEADER, LARGEST
from txgroupsock.tools.options import ToolOptions, bitRateOf, datagramRateOf, terminal
from txgroupsock.tools.plan import SendPlan
from txgroupsock.tools.recording import ConstantRate, Recording, Replay
from txgroupsock.tools.tsfile import TSFile

_RATES = ("1000/s", "100k/s", "10M")
_TS_SIZE = 1316


class Options(ToolOptions):
    """The options of C{twistd groupsock-send}."""

    program = "groupsock-send"
    synopsis = (
        "[options] --to udp://address:port[?interface=NAME&ttl=N] [--to ...] "
        "[--file FILE | --replay FILE]"
    )
    longdesc = (
        "Sends a stream to any number of destinations.  Without a file it is a test stream of "
        "numbered datagrams, which groupsock-receive can account for.  --file sends an MPEG "
        "transport stream at its own rate, as its PCRs tell it; --replay sends the UDP "
        "datagrams of a capture (pcap or pcapng) with their own timing.  With twistd's -n it "
        "stays in the foreground: it ends by itself, or by Ctrl-C, prints a result as JSON, and "
        "exits with 0 if everything was sent to everybody, and with 1 otherwise.  rtp:// in the "
        "place of udp:// is the same as --rtp."
    )
    optFlags = [
        ["rtp", None, "Send the transport stream of --file in RTP (payload type 33)."],
        ["loop", None, "Play --file or --replay again and again; timestamps of RTP go on."],
    ]
    optParameters = [
        [
            "rate",
            None,
            None,
            (
                "Datagrams a second, such as 1000/s (the default) or 100k/s, or bits of payload a "
                "second, such as 10M; with --file, bits, whatever its clock says."
            ),
        ],
        ["size", None, None, "Bytes of a datagram of a test stream (default: 1316)."],
        ["count", None, None, "End after so many datagrams."],
        ["seconds", None, None, "End after so many seconds."],
        ["file", None, None, "Send this transport stream."],
        ["flow", None, None, "ADDRESS:PORT in the capture; left out, that of its first datagram."],
        ["speed", None, None, "So many times as fast as it was captured."],
        ["longest-gap", None, None, "Seconds that longer pauses in a capture are cut down to."],
        ["json", None, None, "Write the result to this file, not to the standard output."],
    ]
    compData = Completions(
        multiUse=["to", "replay"],
        mutuallyExclusive=[("file", "replay"), ("rtp", "replay"), ("rate", "replay")],
        optActions={
            "to": shapes(TO, "URL"),
            "rate": shapes(_RATES, "rate"),
            "size": Completer(descr="bytes"),
            "count": Completer(descr="datagrams"),
            "seconds": Completer(descr="seconds"),
            "file": CompleteFiles("*", descr="transport stream"),
            "replay": CompleteFiles("*", descr="capture"),
            "flow": Completer(descr="address and port"),
            "speed": Completer(descr="factor"),
            "longest-gap": Completer(descr="seconds"),
            "json": CompleteFiles("*", descr="file"),
        },
    )

    def __init__(self) -> None:
        ToolOptions.__init__(self)
        self["captures"] = []

    def opt_replay(self, path: str) -> None:
        """Send the datagrams of this capture; repeat for files that follow it."""
        self["captures"].append(os.path.abspath(path))

    def opt_to(self, url: str) -> None:
        """The URL to send to; repeat for further ones."""
        self["urls"].append(url)

    def _checkAll(self) -> None:
        self._checkMixture()
        outputs = self._outputs()
        speed = self._number("speed", "it is a number, such as 2 or 0.5")
        rate, size = self._rate(), self._size()
        self["plan"] = SendPlan(
            outputs,
            self._recording(),
            rate=rate,
            size=size,
            count=self._count("count"),
            seconds=self._seconds("seconds"),
            isLooped=bool(self["loop"]),
            isRTP=bool(self["rtp"]),
            speed=speed or 1.0,
        )

    def _checkMixture(self) -> None:
        """Refuse options that have no meaning together."""
        if self["file"] is not None and self["captures"]:
            raise usage.UsageError("--file and --replay are two streams: give one of them")
        isFile, isReplay = self["file"] is not None, bool(self["captures"])
        for name in ("flow", "speed", "longest-gap"):
            if self[name] is not None and not isReplay:
                raise usage.UsageError(f"--{name} is for --replay")
        if self["loop"] and not (isFile or isReplay):
            raise usage.UsageError("--loop is for --file and --replay: a test stream has no end")
        if isReplay and self["rate"] is not None:
            raise usage.UsageError("--replay has its own timing: --speed makes it faster")
        if self["size"] is not None and (isReplay or (isFile and self["rate"] is None)):
            raise usage.UsageError("--size is for a test stream, and for --file with --rate")

    def _outputs(self) -> tuple[OutputModel, ...]:
        urls: list[str] = self["urls"]
        if not urls:
            raise usage.UsageError("--to is missing, such as --to udp://239.1.1.1:5000")
        isRTP = [each.lower().startswith("rtp://") for each in urls]
        if any(isRTP):
            if not all(isRTP):
                raise usage.UsageError("all destinations get the same: rtp:// or udp:// for all")
            self["rtp"] = 1
        if self["rtp"] and self["file"] is None:
            raise usage.UsageError("RTP is for transport streams: give --file, or leave it out")
        try:
            return tuple(
                OutputModel.parse("udp" + each[3:] if self["rtp"] and rtp else each)
                for each, rtp in zip(urls, isRTP, strict=True)
            )
        except URLError as error:
            raise usage.UsageError(str(error)) from None

    def _rate(self) -> float:
        """Datagrams a second of a test stream."""
        text = self["rate"]
        if text is None:
            return 1000.0
        rate = datagramRateOf(text)
        if rate is None:
            bits = bitRateOf(text)
            if bits is None:
                raise usage.UsageError(
                    f"--rate={text}: it is datagrams a second, such as 1000/s or 100k/s, or bits "
                    "a second, such as 500k, 10M or 1.5G"
                )
            return bits / 8 / self._size()
        if self["file"] is not None:
            raise usage.UsageError(f"--rate={text}: with --file it is bits a second, such as 10M")
        return rate

    def _size(self) -> int:
        size = self._count("size")
        if size is None:
            return _TS_SIZE
        if not HEADER <= size <= LARGEST:
            raise usage.UsageError(f"--size={size}: it is {HEADER} to {LARGEST} bytes")
        return size

    def _recording(self) -> Recording | None:
        if self["captures"]:
            gap = self._seconds("longest-gap", isZeroed=True)
            return Replay(tuple(self["captures"]), self._flow(), gap)
        if self["file"] is None:
            return None
        path = os.path.abspath(self["file"])
        bits = bitRateOf(self["rate"]) if self["rate"] is not None else None
        return TSFile(path) if bits is None else ConstantRate(path, bits, self._size())

    def _flow(self) -> tuple[str, int] | None:
        text = self["flow"]
        if text is None:
            return None
        found = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+)):([0-9]{1,5})", text)
        if found is not None:
            with suppress(AddressError):
                return str(parseAddress(found[1] or found[2])), int(found[3])
        raise usage.UsageError(
            f"--flow={text}: it is ADDRESS:PORT, such as 239.1.1.1:5000 or [ff15::1]:5000"
        )


def makeService(options: Options) -> IService:
    """What C{twistd groupsock-send} runs."""
    # twistd has installed the reactor that it was asked for by now, and no sooner.
    from twisted.internet import reactor

    from txgroupsock.ports.clock import makeSteady
    from txgroupsock.relay.exiting import onInterrupt
    from txgroupsock.relay.names import NameService
    from txgroupsock.tools.sending import SendService

    makeSteady(reactor)
    service = SendService(reactor, options["plan"], options["result"], terminal())
    onInterrupt(reactor, service.end)
    services: list[Any] = [NameService(reactor), service]
    every = MultiService()
    for each in services:
        each.setServiceParent(every)
    return every
