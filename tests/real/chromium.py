"""Chromium without a window, driven through its pipe of the DevTools protocol: messages of JSON that end with a zero byte."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-pipe", "--window-size=1280,800",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",  # WebGL without a GPU
)  # fmt: skip
LOADED_WITHIN_S = 60.0

_WITH_PIPES = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program() -> str | None:
    """The path of an installed Chromium."""
    return next((path for name in PROGRAMS if (path := shutil.which(name)) is not None), None)


class Chromium:
    """A browser with one page; it ends with the ``with`` block.

    Args:
        url: of the page.
        profile: an empty folder for the browser's own files.
    """

    def __init__(self, url: str, profile: Path) -> None:
        path = program()
        assert path is not None
        for_browser, self._out = os.pipe()  # it reads descriptor 3
        self._in, from_browser = os.pipe()  # and writes descriptor 4
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _WITH_PIPES,
                str(for_browser),
                str(from_browser),
                path,
                *FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(for_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(for_browser)
        os.close(from_browser)
        self._buffer, self._id = b"", 0
        try:
            target = self._call("Target.createTarget", url=url)["targetId"]
            self._session: str | None = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def screenshot_png(self) -> bytes:
        """The page as it is now."""
        return base64.b64decode(self._call("Page.captureScreenshot", session=self._session, format="png")["data"])

    def open(self, url: str) -> None:
        """Go to another page, and wait until it is loaded."""
        self._call("Page.navigate", session=self._session, url=url)
        loaded = "location.href === {url} && document.readyState === 'complete'"
        deadline_s = time.monotonic() + LOADED_WITHIN_S
        while not self.evaluate(loaded.replace("{url}", json.dumps(url))):
            assert time.monotonic() < deadline_s, f"{url} is not loaded"
            time.sleep(0.02)

    def resize(self, width_px: int, height_px: int) -> None:
        """Show pages as on a phone with a screen of this size."""
        size: dict[str, Any] = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": True}
        self._call("Emulation.setDeviceMetricsOverride", session=self._session, **size)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page, of a promise what it gives."""
        options: dict[str, Any] = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self._call("Runtime.evaluate", session=self._session, **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _call(self, method: str, *, session: str | None = None, timeout_s: float = 60.0, **parameters: Any) -> dict[str, Any]:
        self._id += 1
        message = {"id": self._id, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + timeout_s
        while True:
            answer = self._receive(deadline_s)
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _receive(self, deadline_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._in], [], [], max(0.0, deadline_s - time.monotonic()))
            part = os.read(self._in, 1 << 20) if readable else b""
            if not part:
                raise AssertionError("Chromium does not answer, or has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._out)  # at which it ends
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
