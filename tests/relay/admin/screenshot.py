"""
Pictures of the status page for its documentation: C{python -m tests.relay.admin.screenshot FOLDER}.

Writes C{page-light.png} and C{page-dark.png}, of an invented relay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.relay.admin.browser import running, whyNoBrowser
from tests.relay.admin.documents import (
    SMALL_BUFFER,
    START,
    UNREACHABLE,
    Document,
    channel,
    disabled,
    later,
    route,
    status,
    viewer,
    viewers,
)
from tests.relay.admin.support import next_, shown

RATES = {"news": 1140, "sports": 1530, "weather": 380, "radio": 24, "studio": 1890, "film": 760}


def example() -> Document:
    """A relay with a little of everything."""
    routes = [route(name, index, rate, 2) for index, (name, rate) in enumerate(RATES.items(), 1)]
    news, sports, _, radio, *_ = routes
    sports["input"]["dropped"] = {"kernel": 1840}
    sports["input"]["rate"]["dropped"] = 12.0
    sports["input"]["warnings"] = [SMALL_BUFFER]
    sports["input"]["buffer"] = {"granted": 425984, "requested": 4194304}
    radio["outputs"][1]["warnings"] = [UNREACHABLE]
    news["outputs"].append(route("more", 9, RATES["news"])["outputs"][0])
    watching = viewers(
        channel("/udp/239.1.1.1:5000", *map(viewer, ("10.0.0.7:51234", "10.0.0.9:999")))
    )
    made = {
        "time": START - 900,
        "isDone": True,
        "text": "relay.toml was applied: 6 unchanged, 1 opened",
    }
    return status(*routes, disabled("spare"), viewers=watching, change=made)


def main(folder: Path) -> None:
    """Write the pictures."""
    with running() as browser:
        for look in ("light", "dark"):
            browser.reset()
            browser.size(1120, 860)
            browser.media(prefers_color_scheme=look)
            with shown(browser, example()) as server:
                for _ in range(3):
                    next_(browser, server, later(server.status))
                browser.click("#rows .row:nth-child(2) button")
                browser.run("document.activeElement.blur(); scrollTo(0, 0)")
                browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=600, y=5)
                browser.picture(folder / f"page-{look}.png")


if __name__ == "__main__":
    if (reason := whyNoBrowser()) is not None:
        sys.exit(reason)
    main(Path(sys.argv[1]))
