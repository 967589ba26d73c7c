"""Reading MCAP: what is in a file, and its messages in their order, up to the break of a file that is not complete."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bounds import check_bytes
from ..errors import PoseEdgeError, SourceError, missing_extra
from ..file_kind import check_stand_in

_MOST_RECORD_BYTES = 2**30
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagTopic:
    """A topic of a file.

    Args:
        name: with its slash.
        type: of its messages, such as ``sensor_msgs/msg/Image``; "" if the file does not say.
        encoding: of its messages: ``cdr``, ``json``.
        messages: how many there are; None if the file has no index.
    """

    name: str
    type: str
    encoding: str
    messages: int | None = None


@dataclass(frozen=True)
class BagContents:
    """What is in a file: its topics by name, and its metadata records by name."""

    topics: dict[str, BagTopic]
    metadata: dict[str, dict[str, str]]


def bag_contents(path: Path) -> BagContents:
    """What is in a file: by its index, or where that is missing, by reading all of it."""
    from mcap.reader import SeekingReader

    with path.open("rb") as file:
        try:
            reader = SeekingReader(file, record_size_limit=_MOST_RECORD_BYTES)
            summary = reader.get_summary()
            if summary is not None and summary.statistics is not None and summary.channels:
                counts = summary.statistics.channel_message_counts
                metadata = {record.name: record.metadata for record in reader.iter_metadata()}
                return _contents(summary.schemas, summary.channels, metadata, counts)
        except Exception as error:  # whatever a broken index leads to: the file is read without it
            _log.debug("%s has no index that can be read (%r)", path, error)
    schemas, channels, metadata = dict[int, Any](), dict[int, Any](), dict[str, dict[str, str]]()
    for record in _records(path):
        kind = type(record).__name__
        if kind == "Schema":
            schemas[record.id] = record
        elif kind == "Channel":
            channels[record.id] = record
        elif kind == "Metadata":
            metadata[record.name] = record.metadata
    return _contents(schemas, channels, metadata, None)


def bag_messages(path: Path, topic: str) -> Iterator[tuple[int, bytes]]:
    """Log time in nanoseconds and data of each message of a topic, in the order of the file.

    A file that breaks off is read up to the break, with a warning in the log.
    """
    ids = set[int]()
    for record in _records(path):
        kind = type(record).__name__
        if kind == "Channel" and record.topic == topic:
            ids.add(record.id)
        elif kind == "Message" and record.channel_id in ids:
            yield record.log_time, record.data


def _contents(schemas: Any, channels: Any, metadata: dict[str, dict[str, str]], counts: Any) -> BagContents:
    topics = dict[str, BagTopic]()
    for channel in channels.values():
        schema = schemas.get(channel.schema_id)
        before = topics.get(channel.topic)
        messages = None if counts is None else counts.get(channel.id, 0) + (before.messages or 0 if before else 0)
        topics[channel.topic] = BagTopic(channel.topic, schema.name if schema else "", channel.message_encoding, messages)
    return BagContents(topics, metadata)


def _records(path: Path) -> Iterator[Any]:
    """All records, up to the first that cannot be read."""
    try:
        import zstandard  # noqa: F401
        from mcap.exceptions import InvalidMagic, UnsupportedCompressionError
        from mcap.stream_reader import StreamReader, breakup_chunk
    except ImportError as error:
        raise missing_extra((error.name or "mcap").partition(".")[0], "ros", "reading recordings in MCAP") from None
    count = 0
    with path.open("rb") as file:
        most = min(_MOST_RECORD_BYTES, path.stat().st_size)  # what a record claims is allocated
        reader = StreamReader(file, validate_crcs=True, record_size_limit=most, emit_chunks=True)
        records = iter(_broken_up(reader.records, breakup_chunk, file_bytes=most))
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except PoseEdgeError:
                raise
            except UnsupportedCompressionError as error:
                raise missing_extra("lz4", "ros", f"reading {path} ({error})") from None
            except Exception as error:  # whatever a broken byte leads to in the reader and in its decompressor
                if count == 0:
                    check_stand_in(path, expected="a recording in MCAP", error=SourceError)
                    reason = "has another format" if isinstance(error, InvalidMagic) else f"{error!r:.80}"
                    raise SourceError(f"{path} cannot be read as MCAP ({reason})", expected="a recording in MCAP") from None
                _log.warning("%s breaks off and is read up to there (%r)", path, error)
                return
            count += 1
            yield record


def _broken_up(records: Iterator[Any], breakup_chunk: Any, *, file_bytes: int) -> Iterator[Any]:
    """The records, and those inside chunks, whose size is known before they are unpacked."""
    import zstandard

    for record in records:
        if type(record).__name__ != "Chunk":
            yield record
            continue
        size = record.uncompressed_size
        if record.compression == "zstd":
            size = max(size, zstandard.frame_content_size(record.data))
        check_bytes("a chunk of the recording", size, file_bytes=file_bytes, error=SourceError)
        yield from breakup_chunk(record, validate_crc=True)
