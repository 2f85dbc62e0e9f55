"""Chromium, driven through its DevTools protocol over the pipe that it offers for that: no port, no library, no driver.

https://chromedevtools.github.io/devtools-protocol/ has the commands. Everything that a page asks the network for, and
everything that it writes to the console, is kept.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root, in containers; the pages are ours
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--no-proxy-server",
)

COMPLAINTS = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}


class Page:
    """One page of a browser."""

    def __init__(self, to: BinaryIO, out: BinaryIO) -> None:
        self._to, self._from = to, out
        self._number = 0
        self._session = ""
        self.console = list[dict[str, Any]]()
        self.requested = list[str]()
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network", "Accessibility"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Do a command, and give its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result

    def _read(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            data += byte
        told: dict[str, Any] = json.loads(data)
        if told.get("method") in COMPLAINTS:
            self.console.append(told["params"])
        elif told.get("method") == "Network.requestWillBeSent":
            self.requested.append(told["params"]["request"]["url"])
        return told

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load a file, and wait until it has loaded."""
        self.look(width=width, height=height, dark=dark)
        self("Page.navigate", url=path.as_uri())
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def look(self, *, width: int, height: int = 900, dark: bool = False, mobile: bool = False) -> None:
        """Be a screen of this size, and of this color scheme."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, expression: str) -> Any:
        """What an expression of JavaScript is, on the page."""
        result = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, *, whole: bool = False, **more: Any) -> bytes:
        """A PNG of what is to be seen, or of the whole page."""
        return base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=whole, **more)["data"])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with a profile in `folder`, which ends with the context."""
    to_it, from_us = os.pipe()
    to_us, from_it = os.pipe()

    # It reads commands from 3 and writes to 4.
    shell = f'exec chromium "$@" 3<&{to_it} 4>&{from_it}'
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    process = subprocess.Popen(
        ["bash", "-c", shell, "chromium", *FLAGS, f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(to_it, from_it),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    os.close(to_it)
    os.close(from_it)
    try:
        with os.fdopen(from_us, "wb", buffering=0) as to, os.fdopen(to_us, "rb") as out:
            page = Page(to, out)
            yield page
            page("Browser.close")
            process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
