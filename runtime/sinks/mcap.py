"""``mcap:FILE.mcap`` or ``mcap:FOLDER``: a recording that ROS 2, Foxglove and posemoe-edge itself can play."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..artefact.atomic import is_draft, write_atomically
from ..destination import check_space, is_special, target_of
from ..errors import MissingError, UsageError, missing_folder
from ..events import Event, PoseFrame
from ..location import split_location, switched_on
from ..ros.bag_folder import METADATA, bag_metadata
from ..ros.encoder import FRAME_ID, TOPICS, TRACKED, RosEncoder, RosMessage, string_cdr
from ..ros.figure import stamp_ns
from ..ros.recorded_run import RUN, keypoints_text, run_record
from ..ros.recording import MAGIC, RecordedFile, Recording, mcap_writer
from ..ros.types import ros_types
from .base import BaseSink, RunInfo

NAMESPACE = "posemoe"
SUFFIX = ".mcap"
_OPTIONS = ("frame_id", "ros4hri", "rotate_mb", "rotate_s")
_FORM = "mcap:FILE.mcap?frame_id=NAME&ros4hri=on, or mcap:FOLDER, which takes rotate_mb=100 and rotate_s=3600 too"


class McapSink(BaseSink):
    """Records messages of ROS 2, every event as JSON, and the keypoints, from which the run can be lifted again.

    Unlike other files, a recording is written as it goes: it is there from the first event on, an abort keeps what was seen,
    and of a process that is killed all but the last second can be read. A recording that was there before is replaced with
    the first event, by a file that can be read already; nothing else is ever replaced.

    Args:
        location: ``FILE.mcap``, or a folder, which becomes a bag of rosbag2; behind a ``?``, ``frame_id=NAME``,
            ``ros4hri=on`` for the ids and frames of REP 155, and of a folder ``rotate_mb`` and ``rotate_s``: a file that is as
            large, or as old, is closed, and the next one begun.

    Raises:
        UsageError: something is there that is no recording, a folder with something in it, or an unknown option.
        MissingError: mcap, zstandard or rosbags is not installed, or there cannot be a file.
    """

    def __init__(self, location: str | Path) -> None:
        name, options = split_location(str(location), _OPTIONS, form=_FORM)
        if not name:
            raise UsageError(f"{location!r} names nothing", expected=_FORM)
        self.path = Path(name)
        self._frame_id = options.get("frame_id", FRAME_ID)
        self._ros4hri = switched_on(options, "ros4hri", default=False)
        self._most_bytes, self._most_s = 1e6 * _limit(options, "rotate_mb"), _limit(options, "rotate_s")
        self._folder = self.path if self.path.suffix.lower() != SUFFIX else None
        if self._folder is None and math.isfinite(min(self._most_bytes, self._most_s)):
            raise UsageError(f"{name} is one file, and cannot be rotated", expected="mcap:FOLDER, a bag of several files")
        _check_free(self.path, folder=self._folder is not None)
        mcap_writer()
        ros_types()
        self._run: RunInfo | None = None
        self._recording: Recording | None = None
        self._full: list[RecordedFile] = []  # the files of the bag before it
        self._encoder = self._new_encoder()
        self._closed = False
        self._t_ns = 0

    def open(self, run: RunInfo) -> None:
        check_space(self.path, 0)
        self._run = run
        self._encoder = self._new_encoder()

    def write(self, event: Event) -> None:
        """Record an event at its capture time; one at no time, as of a frame that is refused for it, at the time before."""
        if self._closed:
            raise ValueError("the sink is closed")
        if self._recording is not None and self._is_full(self._recording):
            full, self._recording = self._recording, None
            full.close()
            self._full.append(full.contents)
        if self._recording is None:
            self._recording = self._begin()
        if not math.isnan(event.t_s):
            self._t_ns = stamp_ns(event.t_s)
        messages = [self._encoder.event(event)]
        if isinstance(event, PoseFrame):
            messages += self._encoder.frame(event)
            messages.append(RosMessage(TOPICS["keypoints"], string_cdr(keypoints_text(event))))
        for message in messages:
            self._recording.write(message.topic, message.cdr, t_ns=self._t_ns)

    def close(self) -> None:
        recording, self._recording, self._closed = self._recording, None, True
        if recording is None:
            return
        recording.close()
        if self._folder is not None:
            self._describe(self._folder, recording)
        self.written = self.path

    def abort(self) -> None:
        """Keep what was seen, as ``close`` does; if the index cannot be written, as on a full disk, it can be read without."""
        with suppress(OSError):
            self.close()

    def _new_encoder(self) -> RosEncoder:
        camera = None if self._run is None else self._run.camera
        return RosEncoder(frame_id=self._frame_id, camera=camera, ros4hri=self._ros4hri)

    def _is_full(self, recording: Recording) -> bool:
        return recording.size_bytes >= self._most_bytes or recording.age_s >= self._most_s

    def _begin(self) -> Recording:
        run = {} if self._run is None else {RUN: run_record(self._run)}
        topics = [*TOPICS.values(), *([TRACKED] if self._ros4hri else [])]
        if self._folder is None:
            return Recording(self.path, topics, namespace=NAMESPACE, run=run)
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{self._folder.name}_{len(self._full)}{SUFFIX}"
        recording = Recording(file, topics, namespace=NAMESPACE, run=run, new=True)
        self._describe(self._folder, recording)
        return recording

    def _describe(self, folder: Path, recording: Recording) -> None:
        write_atomically(folder / METADATA, bag_metadata([*self._full, recording.contents], namespace=NAMESPACE).encode())


def _limit(options: Mapping[str, str], name: str) -> float:
    """The number of an option; infinity without it."""
    try:
        limit = float(options.get(name, "inf"))
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise UsageError(f"{name}={options[name]}", expected=f"{name}=NUMBER, more than 0")
    return limit


def _check_free(path: Path, *, folder: bool) -> None:
    """An error if a recording at that path would replace anything but a recording, or cannot be written."""
    if is_special(path):
        raise UsageError(f"{path} is no plain file", expected="a new name, or a recording to replace")
    parent = target_of(path).parent
    if not parent.is_dir():
        raise missing_folder(parent)
    if not os.access(path if path.exists() else parent, os.W_OK):
        raise MissingError(f"{path} cannot be written to", expected="write permission")
    if not path.exists() and not path.is_symlink():
        return
    if folder:
        if not path.is_dir():
            raise UsageError(f"{path} is there and is no folder", expected=f"mcap:{path}{SUFFIX}, or a new name")
        if not all(is_draft(entry.name) for entry in path.iterdir()):  # of a process that was killed
            raise UsageError(f"the folder {path} is not empty", expected="a new name for the recording")
        return
    if not path.is_file():
        raise UsageError(f"{path} is no plain file", expected="a new name, or a recording to replace")
    with path.open("rb") as file:
        begin = file.read(len(MAGIC))
    if begin not in (b"", MAGIC):
        raise UsageError(f"{path} is there and is no recording", expected="a new name, or a recording to replace")
