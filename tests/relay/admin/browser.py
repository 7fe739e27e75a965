"""A real browser for tests of pages; it can look at any address."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# It runs as root, without the network that it would ask for updates and the like.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--disable-lcd-text",
)
WIDE, NARROW = (1280, 900), (360, 740)
SECONDS = 30.0


def whyNoBrowser() -> str | None:
    """What is missing for a real browser; None if nothing is."""
    for path, package in ((CHROMIUM, "chromium"), (DRIVER, "chromium-driver")):
        if not os.access(path, os.X_OK):
            return f"{path} is not there (Debian: apt-get install {package})"
    return None


def axeSource() -> str:
    """The text of axe-core; without it, the test is skipped."""
    folder = os.environ.get("TXGROUPSOCK_AXE", f"{sys.prefix}/node_modules/axe-core")
    path = Path(folder) / "axe.min.js"
    if not path.is_file():
        pytest.skip(f"{path} is not there (make test installs it, if npm is)")
    return path.read_text("utf-8")


class Browser:
    """
    A headless Chromium, with a profile of its own.

    Colours, sizes and media are what a test last set; `reset` gives back what it began with.

    @ivar driver: Selenium's.
    """

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        self._folder = tempfile.mkdtemp(prefix="txgroupsock-browser-")
        options = Options()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={self._folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # Connections that are kept would be descriptors that a test leaves behind.
        service = Service(executable_path=DRIVER)
        self.driver = webdriver.Chrome(options=options, service=service, keep_alive=False)
        self.driver.set_script_timeout(30)

    def close(self) -> None:
        """End it, with all that it has written."""
        self.driver.quit()
        shutil.rmtree(self._folder, ignore_errors=True)

    def reset(self) -> None:
        """Forget what was looked at."""
        self.driver.get("about:blank")
        self.call("Network.enable")
        self.call("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        self.call("Emulation.setTimezoneOverride", timezoneId="UTC")
        self.media()
        self.size(*WIDE)
        self.complaints()

    def open(self, address: str) -> None:
        """Look at a page."""
        self.driver.get(address)

    def call(self, command: str, **parameters: Any) -> Any:
        """Have the browser do something by its own protocol (CDP)."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any, seconds: float = SECONDS) -> Any:
        """Wait until an expression in the page is true; what it is then."""
        outcome, value = self.driver.execute_async_script(
            """
            const done = arguments[arguments.length - 1];
            const [test, seconds, given] = arguments;
            const reached = new Function("return " + test);
            const end = performance.now() + 1000 * seconds;
            (function look() {
              let value = null;
              try { value = reached.apply(null, given); } catch (error) { value = null; }
              if (value) done(["reached", value]);
              else if (performance.now() > end) done(["late", document.body.innerText]);
              else setTimeout(look, 10);
            })();
            """,
            script,
            seconds,
            list(arguments),
        )
        assert outcome == "reached", f"not within {seconds} s: {script}\n{value}"
        return value

    def text(self, selector: str) -> str:
        """The text of an element, as the document has it."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def texts(self, selector: str) -> list[str]:
        """The text of each element."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)",
                selector,
            )
        )

    def click(self, selector: str) -> None:
        """Click an element as somebody with a mouse does."""
        from selenium.webdriver.common.by import By

        found = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
        found.click()

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def focused(self) -> str:
        """What has the focus: its text, or its id."""
        return str(
            self.run(
                "const e = document.activeElement;"
                "return e === document.body ? '' : e.id || e.textContent.trim()"
            )
        )

    def size(self, width: int, height: int) -> None:
        """Make its window as large as a screen of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, **features: str) -> None:
        """What the system wants: C{prefers_color_scheme="dark"}; light unless told otherwise."""
        wanted = {"prefers_color_scheme": "light", **features}
        pairs = [{"name": key.replace("_", "-"), "value": wanted[key]} for key in wanted]
        self.call("Emulation.setEmulatedMedia", features=pairs)

    def picture(self, path: Path, *, isWhole: bool = False) -> None:
        """Keep what is seen, or all of the page, as PNG."""
        if isWhole:
            height = self.run("return document.documentElement.scrollHeight")
            width = self.run("return innerWidth")
            self.size(width, height)
            # What has come into view is drawn after it has been seen to be there.
            self.until("performance.now() > (window.shown ??= performance.now()) + 300")
        self.driver.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """What is in the console since the last call: errors, and breaches of the policy."""
        levels = ("WARNING", "SEVERE")
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] in levels
        ]

    def metrics(self) -> dict[str, float]:
        """What the page has cost, after a collection of garbage."""
        self.call("Performance.enable")
        self.call("HeapProfiler.collectGarbage")
        found = self.call("Performance.getMetrics")["metrics"]
        return {each["name"]: each["value"] for each in found}

    def axe(self, source: str) -> list[str]:
        """What axe-core finds at fault, a line for each: its impact, rule, and element."""
        self.run(source)
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "const rules = {'target-size': {enabled: true}};"
            "axe.run(document, {resultTypes: ['violations'], rules}).then(r => done(r.violations),"
            " error => done([{impact: 'critical', id: String(error), nodes: []}]))"
        )
        return [
            f"{rule['impact']} {rule['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for rule in found
            for node in rule["nodes"] or [{"html": "", "failureSummary": ""}]
        ]


@contextmanager
def running() -> Iterator[Browser]:
    """A browser as long as it is needed."""
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()
