"""A real Chromium without a window, a real `segue serve`, and pictures of the page.

python tests/support/browser.py http://127.0.0.1:8000 docs/images
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import httpx
from selenium import webdriver
from selenium.webdriver.common.by import By

SECONDS = 60
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
"""Names and places that a browser has; `scripts/test_extras.sh` looks for the same."""


class NoBrowser(Exception):
    """No browser can be had here; the text says why."""


@cache
def programs() -> tuple[str, str]:
    """Chromium and its driver; `scripts/test_extras.sh` installs them.

    Raises:
        NoBrowser: there are none.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        raise NoBrowser("no Chromium with its driver - make test-extras")
    return browser, driver


def open_browser(
    width: int = 1280, height: int = 900, *, dark: bool = False, downloads: Path | None = None
) -> webdriver.Chrome:
    """A browser with a page of this many pixels, which keeps what its console said.

    Raises:
        NoBrowser: there is none on this machine.
    """
    binary, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--hide-scrollbars", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
        "--force-prefers-reduced-motion",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if downloads is not None:
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(downloads), "download.prompt": False}
        )
    made = webdriver.Chrome(options, webdriver.ChromeService(driver))
    made.set_page_load_timeout(SECONDS)
    sized(made, width, height)
    if dark:
        scheme = {"name": "prefers-color-scheme", "value": "dark"}
        made.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    return made


def sized(browser: webdriver.Chrome, width: int, height: int) -> None:
    """Give the page another size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


class Server:
    """`segue serve` in a process of its own, at a free port.

    Args:
        arguments: after ``segue serve``.
        said: file for what it says.
    """

    def __init__(self, arguments: Sequence[str], said: Path) -> None:
        command = [sys.executable, "-c", "from segue.cli import main; main()", "serve", *arguments]
        with said.open("wb") as out:
            self._process = subprocess.Popen([*command, "--port", "0"], stderr=out, stdout=out)
        until = time.monotonic() + SECONDS
        while " answers on " not in (text := said.read_text(encoding="utf-8")):
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"segue serve did not start: {text}")
            time.sleep(0.05)
        self.address = text.split(" answers on ")[1].split("/\n")[0]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(SECONDS)


def settled(browser: webdriver.Chrome) -> None:
    """Wait until the script has put the answer in place."""
    until = time.monotonic() + SECONDS
    while browser.find_elements(By.CSS_SELECTOR, "main.busy"):
        assert time.monotonic() < until, "the page is still busy"
        time.sleep(0.02)


def click(browser: webdriver.Chrome, selector: str) -> None:
    """Click the first that matches, and wait for the answer."""
    there = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", there)
    there.click()
    settled(browser)


def begin(browser: webdriver.Chrome, address: str, title: str, adds: int = 0) -> None:
    """Start a playlist, and add what comes first a few times; without a title stay at the start."""
    browser.get(address)
    if not title:
        return
    browser.find_element(By.ID, "title").send_keys(title)
    click(browser, "button.main")
    for _ in range(adds):
        click(browser, "#add-1")


def _picture(browser: webdriver.Chrome, file: Path) -> None:
    browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    away = {"type": "mouseMoved", "x": 0, "y": 0}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", away)
    browser.save_screenshot(str(file))
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def pictures(address: str, folder: Path, title: str = "night folk") -> None:
    """Pictures of a service that runs, for the documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    for dark in (False, True):
        browser = open_browser(1280, 960, dark=dark)
        begin(browser, address, title, adds=3)
        click(browser, "#skip-2")
        _picture(browser, folder / f"page-{'dark' if dark else 'light'}.png")
        if not dark:
            sized(browser, 390, 844)
            _picture(browser, folder / "page-narrow.png")
            sized(browser, 1280, 860)
            browser.get(address)
            _picture(browser, folder / "page-start.png")
            _uploaded(browser, address, title)
            _picture(browser, folder / "page-upload.png")
            browser.get(f"{address}/health")
            _picture(browser, folder / "page-health.png")
        browser.quit()


def _uploaded(browser: webdriver.Chrome, address: str, title: str) -> None:
    """Upload the sound of a track as if it were another one."""
    found = httpx.post(f"{address}/v1/continue", json={"title": title, "n": 5}).json()["tracks"]
    sound = httpx.get(f"{address}/v1/tracks/{found[4]['uri']}/audio").content
    sent = httpx.post(
        f"{address}/upload",
        data={"title": "Home recording"},
        files={"file": ("mine.flac", io.BytesIO(sound + os.urandom(1)))},
    )
    browser.get(f"{address}{sent.headers['location']}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pictures(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
