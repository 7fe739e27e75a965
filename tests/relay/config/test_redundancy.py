"""Redundant inputs as a configuration file and a command line ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from txgroupsock.relay.app.tap import Options
from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.config.file import ConfigurationError, parseConfiguration
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import StreamURL
from txgroupsock.relay.redundancy.model import FailoverModel, MergeModel, RedundantModel
from txgroupsock.relay.redundancy.sequencing import SequenceField
from txgroupsock.relay.workers.split import resplit, split

A = "udp://10.0.0.1@232.1.1.1:5000"
B = "udp://10.1.0.1@232.1.1.2:5000"
C = "udp://10.1.0.2@232.1.1.2:5000"
U, V, W = "udp://127.0.0.1:5001", "udp://127.0.0.1:5002", "udp://127.0.0.1:5003"
OUT = "udp://10.0.0.9:6000"


def routeOf(*legs: str | list[Any], how: str = "[route.merge]", to: str = OUT) -> str:
    """A route of a file, whose legs are on line 2 and whose C{how} begins on line 4."""
    return f"[[route]]\nfrom = {json.dumps(legs)}\nto = {to!r}\n{how}\n"


def parsed(text: str) -> Configuration:
    """What a file asks for."""
    return parseConfiguration(text, "x.toml")


def inputOf(text: str) -> RedundantModel:
    """The input of its only route."""
    ((route,), *_) = [parsed(text).relay.routes]
    assert isinstance(route.input, RedundantModel)
    return route.input


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigurationError) as caught:
        parsed(text)
    return [str(each).removeprefix("x.toml:") for each in caught.value.problems]


def test_aMergeHasLegs() -> None:
    """Each element of from is a leg: a URL, or a list of URLs of which it is heard from all."""
    merged = inputOf(routeOf(A, [B, C]))
    assert merged.legs == (
        InputModel.parse(A),
        InputModel.of([StreamURL.parse(B), StreamURL.parse(C)]),
    )
    assert merged.redundancy == MergeModel()
    assert merged.name == f"merge of {A} and {B}"
    assert merged.isMulticast


def test_everyKeyOfAMergeIsInTheModel() -> None:
    """Times have units, and the number of a datagram may be anywhere in it."""
    how = (
        "[route.merge]\nwindow = '10ms'\nby = { offset = 4, width = 8, byteorder = 'little' }\n"
        "limit = 100\nsilence = '3s'\nloss = 0.5"
    )
    assert inputOf(routeOf(A, B, how=how)).redundancy == MergeModel(
        0.01, SequenceField(4, 8, "little"), 100, 3.0, 0.5
    )
    assert inputOf(routeOf(A, B, how="[route.merge]\nby = 'rtp'")).redundancy == MergeModel()


def test_everyKeyOfAFailoverIsInTheModel() -> None:
    """What is left out is as in Policy."""
    how = (
        "[route.failover]\nsilence = '200ms'\nloss = 0.1\nreturn = '1min'\n"
        "boundary = 'ts-unit'\nboundaryWait = '2s'"
    )
    redundancy = inputOf(routeOf(U, V, how=how)).redundancy
    assert redundancy == FailoverModel(0.2, 0.1, None, 60.0, "ts-unit", 2.0)
    assert isinstance(redundancy, FailoverModel)
    assert redundancy.policy.sequencing is not None
    assert inputOf(routeOf(U, V, how="[route.failover]")).redundancy == FailoverModel()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            routeOf(A),
            [
                (
                    f"2: route[1].from[1]: '{A}': a merge needs two legs or more, and this is the "
                    "only one"
                )
            ],
        ),
        (
            routeOf(U, V, how="merge = {}\nfailover = {}"),
            [
                "5: route[1].failover: a route has either merge or failover; leave one of them out",
            ],
        ),
        (
            routeOf(U, [V], U),
            [f"2: route[1].from[3]: '{U}': there is a leg that receives just this; leave one out"],
        ),
        (
            routeOf(A, [C, B], [B, C]),
            [
                (
                    f"2: route[1].from[3][1]: '{B}': there is a leg that receives just this; leave "
                    "one out"
                )
            ],
        ),
        (
            routeOf(U, V, how="[route.failover]\nboundary = 'gop'"),
            [
                (
                    '5: route[1].failover.boundary: \'gop\' is not "rtp-frame" or "ts-unit" or '
                    '"ts-random-access"'
                )
            ],
        ),
        (
            routeOf(U, V, how="[route.merge]\nwindow = '2s'"),
            [
                (
                    "5: route[1].merge.window: the window is longer than the silence, so a leg "
                    "would be said to be silent while it is waited for; give it a shorter window, "
                    "or a longer silence"
                )
            ],
        ),
        (
            routeOf(U, V, how="[route.merge]\nwindow = 50\nloss = 1\nsilence = '0s'"),
            [
                (
                    "5: route[1].merge.window: it is a whole number, and should be a time from "
                    '100us to 10s, such as "50ms", in quotes'
                ),
                (
                    "6: route[1].merge.loss: 1 is not a number between 0 and 1, such as 0.01 for "
                    "one percent"
                ),
                '7: route[1].merge.silence: 0s is not a time from 1ms on, such as "1s"',
            ],
        ),
        (
            routeOf(U, V, how="[route.merge]\nlimit = 16385"),
            [
                (
                    "5: route[1].merge.limit: 16385 is more than a quarter of the 65,536 numbers "
                    "that there are; give it 16384 at most"
                )
            ],
        ),
        (
            routeOf(U, V, how="[route.merge]\nby = 'RTP'"),
            [
                (
                    "5: route[1].merge.by: 'RTP' is not \"rtp\", or where the number is: "
                    "{ offset = 4, width = 4 }"
                )
            ],
        ),
        (
            routeOf(U, V, how="[route.merge]\nby = { offset = 4, width = 9 }"),
            ["5: route[1].merge.by.width: 9 is not a whole number from 1 to 8"],
        ),
        (
            routeOf(U, [V], how=""),
            [
                (
                    "2: route[1].from[2]: a list in a list is a leg, and there is neither merge "
                    "nor failover; add [route.merge] or [route.failover], or give URLs that "
                    "differ in their source"
                )
            ],
        ),
        (
            routeOf(U, [V, W]),
            [
                (
                    f"2: route[1].from[2][2]: '{W}': a route has one input, and '{V}' is another; "
                    "only the source may differ.  Give it a route of its own: --from and --to "
                    "after these, or another [[route]].  Or make one stream of both: --merge or "
                    "--failover, or [route.merge] or [route.failover]"
                )
            ],
        ),
        (
            routeOf(U, [], V, [3]),
            [
                "2: route[1].from[2]: the list is empty; give it a URL",
                "2: route[1].from[4][1]: it is a whole number, and should be a URL",
            ],
        ),
        (
            f"[[route]]\nfrom = {'[' * 300}{']' * 300}\nto = '{OUT}'\n[route.merge]",
            ["2: route[1].from[1][1]: it is a list, and should be a URL"],
        ),
        (
            routeOf(),
            ["2: route[1].from: the list is empty; give it a URL"],
        ),
        (
            routeOf(U, V, how="failover = true"),
            ["4: route[1].failover: it is true or false, and should be a table"],
        ),
        (
            routeOf(U, V, to=V),
            [
                (
                    f"3: route[1].to: '{V}': it is the input too, so everything would go round in "
                    "a loop; change the address or the port, or, for a group, give both a "
                    "different interface"
                )
            ],
        ),
        (
            routeOf(U, V) + routeOf(W, V),
            [f"7: route[2].to: '{OUT}': route 1 brings it all of {V} already; leave one out"],
        ),
        (
            routeOf(U, V, to="udp://127.0.0.1:7000")
            + routeOf("udp://127.0.0.1:7000", W, to="udp://127.0.0.1:5002"),
            [
                (
                    "7: route[2].to: 'udp://127.0.0.1:5002': it leads back to merge of "
                    f"{U} and {V}, from which it comes, so everything would go round in a loop; "
                    "leave one of these routes out, or change an address or a port"
                )
            ],
        ),
    ],
)
def test_everyMistakeHasItsLineAndRemedy(text: str, expected: list[str]) -> None:
    """Each problem is one line: file, line, key, what is wrong and what would be right."""
    assert problems(text) == expected


def test_aModelGoesThroughJSON() -> None:
    """What is told to a worker process is what it is to do."""
    for how in (
        "[route.merge]\nby = { offset = 4, width = 4 }\nwindow = '7ms'",
        "[route.failover]\nboundary = 'rtp-frame'\nloss = 0.2",
    ):
        (route,) = parsed(routeOf(A, [B, C], how=how)).relay.routes
        assert RouteModel.fromJSON(json.loads(json.dumps(route.toJSON()))) == route


def test_checkPrintsTheLegs() -> None:
    """--check says what is made of which legs."""
    text = routeOf(A, [B, C], how="[route.merge]\nby = { offset = 4, width = 4 }")
    text += routeOf(U, V, how="[route.failover]\nloss = 0.2", to="udp://10.0.0.9:7")
    lines = summary(parsed(text))
    assert [line.strip() for line in lines if " leg" in line] == [
        (
            "from 2 legs, merged by the number at offset 4, 4 bytes, big endian, waiting for up "
            "to 50 ms"
        ),
        "leg 1: group 232.1.1.1 port 5000, joined, heard from 10.0.0.1",
        "leg 2: group 232.1.1.2 port 5000, joined, heard from 10.1.0.1 and 10.1.0.2",
        (
            "from 2 legs, the first that has not been silent for 1 s and does not lose more than "
            "20 % by the sequence number of RTP; back after 10 s"
        ),
        "leg 1: 127.0.0.1 port 5001 of this host",
        "leg 2: 127.0.0.1 port 5002 of this host",
    ]


# --- The command line ----------------------------------------------------------------------------


def options(*words: str) -> Configuration:
    """What a command line asks for."""
    made = Options()
    made.parseOptions(list(words))
    configuration: Configuration = made["configuration"]
    return configuration


def test_theCommandLineHasBoth() -> None:
    """--merge and --failover are about the --from before them, of their route only."""
    first, second, third = options(
        *("--from", U, "--from", V, "--merge", "--to", OUT, "--from", A, "--to", OUT),
        *("--from", W, "--from", B, "--to", "udp://10.0.0.9:7", "--failover"),
    ).relay.routes
    assert isinstance(first.input, RedundantModel)
    assert isinstance(second.input, InputModel)
    assert isinstance(third.input, RedundantModel)
    assert (first.input.kind, third.input.kind) == ("merge", "failover")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--merge", "--from", U], "--merge is about the --from before it: give these first"),
        (
            ["--from", U, "--from", V, "--merge", "--failover", "--to", OUT],
            "a route has either --merge or --failover: leave out one",
        ),
        (["--from", U, "--merge", "--to", OUT], "a merge needs two legs or more"),
        (["--from", U, "--from", V, "--to", OUT], "Or make one stream of both: --merge"),
    ],
)
def test_mistakesOfACommandLine(words: list[str], expected: str) -> None:
    """They are said with the remedy, too."""
    with pytest.raises(StartError, match=expected):
        options(*words)


# --- Several processes ---------------------------------------------------------------------------


def routesOf(*texts: str) -> tuple[RouteModel, ...]:
    """The routes of a file."""
    return parsed("".join(texts)).relay.routes


def test_routesThatShareALegStayTogether() -> None:
    """Whichever leg it is, it is received once; the others go to other workers."""
    routes = routesOf(
        routeOf(U, V),
        routeOf(A, how="", to="udp://10.0.0.9:1"),
        routeOf(V, W, to="udp://10.0.0.9:2"),
        routeOf(B, A, to="udp://10.0.0.9:3"),
        routeOf(W, how="", to="udp://10.0.0.9:4"),
    )
    assert split(routes, 4) == [[0, 2, 4], [1, 3]]


def test_aNewRouteGoesWhereItsLegsAre() -> None:
    """A merged route goes to the worker that has one of its legs; a unicast one decides."""
    there = routesOf(
        routeOf(A, how="", to="udp://10.0.0.9:1"), routeOf(V, how="", to="udp://10.0.0.9:2")
    )
    wanted = (*there, *routesOf(routeOf(A, V)))
    assert resplit(wanted, there, [0, 1, None], [0, 1], 2) == [0, 1, 1]
    there += routesOf(routeOf(U, how="", to="udp://10.0.0.9:3"))
    wanted = (*there, *routesOf(routeOf(U, V)))
    with pytest.raises(RuntimeError, match=r"both receive udp://127\.0\.0\.1:5002, but worker 2"):
        resplit(wanted, there, [0, 1, 2, None], [0, 1, 2], 3)
