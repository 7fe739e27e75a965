"""The status page shows what the API says, in a real browser."""

from __future__ import annotations

import copy
import re

import pytest

from tests.relay.admin.browser import Browser
from tests.relay.admin.documents import (
    START,
    UNREACHABLE,
    channel,
    disabled,
    history,
    later,
    leg,
    part,
    rates,
    redundant,
    route,
    standby,
    status,
    viewer,
    viewers,
)
from tests.relay.admin.pageserver import PAGE, PageServer
from tests.relay.admin.support import clock, next_, shown

NONE = "\u2013"
CELLS = (
    "return [...document.querySelectorAll('#rows .row')].map(r =>"
    " [...r.querySelectorAll('.cell:not(.chart) > *')].map(e => e.textContent))"
)


def cardOf(browser: Browser, kind: str) -> dict[str, str]:
    """What an opened route says of its first part of a kind: its names and values."""
    found = browser.run(
        "const part = document.querySelector(`.part.${arguments[0]}`);"
        "const row = d => [d.querySelector('dt').textContent, d.querySelector('dd').textContent];"
        "return [...part.querySelectorAll('dl > div')].filter(d => !d.hidden).map(row)",
        kind,
    )
    return dict(found)


def test_rowsAreTheRoutes(browser: Browser) -> None:
    """Each route has a row, in the order of the API, with its rates, drops and state."""
    news, quiet = route("news", 1, packets=1000), route("quiet", 2, packets=0, outputs=1)
    news["outputs"][1]["rate"] = rates(500)
    news["outputs"][1]["dropped"] = {"rate": 1200, "EPERM": 34}
    document = status(news, disabled("spare"), quiet)
    with shown(browser, document):
        assert browser.run(CELLS) == [
            [
                *("news", news["input"]["name"], "10.5 Mbit/s", "1,000 packets/s"),
                *("15.8 Mbit/s", "2 outputs", "1,234", "not now", "Running"),
            ],
            ["spare", "udp://239.9.9.9:5000", NONE, "", NONE, "", NONE, "", "Disabled"],
            [
                *("quiet", quiet["input"]["name"], "0 bit/s", "0 packets/s"),
                *("0 bit/s", "1 output", "0", "", "No input"),
            ],
        ]
        assert browser.text("#routesCount") == "3"


def test_overviewAddsUp(browser: Browser) -> None:
    """The figures at the top are sums; an input that two routes share counts once."""
    news, copied = route("news", 1), route("copy", 1)
    document = status(news, copied, route("other", 2, packets=0.5), disabled("spare"))
    with shown(browser, document):
        tiles = browser.texts("#overview .tile:not([hidden])")
        assert tiles == [
            "In10.5 Mbit/s1,001 packets/s",
            "Out42.1 Mbit/s4,001 packets/s",
            "Dropped now0 packets/sat all routes",
            "Routes4 1 disabled",
            f"Uptime1 h 6 min since {clock(START - 4000.25)}",
        ]
        assert browser.text("#readiness") == "Ready"
        assert browser.text("#version") == "0.1.0"
        label = "return document.querySelector('.tilechart svg').getAttribute('aria-label')"
        assert browser.run(label).startswith("Bit rate of all inputs over 5 min: now 10.5 Mbit/s")


def test_valuesFollow(browser: Browser) -> None:
    """A newer status replaces what is shown, and moves nothing else on the page."""
    document = status(route("news"), route("sports", 2))
    places = (
        "return [...document.querySelectorAll('.tile, h2, .row .cell')]"
        ".map(e => JSON.stringify(e.getBoundingClientRect()))"
    )
    with shown(browser, document) as server:
        before = browser.run(places)
        after = later(document)
        after["routes"][0]["input"]["rate"] = rates(93.2)
        after["routes"][1]["outputs"][0]["rate"] = rates(123456)
        next_(browser, server, after)
        first, second = browser.run(CELLS)
        assert first[2:4] == ["981.2 kbit/s", "93.2 packets/s"]
        assert second[4] == "1.31 Gbit/s"
        assert browser.run(places) == before


