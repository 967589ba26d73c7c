"""The user's cache: the folder for what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "POSEMOE_EDGE_CACHE"
"""The environment variable that names another folder."""


def cache_folder() -> Path:
    """The cache of posemoe-edge: ``POSEMOE_EDGE_CACHE``, else ``posemoe-edge`` in ``XDG_CACHE_HOME``, else in ~/.cache."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posemoe-edge"
