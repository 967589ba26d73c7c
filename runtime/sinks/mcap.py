"""``mcap:FILE.mcap`` or ``mcap:FOLDER``: a recording that ROS 2, Foxglove and posemoe-edge itself can play."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from ..artefact.atomic import write_atomically
from ..errors import MissingError, UsageError
from ..events import Event, PoseFrame
from ..ros.bag_folder import METADATA, bag_metadata
from ..ros.encoder import TOPICS, RosEncoder, RosMessage, string_cdr
from ..ros.figure import stamp_ns
from ..ros.options import ros_options
from ..ros.recording import MAGIC, Recording, mcap_writer
from ..ros.replay import RUN, keypoints_text, run_record
from ..ros.types import ros_types
from .base import BaseSink, RunInfo

NAMESPACE = "posemoe"
SUFFIX = ".mcap"
_OPTIONS = ("frame_id",)


class McapSink(BaseSink):
    """Records messages of ROS 2, every event as JSON, and the keypoints, from which the run can be lifted again.

    Unlike other files, a recording is written as it goes: it is there from the first event on, an abort keeps what was seen,
    and of a process that is killed all but the last second can be read. A recording that was there before is replaced with
    the first event; nothing else is ever replaced.

    Args:
        location: ``FILE.mcap``, or a folder, which becomes a bag of rosbag2; behind a ``?``, ``frame_id=NAME``.

    Raises:
        UsageError: something is there that is no recording, or a folder with something in it.
        MissingError: mcap, zstandard or rosbags is not installed, or there cannot be a file.
    """

    def __init__(self, location: str | Path) -> None:
        name, options = ros_options(str(location), _OPTIONS, form="mcap:FILE.mcap?frame_id=NAME")
        self.path = Path(name)
        self._frame_id = options.get("frame_id")
        self._folder = self.path if self.path.suffix.lower() != SUFFIX else None
        _check_free(self.path, folder=self._folder is not None)
        mcap_writer()
        ros_types()
        self._run: RunInfo | None = None
        self._recording: Recording | None = None
        self._encoder = self._new_encoder()
        self._closed = False
        self._t_ns = 0

    def open(self, run: RunInfo) -> None:
        self._run = run
        self._encoder = self._new_encoder()

    def write(self, event: Event) -> None:
        """Record an event at its capture time; one at no time, as of a frame that is refused for it, at the time before."""
        if self._closed:
            raise ValueError("the sink is closed")
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
        return RosEncoder(camera=camera) if self._frame_id is None else RosEncoder(frame_id=self._frame_id, camera=camera)

    def _begin(self) -> Recording:
        run = {} if self._run is None else {RUN: run_record(self._run)}
        topics = TOPICS.values()
        if self._folder is None:
            return Recording(self.path, topics, namespace=NAMESPACE, run=run)
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{self._folder.name}_0{SUFFIX}"
        recording = Recording(file, topics, namespace=NAMESPACE, run=run, new=True)
        self._describe(self._folder, recording)
        return recording

    def _describe(self, folder: Path, recording: Recording) -> None:
        write_atomically(folder / METADATA, bag_metadata(recording, namespace=NAMESPACE).encode())


def _check_free(path: Path, *, folder: bool) -> None:
    """An error if a recording at that path would replace anything but a recording, or cannot be written."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise MissingError(f"no folder {parent}", run=f"mkdir -p {parent}")
    if not os.access(path if path.exists() else parent, os.W_OK):
        raise MissingError(f"{path} cannot be written to", expected="write permission")
    if not path.exists() and not path.is_symlink():
        return
    if folder:
        if not path.is_dir():
            raise UsageError(f"{path} is there and is no folder", expected=f"mcap:{path}{SUFFIX}, or a new name")
        if any(path.iterdir()):
            raise UsageError(f"the folder {path} is not empty", expected="a new name for the recording")
        return
    if not path.is_file():
        raise UsageError(f"{path} is no plain file", expected="a new name, or a recording to replace")
    with path.open("rb") as file:
        begin = file.read(len(MAGIC))
    if begin not in (b"", MAGIC):
        raise UsageError(f"{path} is there and is no recording", expected="a new name, or a recording to replace")
