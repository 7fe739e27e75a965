"""Names, addresses and warnings come from outside; on the status page they are text and no more."""

from __future__ import annotations

from tests.relay.admin.browser import Browser
from tests.relay.admin.documents import (
    START,
    channel,
    disabled,
    later,
    part,
    route,
    status,
    viewer,
    viewers,
)
from tests.relay.admin.support import next_, shown

EVIL = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


def test_textsFromOutsideAreText(browser: Browser) -> None:
    """Whatever names, addresses and warnings hold, nothing of it becomes part of the page."""
    evil = route(EVIL)
    for end in (evil["input"], *evil["outputs"]):
        end.update(name=EVIL, state=[EVIL], warnings=[EVIL, f"{EVIL}: {EVIL}"])
        end["dropped"] = {EVIL: 1, "__proto__": 2, "constructor": 3}
        end["rate"]["dropped"] = 1.0
    evil["stages"] = [part(EVIL)]
    names = [route("__proto__", 2), route("constructor", 3), disabled("\"]'<b>")]
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
