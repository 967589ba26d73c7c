"""TOML files that a user writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .bounds import check_bytes
from .errors import UsageError
from .file_kind import check_stand_in

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UsageError: it is not TOML.
    """
    check_stand_in(path, expected="keys, values and tables", text=True, error=UsageError)
    try:
        check_bytes(str(path), path.stat().st_size, error=UsageError)
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}", expected="keys, values and tables") from error
