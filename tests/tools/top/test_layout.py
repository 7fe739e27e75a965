"""What is on the screen, without a screen."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.admin.statuses import DOCUMENTS, document, end, fullDocument, route
from tests.relay.health.documents import health
from txgroupsock.tools.top.layout import Seen, Style, plain, screen
from txgroupsock.tools.top.snapshot import Snapshot
from txgroupsock.tools.top.table import short
from txgroupsock.tools.top.text import width
from txgroupsock.tools.top.view import View

URL = "http://127.0.0.1:8088"


def read(status: Any) -> Snapshot:
    """A document as the program gets it."""
    return Snapshot.parse(json.dumps(status).encode())


def shown(
    status: Any, view: View | None = None, cells: int = 100, height: int = 24, problem: str = ""
) -> list[str]:
    """The lines of a screen."""
    seen = Seen(URL, read(status), problem, 12.0)
    return [line.text for line in screen(seen, view or View(), cells, height)]


def routesOf(lines: list[str]) -> list[str]:
    """The names of the routes, in their order."""
    return [line.split()[1] for line in lines if line[:2] in {"+ ", "- "}]


def rated(name: str, bits: float, drops: float = 0.0) -> dict[str, Any]:
    """A route with this rate."""
    rate = {"datagrams": bits / 10528, "bits": bits, "dropped": drops}
    return route(name, 1, input=end("in", rate=rate))


MANY = document(rated("b", 3e6), rated("C", 1e6, 5.0), rated("a", 2e6))


def test_theFirstLinesSayHowItIs() -> None:
    """Ready or not, for how long, where, and the sums of all routes."""
    title, sums, *_ = shown(fullDocument(), cells=160)
    assert title == f"ready  up 1:06:40  {URL}  txgroupsock 0.1.0"
    assert sums == (
        "5 routes (1 disabled)  in 42.1 Mbit/s  out 73.7 Mbit/s  6 drops/s  2 warnings  "
        "1 of 500 viewers, 1 channel, 1 refused"
    )
    assert shown(document(isReady=False))[0].startswith("NOT READY")


def test_sumsStayWhole() -> None:
    """Where they do not fit in one line, a second one begins with a whole one of them."""
    lines = shown(fullDocument(), cells=80)
    assert lines[1].endswith("6 drops/s  2 warnings")
    assert lines[2] == "1 of 500 viewers, 1 channel, 1 refused"
    assert "ROUTE" in shown(fullDocument(), cells=80, height=11)[2]


def test_aRefusedChangeIsSaid() -> None:
    """The last change that was refused is there until another one is taken over."""
    change = {"time": 1.0, "isDone": False, "text": "relay.toml:7: no"}
    assert "the last change was refused: relay.toml:7: no" in shown(document(change=change))


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("", ["b", "a", "C"]),
        ("d", ["C", "a", "b"]),
        ("n", ["a", "b", "C"]),
        ("f", ["b", "C", "a"]),
        ("ss", ["a", "b", "C"]),
        ("ssss", ["b", "a", "C"]),
    ],
)
def test_routesAreInTheOrderAskedFor(keys: str, names: list[str]) -> None:
    """By rate at first, by drops, by name, and as the configuration has them."""
    view = View()
    for key in keys:
        view.press(key)
    assert routesOf(shown(MANY, view)) == names


def test_aFilterShowsWhatHasIt() -> None:
    """Routes are shown that have it in their name, or in the name of a part, in any case."""
    view = View()
    for key in ("/", "C"):
        view.press(key)
    assert shown(MANY, view)[-1] == "/C_"
    assert routesOf(shown(MANY, view)) == ["C"]
    view.press("backspace")
    assert len(routesOf(shown(MANY, view))) == 3
    for key in "10.0.0.9":
        view.press(key)
    view.press("enter")
    assert routesOf(shown(fullDocument(), view)) == ["sport"]
    assert shown(fullDocument(), view)[-1].startswith("filter: 10.0.0.9  q quit")
    assert "no route has '10.0.0.9' in it" in shown(MANY, view)
    view.press("escape")
    assert len(routesOf(shown(MANY, view))) == 3


def test_qIsALetterOfAFilter() -> None:
    """While a filter is typed keys are letters; then q ends it."""
    view = View()
    assert [view.press(key) for key in ("/", "q", "enter", "q")] == [False, False, False, True]


def test_aRouteUnfolds() -> None:
    """It shows what is open, what was lost and why, and each warning; and folds again."""
    view = View(order="name")
    shown(fullDocument(), view)
    for key in ("end", "enter"):
        view.press(key)
    lines = [line.strip() for line in shown(fullDocument(), view)]
    start = next(number for number, line in enumerate(lines) if line.startswith("- sport"))
    heads = [re.split(" {2,}", line)[0] for line in lines[start : start + 8]]
    assert heads == [
        "- sport",
        "in udp://239.1.1.1:5000",
        "open: udp://239.1.1.1:5000",
        "! the receive buffer is small: raise it",
        "out udp://10.0.0.9:5000",
        "open: udp://10.0.0.9:5000",
        "dropped: ENETUNREACH 5, rate 2",
        "! cannot be reached now (ENETUNREACH): name the interface",
    ]
    view.press("enter")
    assert not any(line.startswith("- ") for line in shown(fullDocument(), view))


def test_healthIsUnderTheInput() -> None:
    """An unfolded route has the main figures of its health; what is no health is no status."""
    looked = route("news", 1, health=health())
    lines = shown(document(looked), View(unfolded={"news"}))
    place = lines.index(next(each for each in lines if "open: udp://239.1.1.1:5000" in each))
    assert [each.strip() for each in lines[place + 1 : place + 4]] == [
        "gaps up to 4.0 ms, longest 1,250.0 ms, 1 silences",
        "RTP: 3 of 50,003 lost, 2 reordered, 1 duplicates, jitter 1.5 ms",
        "TS: in sync, 5 continuity errors, 3 PIDs, missing: PID 258",
    ]
    silent = health(isHeard=False)
    silent["stream"]["silence"] = 2.5
    text = "\n".join(shown(document(route("news", 1, health=silent)), View(unfolded={"news"})))
    assert "silent for 2.5 s" in text
    assert "RTP" not in text
    for wrong in ({}, {"stream": 3}, health(rtp={"lost": "\x1b[2J"}), [1], "x"):
        with pytest.raises(ValueError, match="not what a relay answers"):
            read(document(route("news", 1, health=wrong)))


def test_theMarkStaysOnItsRoute() -> None:
    """Once somebody has moved it, the mark follows its route when rates change their order."""
    view = View()

    def marked(status: Any) -> str:
        lines = screen(Seen(URL, read(status)), view, 80, 20)
        (line,) = [line.text for line in lines if line.style is Style.MARKED]
        return line.split()[1]

    assert marked(MANY) == "b"
    assert marked(document(rated("b", 0.0), rated("x", 1.0))) == "x"
    assert marked(MANY) == "b"
    view.press("down")
    assert marked(MANY) == "a"
    assert marked(document(rated("b", 1.0), rated("a", 9e9))) == "a"
    view.press("home")
    assert marked(MANY) == "b"


def test_theMarkedLineIsInSight() -> None:
    """The list scrolls with the mark, to its very end and back."""
    status = document(*(rated(f"r{number:03}", 1.0) for number in range(100)))
    view = View(order="name")
    assert routesOf(shown(status, view, height=14))[0] == "r000"
    view.press("pageDown")
    assert "r010" in routesOf(shown(status, view, height=14))
    view.press("end")
    names = routesOf(shown(status, view, height=14))
    assert (names[-1], len(names)) == ("r099", 10)
    assert routesOf(shown(status, view, height=34))[-1] == "r099"
    view.press("home")
    assert routesOf(shown(status, view, height=14))[0] == "r000"


def test_anOldAnswerStaysBesideTheProblem() -> None:
    """While a relay does not answer its last figures stay, and it says so, and for how long."""
    lines = shown(MANY, problem="it is gone")
    assert lines[0].startswith("NO ANSWER")
    assert lines[1] == "it is gone (trying again; 12 s without an answer)"
    assert len(routesOf(lines)) == 3


def test_withoutAnyAnswerTheProblemIsThere() -> None:
    """Before the first answer there is what is wrong, and what to do."""
    lines = screen(Seen(URL, None, "does the relay run?", 0.0), View(), 30, 10)
    assert lines[0].text == f"groupsock-top  {URL}"[:29] + "~"
    assert lines[1].text == "does the relay run? (trying"


KEYS = st.sampled_from(
    [
        *("up", "down", "pageUp", "pageDown", "home", "end", "enter", "escape", "backspace"),
        *"/sqrdnfjkgGx ",
    ]
)


@given(
    DOCUMENTS, st.lists(KEYS, max_size=12), st.integers(0, 120), st.integers(0, 40), st.booleans()
)
def test_everythingFits(
    status: dict[str, Any], keys: list[str], cells: int, height: int, isGone: bool
) -> None:
    """On any screen, after any keys, no line is wider than it, and there are no more than fit."""
    view, seen = View(), Seen(URL, read(status), "it is gone" * isGone, 1.0)
    for key in keys:
        view.press(key)
        lines = screen(seen, view, cells, height)
        assert len(lines) <= height
        assert all(width(line.text) <= cells for line in lines)
        assert all(line.text.isprintable() for line in lines)
    assert all(line.isprintable() for line in plain(URL, seen.snapshot or read(status)))


def test_narrowScreensHaveWhatMatters() -> None:
    """With 40 columns there are name, rate and drops; with 100, everything."""
    head = next(line for line in shown(MANY, cells=40) if "ROUTE" in line)
    assert head.split() == ["ROUTE", "IN", "DROP/S"]
    head = next(line for line in shown(MANY, cells=80) if "ROUTE" in line)
    assert head.split() == ["ROUTE", "IN", "PKT/S", "OUT", "DROP/S", "STATE"]
    head = next(line for line in shown(MANY, cells=100) if "ROUTE" in line)
    assert head.split() == ["ROUTE", "IN", "PKT/S", "OUT", "DROP/S", "DROPPED", "STATE"]


def test_thousandsOfRoutesAreQuick() -> None:
    """A screen of 5,000 routes takes a small part of the second until the next one."""
    seen = Seen(URL, read(document(*(rated(f"r{number}", number) for number in range(5000)))))
    view = View()
    before = time.process_time()
    for _ in range(5):
        view.press("end")
        screen(seen, view, 100, 40)
    assert (time.process_time() - before) / 5 < 0.5


def test_plainLinesHaveWholeNames() -> None:
    """Without a terminal nothing is cut, and warnings come after the table."""
    name = "a name that is longer than any column of a screen would be, and then some more"
    lines = plain(URL, read(document(route(name), *fullDocument()["routes"])))
    assert any(line.startswith(f"  {name} ") for line in lines)
    assert lines[-1] == (
        "sport: out udp://10.0.0.9:5000: cannot be reached now (ENETUNREACH): name the interface"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.25, "0.2"),
        (9.96, "10.0"),
        (1000.4, "1,000"),
        (99_999, "99,999"),
        (99_999.9, "100k"),
        (123_456, "123k"),
        (999_499, "999k"),
        (999_600, "1.00M"),
        (4_560_000, "4.56M"),
        (1e30, "a lot"),
    ],
)
def test_countsAreShort(number: float, text: str) -> None:
    """A count takes six letters at most."""
    assert short(number) == text


@given(st.floats(0, 1e40))
def test_countsFitTheirColumn(number: float) -> None:
    """However much was counted."""
    assert len(short(number)) <= 6


def test_anUnfoldedRouteHasItsLegs() -> None:
    """What each leg of a redundant input did, and which is given on, is under it."""
    view = View()
    for name in ("hitless", "backed"):
        view.unfolded.add(name)
    lines = shown(fullDocument(), view, cells=200, height=60)
    legs = [line.strip() for line in lines if line.strip().startswith("leg ")]
    first, second = "udp://239.1.1.1:5000?interface=eth0", "udp://239.1.1.2:5000?interface=eth1"
    assert sorted(legs) == sorted(
        [
            (
                "leg 1: 50,000 received, 49,000 used, 12 lost, 2 late, loses 0.2 %, up to 12.0 ms "
                f"behind; {first}"
            ),
            (
                "leg 2: closed, 50,000 received, 49,000 used, 12 lost, 2 late, 4 dropped, "
                f"loses 0.2 %, up to 12.0 ms behind; {second}"
            ),
            f"leg 1, standing by: 50,000 received, 0 used; {first}",
            f"leg 2, given on: 50,000 received, 0 used; {second}",
        ]
    )
