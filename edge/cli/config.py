"""posemoe-edge.toml: defaults for the options of the verbs, and aliases of cameras.

    [verify]
    data = "motion/cmu_h36m17.npz"    # paths are relative to the file

    [cameras]
    front = "camera2"

Flags override the environment (POSEMOE_EDGE_VERIFY_DATA), the environment overrides the file, the file the defaults.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from ...runtime.errors import UsageError
from ...runtime.registry import suggest
from ...runtime.toml_file import read_toml

CONFIG = "posemoe-edge.toml"
PATHS = ("data", "model", "weights", "out")


def check_options(ctx: click.Context) -> None:
    """Check that each key of the verb's table is an option of the verb: others would have no effect.

    Raises:
        UsageError: a key is not.
    """
    parameters = {param.name for param in ctx.command.params}
    for key in ctx.default_map or {}:
        if key not in parameters:
            suggestion = suggest(key, [name for name in parameters if name])
            raise UsageError(
                f"{CONFIG}: [{ctx.info_name}] has an unknown key {key!r}{suggestion}",
                expected=f"an option of posemoe-edge {ctx.info_name}",
            )


def read_config(folder: Path, verbs: Collection[str]) -> dict[str, Any]:
    """The tables of the folder's configuration file, one for each verb and one for the cameras; empty without a file.

    Args:
        folder: paths in the file are relative to it.
        verbs: the tables that may occur, beside ``cameras``.

    Raises:
        UsageError: the file is not TOML, or has another form.
    """
    path = folder / CONFIG
    if not path.is_file():
        return {}
    tables = read_toml(path)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is not a table", expected=f"[{name}]")
        if name == "cameras" and not all(isinstance(uri, str) for uri in table.values()):
            raise UsageError(f"{path}: [cameras] {table}", expected='text, as in front = "camera2"')
        if name != "cameras" and name not in verbs:
            raise UsageError(f"{path}: there is no verb {name!r}{suggest(name, verbs)}", expected="tables named like verbs")
        for key in PATHS:
            if key in table and (path.parent / str(table[key])).exists():
                table[key] = str(path.parent / str(table[key]))
    return tables
