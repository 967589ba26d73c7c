"""Which page of the site each file of the repository becomes, and in which order the navigation shows them.

A page is named by its path below ``docs``, which need not exist there: ``project/architecture.md`` is ``ARCHITECTURE.md``.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

# Files outside of docs/ -> their pages.
ELSEWHERE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "THIRD_PARTY.md": "project/third-party.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
}

# The folder of the models' cards, with their pictures -> its pages.
CARDS, CARD_PAGES = "runtime/zoo", "results/zoo"
CARD_FILES = (".md", ".png", ".svg", ".gif")

# The sections of the navigation, in order: title, folder, and the pages that come first in it; the others follow by name.
SECTIONS = (
    ("Tutorials", "tutorials", ("first-skeleton", "your-camera", "checkpoint-to-jetson", "your-motion")),
    ("How-to", "how-to", ("camera", "sources", "desktop", "jetson")),
    ("Concepts", "concepts", ("state-and-drift", "certificate", "time", "view", "sigma", "mixers")),
    ("Reference", "reference", ("cli", "commands", "api", "runtime", "artefact", "schemas", "errors")),
    ("Papers", "papers", ("posemoe", "poseretnet")),
    ("Results", "results", ("zoo", "real", "performance", "experiments")),
    ("Decisions", "decisions", ()),
    ("Project", "project", ("architecture", "contributing", "changelog")),
)

TITLES = {"api": "Python API", "zoo": "Models"}
"""Of folders in sections; of another one it is its name."""

ORDER = {
    "reference/api": (
        "models",
        "streams",
        "cameras",
        "pipeline",
        "plotting",
        "shadow",
        "errors",
        "sources",
        "detectors",
        "trackers",
        "sinks",
    )
}
"""A folder in a section -> the pages that come first in it."""

INDEXES = ("README.md", "index.md")
"""A folder's own page."""


def site_files() -> dict[str, str]:
    """Every file of the repository that is on the site -> its path there."""
    places = {
        f"docs/{path.relative_to(ROOT / 'docs').as_posix()}": path for path in (ROOT / "docs").rglob("*") if path.is_file()
    }
    found = {source: source.removeprefix("docs/") for source in places}
    found |= {source: page for source, page in ELSEWHERE.items() if (ROOT / source).is_file()}
    for path in (ROOT / CARDS).rglob("*"):
        if path.suffix in CARD_FILES:
            found[path.relative_to(ROOT).as_posix()] = f"{CARD_PAGES}/{path.relative_to(ROOT / CARDS).as_posix()}"
    return found
