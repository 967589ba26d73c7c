"""The pages of the Python API: which public name is on which page. mkdocstrings fills them from the docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import posemoe_edge
from posemoe_edge.scripts.website.places import ROOT

FOLDER = "reference/api"


MADE_BY_OTHERS = ("Model", "RemoteModel", "Stream")
"""Classes that a user does not call: their signature is no matter of the API."""


@dataclass(frozen=True)
class ApiPage:
    """One page: its title, a sentence below it, and the public names of ``module`` on it, in order."""

    title: str
    intro: str
    names: tuple[str, ...]
    module: str = "posemoe_edge"

    @property
    def markdown(self) -> str:
        sections = "\n\n".join(
            f"::: {self.module}.{name}" + ("\n    options: { merge_init_into_class: false }" if name in MADE_BY_OTHERS else "")
            for name in self.names
        )
        return f"# {self.title}\n\n{self.intro}\n\n{sections}\n"


def _stages(title: str, package: str, intro: str) -> ApiPage:
    """The page of a package to which other packages add theirs: all its public names but the registry's default."""
    module = f"posemoe_edge.runtime.{package}"
    names = tuple(name for name in import_module(module).__all__ if not name.isupper())
    return ApiPage(title, f"`from {module} import {', '.join(names)}`. {intro}", names, module)


_EVENTS = (
    "PoseFrame",
    "TrackStarted",
    "TrackLost",
    "FrameRefused",
    "ModelSwapped",
    "ClockReset",
    "SourceChanged",
    "SourceLost",
)

PAGES = {
    "models": ApiPage(
        "Load and models",
        "`load` opens an artefact. The model that it returns makes one stream for each person.",
        ("load", "Model", "RemoteModel"),
    ),
    "streams": ApiPage(
        "Streams, keypoints and poses",
        "A stream takes one person's 2D keypoints frame by frame and gives 3D poses.",
        ("Stream", "Keypoints", "ImageSize", "Pose", "Root", "GapPolicy", "Snapshot"),
    ),
    "cameras": ApiPage(
        "Cameras",
        "What is known about a camera: its lens, where down is, and where it is mounted.",
        ("read_camera", "Camera", "Intrinsics", "FieldOfView"),
    ),
    "pipeline": ApiPage(
        "Pipeline and events",
        "A pipeline takes pictures or keypoints from a source, finds and follows the people in it, and lifts all of them. "
        "It reports everything as events.",
        ("Pipeline", "RunStats", "Event", *_EVENTS, "SourceBack"),
    ),
    "plotting": ApiPage(
        "Poses in a notebook",
        "`from posemoe_edge.plotting import show`. Needs the extra `notebook`, or `plot` for pictures alone.",
        ("show", "PoseFigure"),
        "posemoe_edge.plotting",
    ),
    "shadow": ApiPage(
        "Shadow",
        "A shadow lifts a sample of a live run's frames a second time with a reference, and compares the poses.",
        ("Shadow", "ShadowReport"),
    ),
    "errors": ApiPage(
        "Errors",
        "Every error that a user can mend is a `PoseEdgeError`. [Exit codes and errors](../errors.md) says what to do.",
        ("PoseEdgeError", "UsageError", "FrameError", "MissingError", "SourceError", "ArtefactError", "CheckFailedError"),
    ),
    "sources": _stages("Sources", "sources", "A source yields pictures or keypoints with their capture times."),
    "detectors": _stages("Detectors", "detectors", "A detector finds people and their 2D keypoints in a picture."),
    "trackers": _stages("Trackers", "tracking", "A tracker gives each person an id that lasts from frame to frame."),
    "sinks": _stages("Sinks", "sinks", "A sink takes the events of a run: it writes, draws or publishes them."),
    "engines": _stages(
        "Engines", "engines", "An engine runs one graph. `load` chooses and opens it; most programs need no more."
    ),
}
"""The page's name -> the page."""


def api_pages() -> Iterator[tuple[str, str]]:
    """Each page's path on the site, and its text; an index first.

    Raises:
        AssertionError: a public name is on no page, or on two.
    """
    names = [name for page in PAGES.values() if page.module == "posemoe_edge" for name in page.names]
    assert sorted([*names, "__version__", "plotting"]) == sorted(posemoe_edge.__all__), (
        "scripts/website/api_pages.py lacks a public name"
    )
    rows = []
    for name, page in PAGES.items():
        links = ", ".join(f"[`{public}`]({name}.md#{page.module}.{public})" for public in page.names)
        rows.append(f"| [{page.title}]({name}.md) | {links} |")
    yield (
        f"{FOLDER}/index.md",
        "# Python API\n\nThe public names of `posemoe_edge`, from their docstrings, and those of the packages to which other "
        "packages can add: sources, detectors, trackers, sinks and engines. [The runtime](../runtime.md) shows how they are "
        "used. `posemoe_edge.__version__` is the version.\n\n| page | names |\n| --- | --- |\n" + "\n".join(rows) + "\n",
    )
    for name, page in PAGES.items():
        yield f"{FOLDER}/{name}.md", page.markdown


def link_package(folder: Path) -> None:
    """Make ``folder`` a place from which mkdocstrings reads the package: its root, and the runtime, which has what is public.

    The repository's root is the package, and mkdocstrings would read everything that lies in it.
    """
    package = folder / "posemoe_edge"
    package.mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "plotting.py", "runtime"):
        with suppress(FileExistsError):  # of an earlier build, or of one at the same time
            (package / name).symlink_to(ROOT / name)
