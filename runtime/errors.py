"""The errors of posemoe-edge, one class for each kind of remedy.

Every message says what happened, what was expected and which command to run. An error is raised once and caught once, by the
command line, which turns the class into an exit code.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

TORCH_EXTRAS = ("export", "train")
"""The extras that install PyTorch."""


class PoseEdgeError(Exception):
    """Base of all errors that a user can fix.

    Args:
        what: what happened, in one clause.
        expected: what was expected instead.
        run: the command that fixes it, ready to paste.
    """

    exit_code = 1

    def __init__(self, what: str, *, expected: str | None = None, run: str | None = None) -> None:
        self.what, self.expected, self.run = what, expected, run
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if run:
            parts.append(f"run: {run}")
        super().__init__("; ".join(parts))


class CheckFailedError(PoseEdgeError):
    """A check failed: drift, deadline, accuracy.

    The message names the figures and their limits. Mend the artefact, or set another limit if the figure is good enough.
    """

    exit_code = 1


class UsageError(PoseEdgeError):
    """The call itself is wrong: an unknown preset, options that contradict each other.

    Call it as the message says was expected.
    """

    exit_code = 2


class FrameError(PoseEdgeError, ValueError):
    """A frame was refused: wrong shape, not finite, or out of order.

    The stream's state is unchanged, so go on with the next frame. If every frame is refused, mend what the message names.
    """

    exit_code = 2


class MissingError(PoseEdgeError):
    """Something is missing in the environment: a package, a camera, a file.

    Run the command in the message, or give the name of something that is there. ``posemoe-edge doctor`` lists what is missing.
    """

    exit_code = 3


class SourceError(MissingError):
    """A source of frames cannot be opened, or failed while it was read.

    Check the camera, the address or the file that the message names.
    """


class ArtefactError(PoseEdgeError):
    """An artefact is incomplete, was changed, or does not fit this software or machine.

    Make it again, or copy it again from where it was made; the message has the command.
    """

    exit_code = 4


def missing_folder(folder: Path) -> MissingError:
    """The error for a folder that is not there, and in which a file was to be written."""
    return MissingError(f"no folder {folder}", run=f"mkdir -p {shlex.quote(str(folder))}")


def missing_extra(package: str, extra: str, purpose: str) -> MissingError:
    """The error for a package that is not installed and belongs to an optional extra."""
    hint = cpu_torch_hint() if extra in TORCH_EXTRAS else None
    return MissingError(
        f"{purpose} needs the package {package}, which is not installed" + (f" ({hint})" if hint else ""),
        run=f'pip install "posemoe-edge[{extra}]"',
    )


def cpu_torch_hint() -> str | None:
    """How to install PyTorch without CUDA; None where PyTorch is installed, and where pip would not install CUDA with it.

    PyPI's wheels of PyTorch depend on CUDA's on Linux, on x86-64 as on ARM, and nowhere else.
    """
    if sys.platform != "linux" or find_spec("torch"):
        return None
    return (
        "PyPI's torch brings gigabytes of CUDA libraries; without an NVIDIA GPU install its CPU build first: "
        "pip install torch --index-url https://download.pytorch.org/whl/cpu"
    )
