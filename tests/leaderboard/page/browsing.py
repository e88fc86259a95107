"""A browser for the tests, driven without any download."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-component-update",
)  # fmt: skip

_FORGET = "try { sessionStorage.clear(); localStorage.clear(); } catch { /* about:blank has none */ }"
_TEXTS = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())"
_SET = """
const e = arguments[0]; e.value = arguments[1];
e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'));
"""
_FIELD = """
return [...document.querySelectorAll('.field')].find((e) => e.firstChild.textContent.trim() === arguments[0])
  .querySelector('select, input');
"""
_TICK = "[...document.querySelectorAll('.check')].find((e) => e.textContent.trim() === arguments[0]).firstChild.click()"


class Browser:
    """Chromium with a page in it."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver = driver
        self.url = page.as_uri()
        self._forgetting: dict[str, str] | None = None  # what keeps nothing from page to page

    def open(self, address: str = "", url: str | None = None, fresh: bool = True) -> None:
        """Loads the page anew; a fresh one has nothing kept of before."""
        self.driver.get("about:blank")
        cdp = self.driver.execute_cdp_cmd
        if fresh and self._forgetting is None:
            self._forgetting = cdp("Page.addScriptToEvaluateOnNewDocument", {"source": _FORGET})
        elif not fresh and self._forgetting is not None:
            cdp("Page.removeScriptToEvaluateOnNewDocument", self._forgetting)
            self._forgetting = None
        self.driver.get((url or self.url) + address)
        self.wait("document.documentElement.dataset.ready")

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript; its value is that of its `return`."""
        return self.driver.execute_script(script, *arguments)

    def value(self, expression: str) -> Any:
        """Of an expression."""
        return self.run(f"return {expression}")

    def wait(self, expression: str, seconds: float = 20) -> Any:
        """Waits until an expression is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"{expression} was false for {seconds} s"
            time.sleep(0.02)
        return value

    def pause(self, seconds: float) -> None:
        """Lets the page go on for so long."""
        self.driver.execute_async_script("setTimeout(arguments[1], 1000 * arguments[0])", seconds)

    def texts(self, selector: str) -> list[str]:
        """The texts of elements as they are shown."""
        found: list[str] = self.run(_TEXTS, selector)
        return found

    def click(self, selector: str) -> None:
        """Clicks the first such element."""
        self.run("document.querySelector(arguments[0]).click()", selector)

    def tick(self, label: str) -> None:
        """Changes a checkbox."""
        self.run(_TICK, label)

    def set(self, label: str, value: str) -> None:
        """Gives the field of this label a value, as typing or choosing does."""
        self.run(_SET, self.run(_FIELD, label), value)

    def press(self, *keys: str) -> None:
        """Presses keys."""
        from selenium.webdriver.common.action_chains import ActionChains

        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def size(self, width: int, height: int = 800) -> None:
        """Of the window; narrower ones than a desktop allows too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        """The system's colours, "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def errors(self) -> list[str]:
        """What the console has held since the last look, warnings aside."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last look."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def chromium(page: Path) -> Iterator[Browser]:
    """A browser, which ends with the generator; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    driver = shutil.which("chromedriver")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if driver is None or binary is None:
        pytest.skip(f"there is no {'chromedriver' if driver is None else 'chromium'} on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    from selenium.webdriver.chrome.service import Service

    made = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        made.set_script_timeout(30)
        yield Browser(made, page)
    finally:
        made.quit()
