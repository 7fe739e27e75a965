"""C{twistd groupsock-receive}: the command line, and the service that it asks for."""

from __future__ import annotations

import os

from twisted.application.service import IService
from twisted.python import usage
from twisted.python.usage import CompleteFiles, Completer, Completions

from txgroupsock.relay.app.completion import FROM, shapes
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import StreamURL, URLError
from txgroupsock.tools.options import ToolOptions, terminal
from txgroupsock.tools.receiving import ReceivePlan

_SILENCE = 5.0


class Options(ToolOptions):
    """The options of C{twistd groupsock-receive}."""

    program = "groupsock-receive"
    synopsis = "[options] --from udp://[source@]address:port[?interface=NAME] [--from ...]"
    longdesc = (
        "Receives a stream and tells what became of it on its way: of a test stream of "
        "groupsock-send loss, reordering, duplicates, latency and jitter; of RTP loss, "
        "reordering, duplicates and jitter; of a transport stream errors as TR 101 290 has them; "
        "of anything how much comes, and when.  With twistd's -n it stays in the foreground: it "
        "ends by itself when a test stream is complete or nothing has come for --silence seconds, "
        "or by Ctrl-C, prints a result as JSON, and exits with 0 if something came and nothing "
        "was lost, and with 1 otherwise.  Latency is right if sender and receiver are one host, "
        "or their clocks agree."
    )
    optParameters = [
        ["count", None, None, "End after so many datagrams."],
        ["seconds", None, None, "End so many seconds after the first datagram."],
        [
            "silence",
            None,
            None,
            "End when nothing has come for so many seconds; 0: never (default: 5).",
        ],
        ["wait", None, None, "Seconds in which the first datagram has to come (default: any)."],
        [
            "output",
            None,
            None,
            "Write the payload to this file; of RTP, the transport stream in it.",
        ],
        ["json", None, None, "Write the result to this file, not to the standard output."],
    ]
    compData = Completions(
        multiUse=["from"],
        optActions={
            "from": shapes(FROM, "URL"),
            "count": Completer(descr="datagrams"),
            "seconds": Completer(descr="seconds"),
            "silence": Completer(descr="seconds"),
            "wait": Completer(descr="seconds"),
            "output": CompleteFiles("*", descr="file"),
            "json": CompleteFiles("*", descr="file"),
        },
    )

    def opt_from(self, url: str) -> None:
        """The URL to receive; repeat for further sources of the same group."""
        self["urls"].append(url)

    def _checkAll(self) -> None:
        urls: list[str] = self["urls"]
        if not urls:
            raise usage.UsageError("--from is missing, such as --from udp://239.1.1.1:5000")
        try:
            model = InputModel.of([StreamURL.parse(_plain(each)) for each in urls])
        except URLError as error:
            raise usage.UsageError(str(error)) from None
        silence = self._seconds("silence", isZeroed=True)
        output = self["output"]
        self["plan"] = ReceivePlan(
            model,
            count=self._count("count"),
            seconds=self._seconds("seconds"),
            silence=_SILENCE if silence is None else silence,
            wait=self._seconds("wait"),
            output=None if output is None else os.path.abspath(output),
        )


def _plain(url: str) -> str:
    """RTP is recognised anyway, so C{rtp://} is as good as C{udp://}."""
    return "udp" + url[3:] if url.lower().startswith("rtp://") else url


def makeService(options: Options) -> IService:
    """What C{twistd groupsock-receive} runs."""
    # twistd has installed the reactor that it was asked for by now, and no sooner.
    from twisted.internet import reactor

    from txgroupsock.ports.clock import makeSteady
    from txgroupsock.relay.exiting import onInterrupt
    from txgroupsock.tools.receiving import ReceiveService

    makeSteady(reactor)
    service = ReceiveService(reactor, options["plan"], options["result"], terminal())
    onInterrupt(reactor, service.end)
    return service
