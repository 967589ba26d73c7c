"""Room: whether a place can be written to and has the space, asked before the work whose result goes there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..destination import check_free, megabytes
from ..errors import MissingError, UsageError
from .atomic import PART


def check_room(folder: Path, need_bytes: int) -> None:
    """Check that files of that size can be written to a folder, or to where it is to be made.

    Args:
        need_bytes: an estimate; a work that is known to need more than there is does not begin.

    Raises:
        UsageError: it is a file, would be below one, or is a link that leads to itself.
        MissingError: it cannot be written to, or has too little space.
    """
    place = Path(os.path.realpath(folder))
    if place.is_symlink():  # what realpath leaves of links that lead to each other
        raise UsageError(f"{folder} is a link that leads nowhere", expected="a folder to write to")
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"{place} is a file", expected="a folder to write to")
    try:
        with tempfile.TemporaryFile(prefix=".", suffix=PART, dir=place):
            pass
    except OSError as error:
        raise MissingError(
            f"{place} cannot be written to ({error.strerror}), and {megabytes(need_bytes)} are to be written there",
            expected="a folder with write permission and space",
        ) from None
    check_free(place, need_bytes, what="what is to be written there")
