"""The status page says what needs attention, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.relay.admin.browser import Browser
from tests.relay.admin.documents import (
    SMALL_BUFFER,
    START,
    UNREACHABLE,
    Document,
    later,
    rates,
    route,
    status,
)
from tests.relay.admin.support import TROUBLE, clock, next_, shown

DOCS = Path(__file__).parents[3] / "docs"


def withWarning(document: Document, text: str, index: int = 0) -> Document:
    """The same a second later, its input warning."""
    after = later(document)
    after["routes"][index]["input"]["warnings"] = [text]
    return after


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


def test_theClockMayBeSet(browser: Browser) -> None:
    """Drops are told of for as long as ever, also when the server's clock is set back meanwhile."""
    document = status(route("news"))
    path = "return document.querySelector('#rows .line').getAttribute('d')"
    with shown(browser, document) as server:
        before = browser.run(path)
        document = later(document)
        document["time"] -= 3600
        document["routes"][0]["input"]["dropped"] = {"kernel": 12}
        next_(browser, server, document)
        where = [text.replace("packets/s", "") for text in browser.texts(f"{TROUBLE} .where li")]
        assert where == ["news12.0 "]
        assert browser.run(path) != before, "the chart goes on"
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
            [
                "401",
                "403",
                "404",
                "405",
                "503",
                "slow",
                "junk",
                "connections",
                "viewers",
                "channels",
                "input",
            ],
        )
        assert unknown == []


def test_lastChange(browser: Browser) -> None:
    """The last change is told: beside the figures if it was made, as a fault if it was not."""
    text = "relay.toml was applied: 12 unchanged"
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


def test_manyThings(browser: Browser) -> None:
    """Of many things the worst are shown, and the others when they are asked for."""
    documents = [route(f"r{number}", number) for number in range(40)]
    for number, each in enumerate(documents):
        letters = chr(65 + number // 8) + chr(65 + number % 8)
        each["input"]["warnings"] = [f"{letters} is wrong: do something", SMALL_BUFFER]
    with shown(browser, status(*documents)) as server:
        assert len(browser.texts(TROUBLE)) == 8
        assert browser.run("return document.title") == "(41) groupsock-relay"
        assert browser.text("#allTrouble") == "Show all 41"
        assert browser.texts(f"{TROUBLE} .where")[1] == "r0r1r2r3r4r5"
        more = f"{TROUBLE}:nth-child(2) div > button"
        assert browser.text(more) == "and 34 others: show all routes with trouble"
        browser.click("#allTrouble")
        assert len(browser.texts(TROUBLE)) == 41
        next_(browser, server, later(server.status))
        assert len(browser.texts(TROUBLE)) == 41
        browser.click("#allTrouble")
        assert len(browser.texts(TROUBLE)) == 8
        browser.click(more)
        assert browser.run("return document.getElementById('show').value") == "trouble"
