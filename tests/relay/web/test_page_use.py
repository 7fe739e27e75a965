"""The status page can be used: found in, sorted, by keyboard, in the dark, on a phone, unconnected."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.relay.web.browser import NARROW, Browser, PageServer, axeSource
from tests.relay.web.documents import (
    SMALL_BUFFER,
    START,
    UNREACHABLE,
    Document,
    channel,
    disabled,
    later,
    part,
    rates,
    route,
    status,
    viewer,
    viewers,
)
from tests.relay.web.test_page import EVIL, TROUBLE, next_, shown

TAB, ENTER, SPACE = "\ue004", "\ue007", " "
LONG = "W" * 200
NAMES = "return [...document.querySelectorAll('#rows .row')].filter(r => !r.hidden)" + (
    ".map(r => r.querySelector('button.name').textContent)"
)


def troubled() -> Document:
    """A status with something of everything."""
    documents = [route(f"channel {number}", number, 100.0 * number) for number in range(1, 30)]
    first, second, third, *_ = documents
    first["input"]["warnings"] = [SMALL_BUFFER]
    first["input"]["buffer"] = {"granted": 425984, "requested": 4194304}
    second["input"] |= {"dropped": {"kernel": 12, "loop": 3}, "rate": rates(10, 5)}
    second["stages"] = [part("OnlyRTP", state=[], buffer=None)]
    third["outputs"][0]["warnings"] = [UNREACHABLE]
    watched = channel(
        "/udp/239.1.1.1:5000", viewer("10.0.0.7:51234"), viewer("10.0.0.9:999", isBehind=True)
    )
    change = {"time": START, "isDone": False, "text": "relay.toml:7: route[1].to[2]: no port"}
    return status(
        *documents, disabled("spare"), viewers=viewers(watched), change=change, isReady=False
    )


def longNames() -> Document:
    """A status whose texts are as long as they come."""
    long = route(LONG)
    for end in (long["input"], *long["outputs"]):
        end.update(name=f"udp://{LONG}", state=[LONG], warnings=[LONG, f"{LONG}: {LONG}"])
        end["dropped"] = {LONG: 10**12}
        end["rate"] = {"datagrams": 1e8, "bits": 1e12, "dropped": 1e8}
    watched = channel(f"/{LONG}", viewer(LONG, 1e9, skips=10**9, skippedDatagrams=10**12))
    others = viewers(watched, listening=[LONG], streams=[{"path": f"/{LONG}", "name": LONG}])
    change = {"time": START, "isDone": False, "text": LONG}
    return status(long, viewers=others, change=change, version=LONG)


def openAll(browser: Browser) -> None:
    """Open the first two routes and the first channel."""
    for selector in ("#rows .row button", "#rows .detail + .row button", ".channel summary"):
        if browser.texts(selector):
            browser.click(selector)
    browser.run("scrollTo(0, 0)")


# --- Finding -------------------------------------------------------------------------------------


def test_filter(browser: Browser) -> None:
    """The filter takes words of names and addresses; the choice beside it, states."""
    documents = [route("News HD", 1), route("news sd", 2), route("sports", 3), disabled("spare")]
    documents[2]["input"]["warnings"] = [SMALL_BUFFER]
    with shown(browser, status(*documents)) as server:
        from selenium.webdriver.common.by import By

        field = browser.driver.find_element(By.ID, "filter")
        for text, names in {
            "NEWS": ["News HD", "news sd"],
            "hd news": ["News HD"],
            "239.1.0.4": ["sports"],
            ":5002": ["news sd"],
            "nothing like it": [],
        }.items():
            field.clear()
            field.send_keys(text)
            assert browser.run(NAMES) == names
        assert browser.text("#routesCount") == "0 of 4"
        assert browser.text("#noRoutes") == "No route is like that."
        next_(browser, server, later(server.status))
        assert browser.run(NAMES) == []
        field.clear()
        field.send_keys(ENTER)
        for kind, names in {
            "trouble": ["sports"],
            "disabled": ["spare"],
            "enabled": ["News HD", "news sd", "sports"],
        }.items():
            browser.click(f"#show option[value={kind}]")
            assert browser.run(NAMES) == names
        browser.click(f"#show option[value=disabled]")
        browser.click(f"{TROUBLE} .where button")
        assert len(browser.run(NAMES)) == 4, "what is asked for is not hidden by a filter"
        assert browser.focused() == "sports"


def test_sort(browser: Browser) -> None:
    """A column sorts, then the other way round, then no more; rates do it anew now and then."""
    documents = [route("b 10", 1, 300), route("b 9", 2, 100), route("a", 3, 200)]
    documents[0]["outputs"][0]["dropped"] = {"rate": 5}
    documents[2]["input"]["warnings"] = [SMALL_BUFFER]
    with shown(browser, status(*documents)) as server:
        for column, order, names in [
            ("name", "ascending", ["a", "b 9", "b 10"]),
            ("name", "descending", ["b 10", "b 9", "a"]),
            ("name", None, ["b 10", "b 9", "a"]),
            ("dropped", "descending", ["b 10", "b 9", "a"]),
            ("state", "descending", ["b 10", "b 9", "a"]),
            ("state", "ascending", ["a", "b 10", "b 9"]),
            ("out", "descending", ["b 10", "a", "b 9"]),
            ("in", "descending", ["b 10", "a", "b 9"]),
            ("in", "ascending", ["b 9", "a", "b 10"]),
        ]:
            browser.click(f"#heads .{column} button")
            assert browser.run(NAMES) == names
            head = f"return document.querySelector('#heads .{column}').getAttribute('aria-sort')"
            assert browser.run(head) == order
        assert browser.run("return document.querySelectorAll('[aria-sort]').length") == 1
        after = later(server.status)
        after["routes"][1]["input"]["rate"] = rates(1000)
        next_(browser, server, after)
        assert browser.run(NAMES) == ["b 9", "a", "b 10"], "not each second"
        next_(browser, server, later(after, 10))
        assert browser.run(NAMES) == ["a", "b 10", "b 9"]


# --- Keyboard, theme, motion ---------------------------------------------------------------------


def test_keyboardAlone(browser: Browser) -> None:
    """All can be reached and used by keyboard, in the order in which it stands, and is seen."""
    watched = channel("/udp/239.1.1.1:5000", viewer("10.0.0.7:51234"))
    document = status(route("news"), route("sports", 2), viewers=viewers(watched))
    document["routes"][0]["input"]["warnings"] = [SMALL_BUFFER]
    outline = "const e = document.activeElement; return getComputedStyle(e).outlineStyle"
    with shown(browser, document):
        walked = []
        for _ in range(18):
            browser.press(TAB)
            walked.append(browser.focused())
            assert browser.run(outline) != "none"
        assert walked == [
            *("Skip to the status", "Attention", "Routes", "toViewers", "theme"),
            *("news", "filter", "show", "Route", "In", "Out", "Dropped", "State"),
            *("news", "sports", "/news", "/udp/239.1.1.1:500010.5 Mbit/s1 viewernone behind"),
            "Status as JSON",
        ]
        browser.run("document.querySelector('#rows button').focus()")
        expanded = "return document.activeElement.getAttribute('aria-expanded')"
        assert browser.run(expanded) == "false"
        browser.press(ENTER)
        assert browser.run(expanded) == "true"
        assert len(browser.texts(".detail")) == 1
        browser.press(SPACE)
        assert browser.run(expanded) == "false"
        browser.run("document.querySelector('summary').focus()")
        browser.press(ENTER)
        browser.until("document.querySelectorAll('.who tbody tr').length === 1")


def test_focusStays(browser: Browser) -> None:
    """Who stands on a row keeps standing there, whatever comes and however it is sorted."""
    documents = [route(name, number, 100 * number) for number, name in enumerate("abcd", 1)]
    with shown(browser, status(*documents)) as server:
        browser.click("#heads .in button")
        browser.run("[...document.querySelectorAll('#rows button')].at(-1).focus()")
        document = server.status
        for _ in range(3):
            document = later(document, 20)
            for each in document["routes"]:
                each["input"]["rate"] = rates(random.randint(1, 1000))
            next_(browser, server, document)
            assert browser.focused() == "a"


def test_themeStays(browser: Browser) -> None:
    """The page is as light or dark as the system, or as the button says, also the next time."""
    ground = "return getComputedStyle(document.body).backgroundColor"
    with shown(browser, status(route("news"))) as server:
        light = browser.run(ground)
        browser.media(prefers_color_scheme="dark")
        dark = browser.run(ground)
        assert dark != light
        assert browser.text("#theme") == "Theme: system"
        for said, colour in (("light", light), ("dark", dark)):
            browser.click("#theme")
            assert browser.text("#theme") == f"Theme: {said}"
            assert browser.run(ground) == colour
        browser.media(prefers_color_scheme="light")
        browser.open(server.address)
        assert browser.text("#theme") == "Theme: dark"
        assert browser.run(ground) == dark
        browser.click("#theme")
        assert browser.text("#theme") == "Theme: system"
        assert browser.run(ground) == light


def test_motion(browser: Browser) -> None:
    """Nothing moves for those who want no motion."""
    moving = (
        "return [document.documentElement, ...document.querySelectorAll('*')].filter(e => {"
        " const s = getComputedStyle(e); return s.scrollBehavior === 'smooth' ||"
        " s.transitionDuration !== '0s' || s.animationName !== 'none'; }).length"
    )
    with shown(browser, troubled()):
        openAll(browser)
        browser.media(prefers_reduced_motion="reduce")
        assert browser.run(moving) == 0


# --- The connection ------------------------------------------------------------------------------


def test_connectionIsLostAndBack(browser: Browser) -> None:
    """The page says since when there is no connection, goes grey, and says when it is back."""
    with shown(browser, status(route("news"))) as server:
        colour = "return getComputedStyle(document.querySelector('.tile .value')).color"
        before = browser.run(colour)
        server.stop()
        browser.until("document.body.dataset.connection === 'lost'")
        said = browser.text("#connection")
        assert said.startswith("Connection lost since ")
        assert said.endswith(". What you see is from then. Trying again.")
        assert browser.text("#readiness") == "Not connected"
        assert browser.run("return document.title") == "(!) groupsock-relay: connection lost"
        assert "Connection lost since" in browser.text("#announcements")
        assert browser.run(colour) != before
        assert browser.run(NAMES) == ["news"], "what was known is still there"
        server.requests.clear()
        server.status = later(server.status, 30)
        server.status["routes"].append(route("new", 2))
        server.start()
        browser.until("document.body.dataset.connection === 'live'")
        assert browser.text("#connection").startswith("Connected again at ")
        assert "Connected again" in browser.text("#announcements p:last-child")
        assert browser.run(NAMES) == ["news", "new"]
        assert browser.run("return document.title") == "groupsock-relay"
        assert browser.run(colour) == before
        browser.until("performance.getEntriesByName(arguments[0]).length > 1", server.address + "api/history")
        refused = browser.complaints()
        assert all("ERR_CONNECTION_REFUSED" in line or "ERR_INCOMPLETE" in line for line in refused)


def test_silenceIsNoConnection(browser: Browser) -> None:
    """A connection over which nothing comes is given up, and made anew."""
    with shown(browser, status(route("news"), interval=0.1)) as server:
        server.isSilent = True
        browser.until("document.getElementById('connection').textContent.startsWith('Connected')")
        assert server.requests.count("/api/events") == 2


def test_neverConnected(browser: Browser) -> None:
    """Where no events are given, the page says so instead of showing nothing."""
    with PageServer(status()) as server:
        server.refuses = {"/api/events"}
        browser.open(server.address)
        browser.until("document.body.dataset.connection === 'lost'")
        assert browser.text("#connection").startswith("Connection lost since ")
        assert browser.text("#readiness") == "Not connected"
        server.refuses = set()
        browser.until("document.body.dataset.connection === 'live'")
        assert all("503" in line for line in browser.complaints())


# --- Phones, and those who cannot see ------------------------------------------------------------

DOCUMENTS: dict[str, Any] = {
    "empty": lambda: status(),
    "troubled": troubled,
    "long": longNames,
    "evil": lambda: status(route(EVIL)),
}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("width", [NARROW[0], 600, 768, 960, 1280])
def test_nothingIsTooWide(browser: Browser, name: str, width: int) -> None:
    """Nothing sticks out at any width, from a phone's on."""
    browser.size(width, NARROW[1])
    with shown(browser, DOCUMENTS[name]()):
        openAll(browser)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        wide = browser.run(
            "return [...document.querySelectorAll('main *, header *')].filter(e =>"
            " !e.closest('svg, .unseen, thead') && e.getBoundingClientRect().right > innerWidth + 1"
            ").map(e => e.outerHTML.slice(0, 200))"
        )
        assert wide == []


