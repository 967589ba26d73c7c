"""Where artefacts are: at a path, or in the package."""

from __future__ import annotations

from pathlib import Path

from ..command_line import command_line
from ..errors import MissingError
from ..registry import suggest
from .manifest import MANIFEST

ZOO = Path(__file__).parents[1] / "zoo"
DEFAULT_MODEL = "frame-retention-s"


def find_artefact(artefact: str | Path | None = None) -> Path:
    """The path of an artefact: its folder, or a standalone ONNX file.

    Args:
        artefact: an existing path, else the name of a shipped artefact; None is the default one.

    Raises:
        MissingError: there is neither; or only shipped weights, which must be exported first.
    """
    if artefact is None:
        return ZOO / DEFAULT_MODEL
    path = Path(artefact)
    if path.exists():
        return path
    if (ZOO / str(artefact) / MANIFEST).is_file():
        return ZOO / str(artefact)
    if (ZOO / str(artefact)).is_dir():
        raise MissingError(
            f"{artefact} is shipped as weights, not as an artefact",
            expected="a folder that export made from them",
            run=command_line("export", artefact),
        )
    shipped = sorted(manifest.parent.name for manifest in ZOO.glob(f"*/{MANIFEST}"))
    name = path.name if path.name.startswith(("posemoe-", "frame-")) else DEFAULT_MODEL
    raise MissingError(
        f"there is no artefact at {artefact}{suggest(path.name, shipped)}",
        expected=f"a folder, or a shipped one ({', '.join(shipped) or 'none'})",
        run=command_line("export", name),
    )
