"""A real browser without a screen: Chromium, spoken to through the pipe of its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIZE = 800, 520
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
    # WebGL on the CPU.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    f"--window-size={SIZE[0]},{SIZE[1]}",
)


class RefusedError(Exception):
    """The browser cannot do what is asked of it, for example because a page is only being opened."""


class Browser:
    """
    Chromium process with any number of tabs; use it in a ``with`` block.

    See https://chromedevtools.github.io/devtools-protocol: JSON messages that end with a zero byte, requests on file
    descriptor 3 and replies on 4.
    """

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="browser_", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [PROGRAM, *_OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"]
        # The shell gives the pipes the numbers that Chromium wants.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser", *command],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number = b"", 0
        self.requests: list[str] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self._call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()

    def open(self, url: str) -> Tab:
        """Open a page in a new tab."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Network.enable", session)
        self._call("Page.enable", session)
        self._call("Page.navigate", session, url=url)
        return Tab(self, target, session)

    def _call(self, method: str, session: str = "", timeout: float = 60.0, **parameters) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            reply = self._receive(deadline - time.monotonic())
            if reply.get("method") == "Network.requestWillBeSent":
                self.requests.append(reply["params"]["request"]["url"])
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise RefusedError(f"{method}: {reply['error']['message']}")
                return reply["result"]

    def _receive(self, timeout: float) -> dict:
        while b"\0" not in self._buffer:
            ready, *_ = select.select([self._in], [], [], max(0.0, timeout))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


class Tab:
    """Tab of a `Browser`."""

    def __init__(self, browser: Browser, target: str, session: str):
        self._browser, self._target, self._session = browser, target, session

    def screenshot(self) -> np.ndarray:
        """Return the page's pixels, uint8 [h, w, 3] RGB."""
        data = self._browser._call("Page.captureScreenshot", self._session, format="png")["data"]
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def wait_for(self, condition: Callable[[np.ndarray], bool], timeout: float = 90.0) -> np.ndarray:
        """Return the first screenshot for which a condition holds; the last one is kept in a file if none does."""
        deadline = time.monotonic() + timeout
        picture = np.zeros((*SIZE[::-1], 3), np.uint8)
        while True:
            with contextlib.suppress(RefusedError):
                picture = self.screenshot()
                if condition(picture):
                    return picture
            if time.monotonic() > deadline:
                path = Path(tempfile.mkdtemp(prefix="screenshot_")) / "last.png"
                cv2.imwrite(str(path), picture[..., ::-1])
                raise AssertionError(f"the page did not show it within {timeout:.0f} s; last: {path}")
            time.sleep(0.3)

    def reload(self) -> None:
        """Load the page again."""
        self._browser._call("Page.reload", self._session)

    def close(self) -> None:
        """Close the tab."""
        self._browser._call("Target.closeTarget", targetId=self._target)