@pytest.mark.parametrize("isLost", [False, True], ids=["live", "lost"])
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
@pytest.mark.parametrize("name", ["empty", "troubled"])
def test_axeFindsNothing(browser: Browser, name: str, look: str, isLost: bool) -> None:
    """axe-core finds no fault of accessibility."""
    source = axeSource()
    browser.media(prefers_color_scheme="dark" if look == "dark" else "light")
    if look == "phone":
        browser.size(*NARROW)
    with shown(browser, DOCUMENTS[name]()) as server:
        openAll(browser)
        if isLost:
            server.stop()
            browser.until("document.body.dataset.connection === 'lost'")
        assert browser.axe(source) == []
        if isLost:
            browser.complaints()


# --- Many routes ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_aThousandRoutes(browser: Browser) -> None:
    """A status of a thousand routes takes far less than 100 ms, and leaves nothing behind."""
    document = status(*[route(f"channel {number}", number) for number in range(1000)])
    document["routes"][0]["input"]["warnings"] = [SMALL_BUFFER]
    with shown(browser, document) as server:
        server.isSilent = True
        browser.until("document.querySelector('#rows .line').getAttribute('d').length > 999")
        drawn = "return [...document.querySelectorAll('#rows .line')].filter(l => l.hasAttribute('d')).length"
        assert 5 <= browser.run(drawn) <= 40, "only what is in view"
        browser.click("#rows button.name")

        def send(times: int) -> None:
            nonlocal document
            for _ in range(times):
                document = later(document)
                for each in document["routes"]:
                    each["input"]["rate"] = rates(random.randint(900, 1100))
                next_(browser, server, document)

        send(5)
        before, times = browser.metrics(), 25
        send(times)
        after = browser.metrics()
        spent = {
            key: 1000 * (after[key] - before[key]) / times
            for key in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "TaskDuration")
        }
        print({key: round(value, 1) for key, value in spent.items()})  # noqa: T201 - with pytest -s
        # The browser shares a core with the test; the task itself is less than half of this.
        assert spent["TaskDuration"] < 100
        assert after["Nodes"] - before["Nodes"] < 50
        assert after["JSEventListeners"] - before["JSEventListeners"] < 5
        assert after["JSHeapUsedSize"] - before["JSHeapUsedSize"] < 1_000_000
        browser.run("scrollTo(0, document.getElementById('rows').offsetHeight / 2)")
        browser.until(
            "[...document.querySelectorAll('#rows .row')].find(r => {"
            " const y = r.getBoundingClientRect().top; return y > 100 && y < 300; })"
            "?.querySelector('.line').getAttribute('d')?.length > 999"
        )
        assert browser.run(drawn) <= 100
