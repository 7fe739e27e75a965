"""Routes are found on the status page, by mouse or keyboard, and connections are made again."""

from __future__ import annotations

import random

import pytest

from tests.relay.admin.browser import Browser
from tests.relay.admin.documents import (
    SMALL_BUFFER,
    UNREACHABLE,
    channel,
    disabled,
    later,
    rates,
    route,
    status,
    viewer,
    viewers,
)
from tests.relay.admin.pageserver import PageServer
from tests.relay.admin.support import TROUBLE, next_, shown

pytestmark = pytest.mark.slow

TAB, ENTER, SPACE = "\ue004", "\ue007", " "
NAMES = (
    "return [...document.querySelectorAll('#rows .row')].filter(r => !r.hidden)"
    ".map(r => r.querySelector('button.name').textContent)"
)


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
        browser.click("#show option[value=disabled]")
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
            ("state", "descending", ["a", "b 10", "b 9"]),
            ("state", "ascending", ["b 10", "b 9", "a"]),
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


def test_focusStaysInTrouble(browser: Browser) -> None:
    """What vanishes from the list of trouble takes the focus from nothing else."""
    document = status(route("news"), route("sports", 2))
    document["routes"][0]["input"]["warnings"] = [SMALL_BUFFER]
    document["routes"][1]["input"]["warnings"] = [UNREACHABLE]
    with shown(browser, document) as server:
        browser.run(f"document.querySelectorAll('{TROUBLE} .where button')[1].focus()")
        document = later(document)
        document["routes"][0]["input"]["warnings"] = []
        next_(browser, server, document)
        assert len(browser.texts(TROUBLE)) == 1
        assert browser.focused() == "sports"


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
        browser.until(
            "performance.getEntriesByName(arguments[0]).length > 1", server.address + "api/history"
        )
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
