"""``show(pose)``: poses in a notebook."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..artefact.atomic import AtomicFile
from ..errors import UsageError
from .interactive_poses import as_html, draw_interactive
from .moments import Poses, moments_of
from .static_poses import draw_static

_DPI = 110  # one pose is 600 pixels wide: a column of a notebook has 1,000


@dataclass(frozen=True, eq=False)
class PoseFigure:
    """A figure of poses, which a notebook displays if it is the last value of a cell.

    Args:
        figure: a ``matplotlib.figure.Figure``, or a ``plotly.graph_objects.Figure`` if it is interactive.
        interactive: whether it can be turned and played.
    """

    figure: Any = field(repr=False)
    interactive: bool

    def save(self, path: str | Path) -> None:
        """Write the figure: an interactive one as a page, ``FILE.html``, which needs no network; another as ``FILE.png``.

        Raises:
            UsageError: the name has another ending.
            MissingError: the file's folder does not exist, or cannot be written to.
        """
        ending = ".html" if self.interactive else ".png"
        if Path(path).suffix.lower() != ending:
            other = "interactive=False" if self.interactive else "interactive=True"
            raise UsageError(
                f"{path} cannot be written from this figure", expected=f"a name that ends with {ending}, or {other}"
            )
        file = AtomicFile(Path(path))
        with file.committing():
            content = self.figure.to_html(include_plotlyjs=True, auto_play=False).encode() if self.interactive else self._png()
            file.partial.write_bytes(content)

    def _repr_png_(self) -> bytes | None:
        return None if self.interactive else self._png()

    def _repr_html_(self) -> str | None:
        return as_html(self.figure) if self.interactive else None

    def _png(self) -> bytes:
        with io.BytesIO() as png:
            self.figure.savefig(png, format="png", dpi=_DPI)
            return png.getvalue()


def show(poses: Poses, *, interactive: bool | None = None, in_room: bool | None = None) -> PoseFigure:
    """Draw one person, several people, or a clip, in metres with z up.

    The left side is blue, the right side orange. Bones of joints that the model guessed are grey and dotted. The radius of the
    ball around a joint is its standard deviation, ``sigma_m``.

    Args:
        poses: a ``Pose``; a ``PoseFrame``; or a clip: a list of poses, of frames, or of all events of a pipeline. Poses of one
            time are drawn together.
        interactive: True: turn it with the mouse; a clip has a slider and plays. False: a picture; of a clip, some moments
            side by side. None: interactive if Plotly is installed.
        in_room: True: people stand where they are, in the axes of the room or the robot if these are known, else of the camera.
            False: about the hip, side by side. None: where they are if every pose has a ``root``.

    Raises:
        UsageError: ``poses`` is something else.
        FrameError: there is no pose, one is not finite, a person has two poses at one time, or ``in_room=True`` without a root.
        MissingError: Plotly or Matplotlib is not installed; the message has the command that installs it.
    """
    moments = moments_of(poses, in_room=in_room)
    if interactive is None:
        interactive = find_spec("plotly") is not None
    return PoseFigure(draw_interactive(moments) if interactive else draw_static(moments), interactive)


def picture_of(poses: Poses) -> bytes | None:
    """The PNG that a notebook shows of poses; None, so that it shows their text, where Matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    return show(poses, interactive=False)._repr_png_()
