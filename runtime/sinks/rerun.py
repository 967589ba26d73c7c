"""``rerun:FILE.rrd`` or ``rerun``: a run in the viewer Rerun, from a file or live in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..address import LOOPBACK, Address
from ..destination import check_destination, check_space, target_of
from ..errors import MissingError, UsageError, missing_extra
from ..events import Event
from ..location import split_location, switched_on
from .base import BaseSink, RunInfo
from .rerun_scene import RerunScene
from .rerun_server import RerunServer

APPLICATION = "posemoe-edge"
SUFFIX, MAGIC = ".rrd", b"RRF"
WEB_PORT, GRPC_PORT = 9090, 9876
MEMORY = "256MB"
"""Of the past, for a viewer that comes late. Without a limit the server would keep every frame of the run."""

FORM = "rerun:FILE.rrd, or rerun://127.0.0.1:9090?grpc=9876&memory=256MB; both take picture=off"
_FLUSH_WITHIN_S = 10.0


class RerunSink(BaseSink):
    """Logs people, pictures and events to Rerun.

    A file is written as the run goes: it is there from the first event on, an abort keeps what was seen, and of a process
    that is killed all but the last half second can be read. Only a recording of Rerun is ever replaced.

    Args:
        location: ``FILE.rrd``; or "" or ``//HOST:PORT``, where the viewer's page is then found, port 0 for a free one.
            Behind a ``?``: ``picture=off`` leaves pictures out; and of a server ``grpc``, its second port, and ``memory``.

    Raises:
        UsageError: an unknown form, a port that is taken, or a file of something else at the path.
        MissingError: rerun-sdk is not installed, or there cannot be a file.
    """

    def __init__(self, location: str | Path = "") -> None:
        try:
            import rerun
        except ImportError:
            raise missing_extra("rerun-sdk", "rerun", "the viewer Rerun") from None
        self._rr: Any = rerun
        self.path: Path | None = None
        self._server: RerunServer | None = None
        self._recording: Any = None
        self._scene: RerunScene | None = None
        self._run: RunInfo | None = None
        self._closed = False
        if not str(location) or str(location).startswith(("//", "?")):
            web = Address.parse(str(location), form=FORM, host=LOOPBACK, port=WEB_PORT, options=("picture", "grpc", "memory"))
            self._pictures = switched_on(web.options, "picture", default=True)
            self._server = RerunServer(web, grpc_port=_port(web.options), memory=_memory(web.options))
        else:
            name, options = split_location(str(location), ("picture",), form=FORM)
            self._pictures = switched_on(options, "picture", default=True)
            self.path = Path(name)
            _check_replaceable(self.path)

    @property
    def url(self) -> str | None:
        """What to open in a browser; None of a file."""
        return None if self._server is None else self._server.viewer_url

    @property
    def proxy_url(self) -> str | None:
        """What Rerun's own viewer connects to (``rerun --connect URL``); None of a file."""
        return None if self._server is None else self._server.proxy_url

    def open(self, run: RunInfo) -> None:
        if self.path is not None:
            check_space(self.path, 0)
        self._run = run

    def write(self, event: Event) -> None:
        """Log an event at its capture time; the first one begins the recording."""
        if self._closed:
            raise ValueError("the sink is closed")
        if self._scene is None:
            self._scene = self._begin()
        self._scene.log(event)

    def close(self) -> None:
        """Keep the file; or end the server, when all events have reached it. A browser goes on showing what it has.

        Raises:
            MissingError: the disk is full, or the server has gone. What had been written before is kept.
        """
        recording, self._recording, closed, self._closed = self._recording, None, self._closed, True
        try:
            if recording is not None:
                recording.flush(timeout_sec=_FLUSH_WITHIN_S)
        except (RuntimeError, ValueError, TimeoutError) as error:  # versions of Rerun differ in which
            where = "the viewer's server" if self.path is None else str(self.path)
            raise MissingError(
                f"not all of the run reached {where} ({error})", expected="a disk with free space, or a server that runs"
            ) from None
        finally:
            if recording is not None:
                recording.disconnect()
            if self._server is not None and not closed:
                self._server.close()
        if recording is not None:
            self.written = self.path

    def abort(self) -> None:
        """Keep what was seen, as ``close`` does, whatever is wrong with it."""
        with suppress(Exception):  # a full disk, for example, of which the error that led here says more
            self.close()

    def _begin(self) -> RerunScene:
        self._recording = self._rr.RecordingStream(APPLICATION)
        if self._server is not None:
            self._recording.connect_grpc(self._server.proxy_url)
        elif self.path is not None:
            target = target_of(self.path)  # a link goes on to lead to the newest run
            target.unlink(missing_ok=True)  # whoever still reads the old one keeps it
            self._recording.save(target)
        return RerunScene(self._recording, self._run, pictures=self._pictures)


def _check_replaceable(path: Path) -> None:
    """An error if a recording at that path would replace anything but a recording, or cannot be written."""
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"the recording {path}", expected=f"an {SUFFIX} file: rerun:{path.with_suffix(SUFFIX)}")
    target = check_destination(path, plain=True)
    if not os.access(target.parent, os.W_OK):
        raise MissingError(f"{target.parent} cannot be written to", expected="a folder with write permission")
    if not path.exists():
        return
    with path.open("rb") as file:
        begin = file.read(len(MAGIC))
    if begin not in (b"", MAGIC):
        raise UsageError(f"{path} is there and is no recording of Rerun", expected="a new name, or a recording to replace")


def _port(options: Mapping[str, str]) -> int:
    text = options.get("grpc", str(GRPC_PORT))
    if not text.isdecimal() or int(text) > 65_535:
        raise UsageError(f"grpc={text}", expected="a port: a whole number from 0 to 65535")
    return int(text)


def _memory(options: Mapping[str, str]) -> str:
    text = options.get("memory", MEMORY)
    if not re.fullmatch(r"[1-9]\d*([kMG]i?B|%)", text):
        raise UsageError(f"memory={text}", expected="a size such as 256MB, 1GiB, or 10%")
    return text
