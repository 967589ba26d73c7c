"""TensorRT's timing cache: the kernel timings of earlier builds, which make the next build faster."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...artefact.atomic import write_atomically
from ...errors import PoseEdgeError

log = logging.getLogger(__name__)


def load_timing_cache(config: Any, path: Path) -> None:
    """Give the builder the timings in a file. One of another version or GPU is ignored, and the cache starts empty."""
    data = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        log.warning("%s does not fit this GPU and TensorRT: the times are measured again", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)


def save_timing_cache(config: Any, path: Path) -> None:
    """Write the builder's timings. A file that cannot be written is no error: it only makes the next build slower."""
    with suppress(PoseEdgeError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        cache = config.get_timing_cache()
        write_atomically(path, bytes(cache.serialize()))
