"""The status page shows what the API says, in a real browser."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.relay.web.browser import PAGE, Browser, PageServer
from tests.relay.web.documents import (
    SMALL_BUFFER,
    START,
    UNREACHABLE,
    Document,
    channel,
    disabled,
    history,
    later,
    part,
    rates,
    route,
    status,
    viewer,
    viewers,
)

DOCS = Path(__file__).parents[3] / "docs"
TROUBLE = "#trouble > li"
CELLS = (
    "return [...document.querySelectorAll('#rows .row')].map(r =>"
    " [...r.querySelectorAll('.cell:not(.chart) > *')].map(e => e.textContent))"
)


@contextmanager
def shown(browser: Browser, first: Document, past: Document | None = None) -> Iterator[PageServer]:
    """The page, with a status on it."""
    with PageServer(first, past) as server:
        browser.open(server.address)
        browser.until("'known' in document.body.dataset")
        browser.until("arguments[0].length > 0", server.address)
        yield server


def next_(browser: Browser, server: PageServer, document: Document) -> None:
    """Have the page show a newer status."""
    server.send(document)
    uptime = f"Live, {clock(document['time'])}"
    browser.until("document.getElementById('connection').textContent === arguments[0]", uptime)


def clock(time: float) -> str:
    """A time of the day of START, which is not today's."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(int(time), timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def withWarning(document: Document, text: str, index: int = 0) -> Document:
    """The same a second later, its input warning."""
    after = later(document)
    after["routes"][index]["input"]["warnings"] = [text]
    return after


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
            ["news", news["input"]["name"], "10.5 Mbit/s", "1,000 packets/s"]
            + ["15.8 Mbit/s", "2 outputs", "1,234", "not now", "Running"],
            ["spare", "udp://239.9.9.9:5000", "–", "", "–", "", "–", "", "Disabled"],
            ["quiet", quiet["input"]["name"], "0 bit/s", "0 packets/s"]
            + ["0 bit/s", "1 output", "0", "", "No input"],
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
            "Routes46 outputs, 1 disabled",
            f"Uptime1 h 6 minsince {clock(START - 4000.25)}",
        ]
        assert browser.text("#readiness") == "Ready"
        assert browser.text("#version") == "groupsock-relay 0.1.0"
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
        assert browser.texts(".part.stage .drops li") == ["7 not RTP: dropped here."]
        next_(browser, server, later(document))
        assert cardOf(browser, "input")["Received"] == "3,601,000 packets, 4,738,916,000 bytes"
        browser.click("#rows button.name")
        assert browser.texts(".part") == []


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


def test_warningsComeAndGo(browser: Browser) -> None:
    """A warning is on top with its remedy and its routes, and vanishes when it is over."""
    document = status(route("news"), route("sports", 2))
    with shown(browser, document) as server:
        assert browser.run("return document.title") == "groupsock-relay"
        assert browser.text("#allIsWell") == "Nothing."
        after = withWarning(withWarning(document, SMALL_BUFFER), SMALL_BUFFER, 1)
        after["routes"][1]["outputs"][0]["warnings"] = [UNREACHABLE]
        next_(browser, server, after)
        what, remedy = SMALL_BUFFER.split(": ")
        where = "udp://10.0.0.3:5002"
        assert browser.texts(f"{TROUBLE} strong") == [what, UNREACHABLE.split(": ")[0]]
        assert browser.texts(f"{TROUBLE} .remedy") == [remedy, UNREACHABLE.split(": ")[1]]
        assert browser.texts(f"{TROUBLE} .where li") == ["news", "sports", f"sports{where}"]
        assert browser.run("return document.title") == "(2) groupsock-relay"
        assert browser.texts("#rows .cell.state") == ["Warning", "Warning"]
        told = browser.text("#announcements")
        assert told == f"New: {what}. New: {UNREACHABLE.split(': ')[0]}."
        next_(browser, server, later(document, 5))
        assert browser.texts(TROUBLE) == []
        assert browser.run("return document.title") == "groupsock-relay"
        assert browser.text("#announcements p:last-child").startswith("Over: ")


def test_countsInWarningsAreNoNews(browser: Browser) -> None:
    """A warning that counts up is one thing, told once; what differs is said for each route."""
    document = status(route("news"), route("sports", 2))
    with shown(browser, document) as server:
        for number in range(1, 4):
            document = withWarning(document, f"came back: ECONNREFUSED {number}")
            document = withWarning(document, f"came back: ECONNREFUSED {1000 * number}", 1)
            next_(browser, server, document)
        assert browser.texts(f"{TROUBLE} strong") == ["came back"]
        assert browser.texts(f"{TROUBLE} .where li") == [
            "newsECONNREFUSED 3",
            "sportsECONNREFUSED 3000",
        ]
        assert browser.text("#announcements") == "New: came back."


