"""An MCAP file that is written as a run goes, so that a crash or a power cut costs its last second at most."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artefact.atomic import AtomicFile
from ..errors import MissingError, missing_extra
from .encoder import Topic
from .types import definition, type_hash

MAGIC = b"\x89MCAP0\r\n"
FLUSH_S = 1.0
"""At least so often, what was written goes to the disk."""

_CHUNK_BYTES = 64 * 1024  # compressed at once: a chunk that is begun is lost in a crash


@dataclass(frozen=True)
class RecordedFile:
    """What a file holds so far.

    Args:
        name: of the file, in its folder.
        counts: topic -> messages.
        first_ns, last_ns: times of the first and the last message; 0 without one.
    """

    name: str
    counts: Counter[Topic]
    first_ns: int
    last_ns: int


class Recording:
    """An open MCAP file with the profile "ros2", which appears with its header: from then on it can be read at any time.

    Args:
        path: the file. One that was there is replaced then, not overwritten: who reads it, as a source may, reads on.
        topics: that it will hold.
        namespace: of those topics that are in none.
        run: what is said once of the whole recording.
        new: an error if the file is there.
    """

    def __init__(
        self, path: Path, topics: Iterable[Topic], *, namespace: str, run: Mapping[str, Mapping[str, str]], new: bool = False
    ) -> None:
        writer = mcap_writer()
        self.path = path
        if new and path.exists():
            raise MissingError(f"{path} cannot be written to (it exists)", expected="a file to write")
        draft = AtomicFile(path)
        try:
            with draft.committing():
                self._file = draft.partial.open("wb")
                self._writer: Any = writer.Writer(self._file, chunk_size=_CHUNK_BYTES, compression=writer.CompressionType.ZSTD)
                self._begin(topics, namespace=namespace, run=run)
        except OSError as error:
            raise MissingError(f"{path} cannot be written to ({error.strerror})", expected="a file to write") from None

    def _begin(self, topics: Iterable[Topic], *, namespace: str, run: Mapping[str, Mapping[str, str]]) -> None:
        """Write what stands before the messages."""
        self._writer.start(profile="ros2", library="posemoe-edge")
        for name, entries in run.items():
            self._writer.add_metadata(name, dict(entries))
        self._schemas = dict[str, int]()
        self._channels = {topic: self._register(topic, topic.within(namespace)) for topic in topics}
        self._sequences = Counter[int]()
        self._opened_s = self._flushed_s = time.monotonic()
        self._counts = Counter[Topic]()
        self._first_ns: int | None = None
        self._last_ns = 0
        self._flush()

    @property
    def contents(self) -> RecordedFile:
        """What is in the file by now."""
        return RecordedFile(self.path.name, self._counts.copy(), self._first_ns or 0, self._last_ns)

    @property
    def size_bytes(self) -> int:
        """Of what has gone to the file: all but a chunk that is begun."""
        return self._file.tell()

    @property
    def age_s(self) -> float:
        """Since the file was opened."""
        return time.monotonic() - self._opened_s

    def write(self, topic: Topic, cdr: bytes, *, t_ns: int) -> None:
        """Add a message at its capture time; about once a second all of them go to the disk."""
        channel = self._channels[topic]
        self._sequences[channel] += 1
        self._writer.add_message(channel, t_ns, cdr, t_ns, self._sequences[channel])
        self._counts[topic] += 1
        self._first_ns = t_ns if self._first_ns is None else min(self._first_ns, t_ns)
        self._last_ns = max(self._last_ns, t_ns)
        if time.monotonic() - self._flushed_s >= FLUSH_S:
            self._flush()

    def close(self) -> None:
        """Write the index, which readers that seek need. Whatever happens, the file is closed."""
        with self._file:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())

    def _flush(self) -> None:
        self._writer.flush()
        os.fsync(self._file.fileno())  # of a robot whose battery is pulled
        self._flushed_s = time.monotonic()

    def _register(self, topic: Topic, name: str) -> int:
        if topic.type not in self._schemas:
            text = definition(topic.type).encode()
            self._schemas[topic.type] = self._writer.register_schema(topic.type, "ros2msg", text)
        about = {"offered_qos_profiles": "", "topic_type_hash": type_hash(topic.type)}
        return int(self._writer.register_channel(name, "cdr", self._schemas[topic.type], about))


def mcap_writer() -> Any:
    """The module ``mcap.writer``.

    Raises:
        MissingError: mcap, or zstandard with which it compresses, is not installed.
    """
    try:
        import zstandard  # noqa: F401
        from mcap import writer
    except ImportError as error:
        raise missing_extra((error.name or "mcap").partition(".")[0], "ros", "recordings in MCAP") from None
    return writer
