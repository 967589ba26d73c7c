"""The errors of posemoe-edge: named by what the user can do about them.

Every message says what happened, what was expected and what to run. An error is raised once and caught once, at the edge
of the command line, which turns the class into an exit code.
"""

from __future__ import annotations


class PoseEdgeError(Exception):
    """Base of all errors that a user can mend.

    Args:
        what: what happened, in one clause.
        expected: what was expected instead.
        run: the command that mends it, ready to paste.
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
    """A check was made and failed: drift, deadline, accuracy."""

    exit_code = 1


class UsageError(PoseEdgeError):
    """The call itself is off: an unknown preset, an option that does not fit."""

    exit_code = 2


class FrameError(PoseEdgeError, ValueError):
    """A frame was refused: wrong shape, not finite, or out of order. The stream's state is as it was."""

    exit_code = 2


class MissingError(PoseEdgeError):
    """Something is missing in the environment: a package, a camera, a file."""

    exit_code = 3


class SourceError(MissingError):
    """A source of frames cannot be opened or broke off."""


class ArtefactError(PoseEdgeError):
    """An artefact is incomplete, was changed, or does not fit this software."""

    exit_code = 4


def missing_extra(package: str, extra: str, purpose: str) -> MissingError:
    """The error for a package of an optional extra that is not installed."""
    return MissingError(
        f"{purpose} needs the package {package}, which is not installed", run=f'pip install "posemoe-edge[{extra}]"'
    )