def test_openedRouteTellsEverything(browser: Browser) -> None:
    """Memberships, counts, drops with reasons, buffers and stages are under an opened route."""
    news = route("news", outputs=1)
    news["stages"] = [part("OnlyRTP", 990, state=[], buffer=None, dropped={"not RTP": 7})]
    news["input"]["dropped"] = {"kernel": 12, "truncated": 1}
    news["input"]["buffer"] = {"granted": 425984, "requested": 4194304}
    news["outputs"][0]["warnings"] = [UNREACHABLE]
    document = status(news)
    with shown(browser, document) as server:
        browser.click("#rows button.name")
        assert browser.texts(".part h3") == [
            f"Input {news['input']['name']}",
            "Stage OnlyRTP",
            f"Output {news['outputs'][0]['name']}",
        ]
        assert cardOf(browser, "input") == {
            "Receives": "10.5 Mbit/s, 1,000 packets/s",
            "Received": "3,600,000 packets, 4,737,600,000 bytes",
            "Dropped": "13 packets, now 0 packets/s",
            "Buffer": "416.00 KiB of 4.00 MiB wanted",
        }
        assert cardOf(browser, "stage") == {
            "Passes": "10.4 Mbit/s, 990 packets/s",
            "Passed": "3,564,000 packets, 4,690,224,000 bytes",
            "Dropped": "7 packets, now 0 packets/s",
        }
        assert cardOf(browser, "output")["Buffer"] == "1.00 MiB"
        state = browser.texts(".part .state li")
        assert state == ["joined 239.1.0.2 on eth0, port 5000", "sending to 10.0.0.3 port 5001"]
        assert browser.texts(".part.output .warnings li") == [UNREACHABLE]
        drops = browser.texts(".part.input .drops li")
        assert drops[0].startswith("12 kernel: the kernel's receive buffer was full")
        assert "net.core.rmem_max" in drops[0]
        assert drops[1].startswith("1 truncated: ")
        assert browser.texts(".part.stage .drops li") == [
            "7 not RTP: they are no RTP. Ask for it by /udp/, or look at what is sent there."
        ]
        next_(browser, server, later(document))
        assert cardOf(browser, "input")["Received"] == "3,601,000 packets, 4,738,916,000 bytes"
        browser.click("#rows button.name")
        assert browser.texts(".part") == []


LEGS = (
    "return [...document.querySelectorAll('.legs:not([hidden]) tr')]"
    ".map(row => [...row.cells].map(cell => cell.textContent))"
)


def test_legsOfAMergeHaveATable(browser: Browser) -> None:
    """A merged input has a row for each leg with what it did; a route without legs has none."""
    one, two = "udp://239.1.1.1:5000?interface=eth0", "udp://239.1.1.2:5000?interface=eth1"
    merged = route("merged")
    merged["input"] = redundant("merge", leg(one), leg(two, silence=75.0, isSilent=True), changes=1)
    document = status(merged, route("plain", 2))
    with shown(browser, document) as server:
        browser.click("#rows button.name")
        assert browser.text(".legs caption") == "2 legs, merged; changed once"
        first, second = (
            ["3,600,000", "1,800,000", "12, now 0.1 %", "3", "12.3 ms", "none"],
            "silent for ",
        )
        assert browser.run(LEGS) == [
            ["Leg", "State", "Received", "Used", "Lost", "Late", "Behind", "Dropped"],
            [one, "heard", *first],
            [two, f"{second}1 min 15 s", *first],
        ]
        levels = "return [...document.querySelectorAll('.legs tbody tr')].map(r => r.dataset.level)"
        assert browser.run(levels) == [None, "warn"]
        after = later(document)
        after["routes"][0]["input"]["redundancy"]["legs"][1].update(
            isSilent=False, late=4, dropped={"kernel": 7}
        )
        next_(browser, server, after)
        assert browser.run(LEGS)[2] == [two, "heard", *first[:3], "4", first[4], "7 kernel"]
        browser.click("#rows button.name")
        browser.click("#rows .row:last-child button.name")
        assert browser.run(LEGS) == []


