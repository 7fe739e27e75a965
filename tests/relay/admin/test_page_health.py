"""The status page tells of the health of inputs, in a real browser."""

from __future__ import annotations

from tests.relay.admin.browser import NARROW, Browser, axeSource
from tests.relay.admin.documents import (
    Document,
    channel,
    later,
    part,
    route,
    status,
    viewer,
    viewers,
)
from tests.relay.admin.support import TROUBLE, next_, shown
from tests.relay.health.documents import LOSS, health

STATES = "return [...document.querySelectorAll('#rows .cell.state')].map(e => e.textContent)"
FIGURES = (
    "return [...document.querySelectorAll('.part.health dl > div')].filter(d =>"
    " !d.closest('[hidden]')).map(d => [d.children[0].textContent, d.children[1].textContent])"
)


def looked(name: str, number: int = 1, **options: bool) -> Document:
    """A route whose health is looked at."""
    made = route(name, number, outputs=1)
    made["health"] = health(**options)
    alarms = [each["text"] for each in made["health"]["alarms"]]
    made["stages"] = [part("Health", state=[], buffer=None, warnings=alarms)]
    return made


def test_anAlarmIsAFault(browser: Browser) -> None:
    """Its route is marked, it is among what needs attention, and it is told when it is over."""
    document = status(looked("news"), looked("sports", 2, hasAlarm=False), route("plain", 3))
    with shown(browser, document) as server:
        assert browser.run(STATES) == ["Alarm", "Running", "Running"]
        [trouble] = browser.texts(TROUBLE)
        assert trouble.startswith("FaultAlarm: RTP packets are lost")
        note, remedy = LOSS.split("; ")
        assert remedy in trouble
        assert trouble.endswith(f"news{note}")
        browser.click(f"{TROUBLE} .where button")
        assert browser.focused() == "news"
        after = later(document)
        after["routes"][0] = looked("news", hasAlarm=False)
        next_(browser, server, after)
        assert browser.texts(TROUBLE) == []
        assert browser.run(STATES)[0] == "Running"


def test_figuresAreThoseOfTheAPI(browser: Browser) -> None:
    """An opened route has its alarms, figures in words, and a table of PIDs; and they follow."""
    with shown(browser, status(looked("news"))) as server:
        browser.click("#rows button.name")
        assert browser.texts(".part.health .warnings li") == [f"{LOSS} (for 12 s)"]
        assert dict(browser.run(FIGURES)) == {
            "Comes in": "10.5 Mbit/s, 1,000 packets/s",
            "Gaps now": "0.5 ms to 4.0 ms, mean 1.0 ms",
            "Longest gap": "1,250 ms",
            "Silences": "1",
            "No room": "12 packets",
            "Lost": "3 of 50,003 (under 0.01 %)",
            "Jitter": "1.5 ms, at most 7.3 ms",
            "Order": "2 late, 1 twice",
            "Source": "SSRC 0x00001234, type 33, 90,000 Hz",
            "Changes": "0 sources, 0 restarts",
            "Sync": "in sync, 0 losses, 2 wrong bytes",
            "Continuity": "5 errors",
            "Missing": "PID 258",
            "Errors": "1 PMT",
            "PCR jitter": "0.3 ms",
            "Packets": "350,000 on RTP, 2.5 % null",
        }
        rows = browser.texts(".pids tbody tr")
        assert rows[0] == "256 (0x0100)H.264300,000500.3 ms"
        assert rows[2] == "0 (0x0000)PAT1,00000\u2013"
        assert browser.text(".pids caption") == "3 PIDs"
        # The stage itself would only say all this again.
        assert [each.split()[0] for each in browser.texts(".part h3")] == [
            *("Health", "Input", "Output")
        ]
        after = later(status(looked("news", isHeard=False, hasAlarm=False)))
        after["routes"][0]["health"]["stream"] |= {"silence": 12.0, "most": None, "mean": None}
        next_(browser, server, after)
        figures = dict(browser.run(FIGURES))
        assert figures["Silences"] == "1, now for 12 s"
        assert figures["Gaps now"] == "none"
        assert "Lost" not in figures
        assert "Sync" not in figures
        assert browser.run("return document.querySelector('.pids').hidden")
        next_(browser, server, later(status(route("news")), 2))
        assert browser.texts(".part.health") == []


def test_aChannelHasItsAlarms(browser: Browser) -> None:
    """A channel that nobody relays is marked, and has its alarms in words."""
    watched = {**channel("/udp/239.1.1.1:5000", viewer("10.0.0.7:51234")), "health": health()}
    with shown(browser, status(viewers=viewers(watched))):
        assert browser.texts(".channel summary .number")[-1] == "1 alarm"
        browser.click(".channel summary")
        browser.until("document.querySelector('.channel .state li')")
        assert browser.texts(".channel .state li")[0] == f"Alarm: {LOSS}"


def test_everybodyCanReadIt(browser: Browser) -> None:
    """axe-core finds no fault, light, dark or on a phone, where nothing is too wide either."""
    source = axeSource()
    for look in ("light", "dark", "phone"):
        browser.media(prefers_color_scheme="dark" if look == "dark" else "light")
        if look == "phone":
            browser.size(*NARROW)
        with shown(browser, status(looked("news"), looked("sports", 2))):
            browser.click("#rows .row button")
            browser.click("#rows .detail + .row button")
            assert browser.axe(source) == []
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
