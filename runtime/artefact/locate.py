"""Where artefacts are: a path of the user's, or one that is shipped in the package."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingError
from .manifest import MANIFEST

ZOO = Path(__file__).parents[1] / "zoo"
DEFAULT_MODEL = "posemoe-retention-s"


def find_artefact(artefact: str | Path | None = None) -> Path:
    """The artefact's folder (or single file): a path that exists, else the name of a shipped one."""
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
            expected="a folder that export made of them",
            run=f"posemoe-edge export {artefact}",
        )
    shipped = ", ".join(sorted(p.parent.name for p in ZOO.glob(f"*/{MANIFEST}"))) or "none"
    name = path.name if path.name.startswith("posemoe-") else DEFAULT_MODEL
    raise MissingError(
        f"there is no artefact at {artefact}",
        expected=f"a folder, or a shipped one ({shipped})",
        run=f"posemoe-edge export {name}",
    )