def test_legsOfAFailoverHaveATable(browser: Browser) -> None:
    """It says which is given on, and nothing of what nobody measures."""
    one, two = "udp://239.1.1.1:5000", "udp://239.1.1.2:5000"
    backed = route("backed")
    active = standby(two, isActive=True, lossRate=0.25)
    backed["input"] = redundant("failover", standby(one, state=[]), active, changes=3)
    with shown(browser, status(backed)):
        browser.click("#rows button.name")
        assert browser.text(".legs caption") == (
            "2 legs, of which one is given on; changed 3 times"
        )
        assert [row[1:] for row in browser.run(LEGS)[1:]] == [
            ["closed", "3,600,000", "1,800,000", NONE, NONE, NONE, "none"],
            ["given on", "3,600,000", "1,800,000", "25.0 %", NONE, NONE, "none"],
        ]


def test_chartsMove(browser: Browser) -> None:
    """Charts begin with the history, move with each status, and leave gaps where none came."""
    document = status(route("news"))
    path = "return document.querySelector('#rows .line').getAttribute('d')"
    with shown(browser, document) as server:
        browser.until("document.querySelector('#rows .line').getAttribute('d').length > 1000")
        browser.click("#rows button.name")
        first = browser.run(path)
        after = later(document)
        after["routes"][0]["input"]["rate"] = rates(2000)
        next_(browser, server, after)
        second = browser.run(path)
        assert first != second
        assert second.endswith("L299 1.0"), "the newest is at the right, and the highest"
        assert browser.texts(".charts figcaption")[0] == "Bit rate inat most 21.1 Mbit/s"
        assert browser.texts(".charts figcaption")[1] == "Packets inat most 2,000 packets/s"
        next_(browser, server, later(after, 10))
        assert browser.run(path).count("M") == second.count("M") + 1
        assert browser.texts(".axis") == ["5 min agonow"] * 3


def test_changedRoutes(browser: Browser) -> None:
    """Routes come and go with the configuration; those that stay remain opened."""
    document = status(route("a", 1), route("b", 2), route("c", 3))
    with shown(browser, document) as server:
        browser.click("#rows .row:nth-child(2) button")
        browser.until("document.querySelectorAll('#rows .line')[1].getAttribute('d').length > 999")
        after = later(document)
        a, b, _ = after["routes"]
        after["routes"] = [route("new", 4), b, a]
        next_(browser, server, after)
        assert browser.texts("#rows button.name") == ["new", "b", "a"]
        assert len(browser.texts("#rows .detail")) == 1
        order = "return [...document.getElementById('rows').children].map(e => e.className)"
        assert browser.run(order) == ["row", "row", "detail", "row"]
        gone = copy.deepcopy(after)
        gone["routes"] = []
        next_(browser, server, later(gone))
        assert browser.texts("#rows *") == []
        assert browser.text("#noRoutes") == "There are no routes."


