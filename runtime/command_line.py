"""The commands that messages print, quoted so that they can be pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

PROGRAM = "posemoe-edge"


def command_line(*words: object) -> str:
    """A call of posemoe-edge. Each word is one argument; a path that looks like an option is written with its folder.

    >>> command_line("verify", Path("my robot"))
    "posemoe-edge verify 'my robot'"
    """
    return shlex.join(
        [PROGRAM, *(f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words)]
    )
