"""posemoe-edge.toml: defaults for the verbs' options, and names for cameras.

    [verify]
    data = "motion/cmu_h36m17.npz"    # paths are relative to the file

    [cameras]
    front = "camera2"

Flags win over the environment (POSEMOE_EDGE_VERIFY_DATA), the environment over the file, the file over the defaults.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ...runtime.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = "posemoe-edge.toml"
PATHS = ("data", "model", "weights", "out")


def read_config(folder: Path) -> dict[str, Any]:
    """The tables of the folder's configuration file; empty where there is none."""
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", expected="tables named like the verbs") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is not a table", expected=f"[{name}]")
        for key in PATHS:
            if key in table and (path.parent / str(table[key])).exists():
                table[key] = str(path.parent / str(table[key]))
    return tables