def test_viewersAreShown(browser: Browser) -> None:
    """Addresses, limits, named streams, refusals, and channels with who watches them."""
    behind = viewer("10.0.0.9:999", 5, isBehind=True, skips=2, skippedDatagrams=30)
    watched = channel("/udp/239.1.1.1:5000", viewer("10.0.0.7:51234", 12.5), behind)
    document = status(route("news"), viewers=viewers(watched, listening=["0.0.0.0:8080"]))
    document["viewers"]["streams"].append({"path": "/a b?#c", "name": "/rtp/239.1.1.2:5000"})
    with shown(browser, document) as server:
        facts = dict(
            browser.run(
                "return [...document.querySelectorAll('.facts > div')]"
                ".map(e => [...e.children].map(c => c.textContent))"
            )
        )
        assert facts["Listening on"] == "0.0.0.0:8080"
        assert facts["Watching"] == "2 of at most 500, 500 a channel"
        assert facts["Open channels"] == "1 of at most 64"
        assert facts["Since the start"] == "40 viewers, 5 channels, 123,456,789 bytes"
        assert facts["Skipped"] == "2 gaps: 30 packets, 39,480 bytes"
        assert facts["Closed as stalled"] == "1 viewer"
        refused = "2 x slow (no request in time), 1 x 403 (not on the allow-list)"
        assert facts["Refused"] == refused.replace(" x ", " \u00d7 ")
        links = "return [...document.querySelectorAll('.streams a')].map(a => a.href)"
        assert browser.run(links) == [
            "http://127.0.0.1:8080/news",
            "http://127.0.0.1:8080/a%20b%3F%23c",
        ]
        summary = browser.texts(".channel summary span")
        assert summary == ["/udp/239.1.1.1:5000", "10.5 Mbit/s", "2 viewers", "1 behind"]
        browser.click(".channel summary")
        browser.until("document.querySelectorAll('.who tbody tr').length === 2")
        rows = browser.run(
            "return [...document.querySelectorAll('.who tbody tr')]"
            ".map(e => [...e.children].map(c => c.textContent))"
        )
        assert rows == [
            ["10.0.0.9:999", "5 s", "6,580,000 bytes", "2: 30 packets", "behind"],
            ["10.0.0.7:51234", "12 s", "16,450,000 bytes", "none", "up to date"],
        ]
        after = later(document)
        after["viewers"]["totals"]["bytes"] += 1_000_000
        after["viewers"]["channels"][0]["viewers"].pop()
        next_(browser, server, after)
        assert "8.0 Mbit/s" in browser.texts(".facts dd")
        assert len(browser.texts(".who tbody tr")) == 1
        after["viewers"] = None
        next_(browser, server, later(after))
        assert browser.run("return document.getElementById('viewers').hidden")


def test_historyMayFail(browser: Browser) -> None:
    """Without a history, the events alone fill the charts."""
    document = status(route("news"))
    empty = {"interval": 1.0, "time": START - 100, "routes": {}}
    with shown(browser, document, empty) as server:
        for _ in range(3):
            document = later(document)
            next_(browser, server, document)
        path = "return document.querySelector('#rows .line').getAttribute('d')"
        assert browser.run(path).count("L") == 2 + 1


def test_historyMayBeLate(browser: Browser) -> None:
    """What comes while the history is on its way is in the charts afterwards."""
    document = status(route("news"))
    with PageServer(document) as server:
        server.mayRemember.clear()
        browser.open(server.address)
        browser.until("'known' in document.body.dataset")
        for _ in range(3):
            document = later(document)
            next_(browser, server, document)
        path = "document.querySelector('#rows .line').getAttribute('d')"
        assert browser.run(f"return {path}").count("L") == 3
        server.mayRemember.set()
        browser.until(f"{path}.length > 1000")
        line = browser.run(f"return {path}")
        assert line.count("M") == 1
        assert line.count("L") == 299, "300 values, without a gap"


@pytest.mark.parametrize("interval", [1.0, 10.0])
def test_spanOfCharts(browser: Browser, interval: float) -> None:
    """Charts say how long a time they show."""
    document = status(route("news"), interval=interval)
    with shown(browser, document, history(document)):
        label = "return document.querySelector('#rows svg').getAttribute('aria-label')"
        span = {1.0: "5 min", 10.0: "50 min"}[interval]
        assert browser.run(label).startswith(f"Bit rate over {span}: now 10.5 Mbit/s, at most ")


def test_filesAreAllThere() -> None:
    """Each file that the page asks for is in the package, and none needs another server."""
    names = {each.name for each in PAGE.iterdir()}
    for path in PAGE.iterdir():
        text = path.read_text("utf-8")
        wanted = re.findall(r"""(?:from "\./|(?:src|href)=")([\w.-]+\.\w+)\"""", text)
        assert set(wanted) <= names, path
        others = [url for url in re.findall(r"https?://[\w.$]+", text) if "w3.org" not in url]
        assert others in ([], ["http://$"]), path