def test_dropsAreSaidInWords(browser: Browser) -> None:
    """What is dropped now is said by reason, with the remedy, for as long as it goes on."""
    document = status(route("news"), route("sports", 2))
    document["routes"][0]["input"]["dropped"] = {"kernel": 5, "truncated": 1}
    with shown(browser, document) as server:
        assert browser.texts(TROUBLE) == [], "that was long ago"
        document = later(document)
        document["routes"][0]["input"]["dropped"]["kernel"] += 12
        document["routes"][0]["input"]["rate"]["dropped"] = 12
        for output in document["routes"][1]["outputs"]:
            output["dropped"] = {"rate": 7}
        next_(browser, server, document)
        titles = browser.texts(f"{TROUBLE} strong")
        assert titles[0].startswith("Dropping at the input: the kernel's receive buffer was full")
        assert titles[1].startswith("Dropping at the output: more came than the output's rate")
        assert "net.core.rmem_max" in browser.texts(f"{TROUBLE} .remedy")[0]
        where = [text.replace("packets/s", "") for text in browser.texts(f"{TROUBLE} .where li")]
        assert where == ["news12.0 ", "sports14.0 "]
        assert browser.texts("#rows .cell.state") == ["Dropping", "Dropping"]
        document["routes"][0]["input"]["rate"]["dropped"] = 0
        next_(browser, server, later(document, 9))
        assert browser.texts(f"{TROUBLE} .where li") == ["newsstopped", "sportsstopped"]
        next_(browser, server, later(document, 10))
        assert browser.texts(TROUBLE) == []


def test_everyReasonHasWords(browser: Browser) -> None:
    """Each reason of docs/relay.md is said in words, each of docs/viewers.md too."""
    table = (DOCS / "relay.md").read_text("utf-8").partition("| reason |")[2].partition("\n\n")[0]
    drops = re.findall("`([^`]*)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert len(drops) >= 14
    with shown(browser, status(route("news"))):
        unknown = browser.driver.execute_async_script(
            "const [drops, refusals, done] = arguments;"
            "import('/words.js').then(words => done([...drops.filter(d =>"
            " words.dropMeaning(d) === words.dropMeaning('?')),"
            " ...refusals.filter(r => words.refusalMeaning(r) === '')]))",
            drops,
            ["401", "403", "404", "405", "503", "slow", "junk", "connections"]
            + ["viewers", "channels", "input"],
        )
        assert unknown == []


def test_lastChange(browser: Browser) -> None:
    """The last change is told: beside the figures if it was made, as a fault if it was not."""
    text = "relay.toml has been taken over: 12 unchanged"
    document = status(route("news"), change={"time": START - 60, "isDone": True, "text": text})
    with shown(browser, document) as server:
        assert browser.text("#change") == f"Last change, {clock(START - 60)}: {text}"
        after = later(document)
        after["change"] = {"time": START, "isDone": False, "text": "relay.toml:7: no such key"}
        next_(browser, server, after)
        assert browser.run("return document.getElementById('change').hidden")
        assert browser.texts(f"{TROUBLE} strong") == [
            f"The last change was not made ({clock(START)})"
        ]
        assert browser.texts(f"{TROUBLE} .remedy") == ["relay.toml:7: no such key"]


def test_notReady(browser: Browser) -> None:
    """A relay that is not ready says so, first of all."""
    document = status(route("news"), isReady=False)
    document["routes"][0]["input"] |= {"state": [], "rate": rates(0), "datagrams": 0}
    document["routes"][0]["input"]["warnings"] = ["the worker died: it is started again"]
    with shown(browser, document):
        assert browser.text("#readiness") == "Not ready"
        assert browser.texts(f"{TROUBLE} strong") == ["The relay is not ready", "the worker died"]
        browser.click(f"{TROUBLE} .where button")
        assert browser.focused() == "news"
        assert browser.run("return document.querySelector('.part.input .empty').hidden") is False


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
        assert facts["Refused"] == "2 × slow (no request in time), 1 × 403 (not on the allow-list)"
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


EVIL = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


def test_textsFromOutsideAreText(browser: Browser) -> None:
    """Whatever names, addresses and warnings hold, nothing of it becomes part of the page."""
    evil = route(EVIL)
    for end in (evil["input"], *evil["outputs"]):
        end.update(name=EVIL, state=[EVIL], warnings=[EVIL, f"{EVIL}: {EVIL}"])
        end["dropped"] = {EVIL: 1, "__proto__": 2, "constructor": 3}
        end["rate"]["dropped"] = 1.0
    evil["stages"] = [part(EVIL)]
    names = [route("__proto__", 2), route("constructor", 3), disabled('"]\'<b>')]
    watched = channel(EVIL, viewer(EVIL))
    bad = {"path": f"javascript:{EVIL}", "name": EVIL}
    others = viewers(watched, listening=[EVIL, "javascript:alert(1):80"], streams=[bad])
    others["refused"] = {EVIL: 1}
    change = {"time": START, "isDone": False, "text": EVIL}
    document = status(evil, *names, viewers=others, change=change, version=EVIL)
    with shown(browser, document) as server:
        next_(browser, server, later(document))
        browser.click("#rows button.name")
        browser.click(".channel summary")
        browser.until("document.querySelectorAll('.who tbody tr').length === 1")
        next_(browser, server, later(document, 2))
        assert browser.run("return document.title").endswith(") groupsock-relay")
        assert browser.run("return document.querySelectorAll('img, body script, b').length") == 0
        assert browser.texts("#rows button.name")[:2] == [EVIL, "__proto__"]
        assert browser.run("return [...document.links].every(a => /^https?:/.test(a.href))")
        lines = browser.run("return document.querySelectorAll('#rows .line')[2].getAttribute('d')")
        assert len(lines) > 0


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
