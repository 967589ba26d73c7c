"""Write THIRD_PARTY.md: the packages that each extra installs, with their licences, as their metadata state them.

Run: python scripts/third_party.py [--also SITE_PACKAGES ...]

It reads the packages that are installed beside this Python, and those in the folders that are named: what one environment
cannot hold, such as Ray and pycuda, lies in another. A package that is nowhere is listed by what is said of it below.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "THIRD_PARTY.md"
BASE, DEVELOPMENT = "base", {"docs", "dev"}

# Packages that are of no use without a GPU: what their pages in the package index state.
ELSEWHERE = {
    "onnxruntime-gpu": "MIT",
    "tensorrt": "proprietary: NVIDIA's licence agreement",
}

# What metadata call a licence -> its name by SPDX. What is not here is shown as it stands.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "proprietary: NVIDIA's licence agreement",
    "Proprietary": "proprietary: NVIDIA's licence agreement",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True)
class Wanted:
    """A requirement of pyproject.toml.

    Args:
        requirement: as it stands there, without its marker.
        extras: those that name it; ``base`` for the package itself.
    """

    requirement: Requirement
    extras: tuple[str, ...]

    @property
    def key(self) -> str:
        return canonicalize_name(self.requirement.name)


def direct() -> list[Wanted]:
    """Every requirement of the package and of its extras, by name; one row for each range of versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows: dict[tuple[str, str], tuple[Requirement, list[str]]] = {}
    for extra, lines in {BASE: project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            requirement = Requirement(line)
            key = (canonicalize_name(requirement.name), str(requirement.specifier))
            rows.setdefault(key, (requirement, []))[1].append(extra)
    return [Wanted(requirement, tuple(extras)) for _, (requirement, extras) in sorted(rows.items())]


def installed(folders: Sequence[Path] = ()) -> dict[str, Distribution]:
    """Name -> package, of those beside this Python, and then of those in ``folders``."""
    found: dict[str, Distribution] = {}
    for places in (sys.path, [str(folder) for folder in folders]):
        for distribution in distributions(path=places):
            if name := distribution.metadata["Name"]:  # a broken installation has none
                found.setdefault(canonicalize_name(name), distribution)
    return found


def licence(distribution: Distribution) -> str:
    """As the metadata state it: the SPDX expression, else the field if it is a name and no whole text, else the classifiers."""
    metadata = distribution.metadata
    if expression := metadata["License-Expression"]:
        return str(expression)
    stated = (metadata["License"] or "").strip()
    if stated in SPDX.values() or stated in SPDX:
        return SPDX.get(stated, stated)
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    names = [SPDX.get(name, name) for name in classifiers if name != "OSI Approved"]
    if names:
        return " OR ".join(names)
    return stated if re.fullmatch(r"[\w .+()-]{2,60}", stated) else "not stated in its metadata"


def needed_by(distribution: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """The packages that a package needs on this machine, with their extras."""
    for line in distribution.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def indirect(wanted: list[Wanted], found: dict[str, Distribution]) -> dict[str, set[str]]:
    """Package -> the direct ones that bring it, of those that are not direct themselves."""
    named = {row.key for row in wanted}
    brought: dict[str, set[str]] = {}
    for row in wanted:
        seen: set[tuple[str, frozenset[str]]] = set()
        todo = [(row.key, frozenset(row.requirement.extras))]
        while todo:
            key, extras = todo.pop()
            if (key, extras) in seen or key not in found:
                continue
            seen.add((key, extras))
            if key not in named:
                brought.setdefault(key, set()).add(row.key)
            todo += needed_by(found[key], extras)
    return brought


def render(found: dict[str, Distribution]) -> str:
    """The page."""
    from posemoe_edge.runtime.detectors.models import MODELS

    wanted = direct()
    used = [row for row in wanted if not set(row.extras) <= DEVELOPMENT]
    files = {file.name: file for variant in MODELS.values() for file in variant}
    lines = [
        INTRODUCTION,
        "## Packages that posemoe-edge names\n",
        "| package | versions | extra | licence | in version |\n| --- | --- | --- | --- | --- |",
        *(_direct_row(row, found) for row in used),
        "\n## Packages that those bring\n",
        "| package | licence | in version | for |\n| --- | --- | --- | --- |",
        *_indirect_rows(used, found),
        BUNDLED,
        "## Packages for development\n",
        "| package | versions | licence | in version |\n| --- | --- | --- | --- |",
        *(_direct_row(row, found, with_extras=False) for row in wanted if set(row.extras) <= DEVELOPMENT),
        FETCHED,
        "| file | size | package | licence |\n| --- | ---: | --- | --- |",
        *(
            f"| `{name}` | {file.record.bytes / 1e6:.1f} MB | {file.package} | {file.package.licence} |"
            for name, file in sorted(files.items())
        ),
        WEIGHTS,
    ]
    return "\n".join(lines)


def _direct_row(row: Wanted, found: dict[str, Distribution], *, with_extras: bool = True) -> str:
    name = row.requirement.name + (f"[{','.join(sorted(row.requirement.extras))}]" if row.requirement.extras else "")
    extras = [", ".join(row.extras)] if with_extras else []
    return _row(name, str(row.requirement.specifier), *extras, *_licence_and_version(row.key, found))


def _indirect_rows(wanted: list[Wanted], found: dict[str, Distribution]) -> Iterator[str]:
    for key, parents in sorted(indirect(wanted, found).items()):
        yield _row(found[key].metadata["Name"], *_licence_and_version(key, found), ", ".join(sorted(parents)))


def _licence_and_version(key: str, found: dict[str, Distribution]) -> tuple[str, str]:
    if key in found:
        return licence(found[key]), found[key].version.partition("+")[0]
    return ELSEWHERE.get(key, "unknown"), "not installed"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


INTRODUCTION = """\
# Third-party software, networks and data

For those who put posemoe-edge into a product: whose software it installs, and under which licences. posemoe-edge itself is
under [Apache-2.0](LICENSE), and its wheel contains no code of others. pip installs the packages below; each extra brings those
that name it.

`python scripts/third_party.py` writes this page from the metadata of the packages, as installed on Linux (x86-64) with the
versions of `constraints.txt`, where it names them. Other versions may have other licences, and only a package's own files are
binding. A package that is "not installed" there needs a GPU's software: its licence is the one that its page in
the package index states, and what it brings is not listed.
"""

BUNDLED = """
### Libraries within those packages

Some wheels contain libraries of others under other licences than their own. These matter to a product:

- The wheels of `av` (extra `camera`) contain FFmpeg, which calls itself LGPL-3.0-or-later there, and the encoders x264 and
  x265, which their authors license under GPL-2.0-or-later. Where that does not fit, build `av` against an FFmpeg of your own:
  `pip install --no-binary av av`.
- Those of `opencv-python-headless` (extra `camera`) contain FFmpeg without these two, under LGPL-2.1-or-later.
- Those of TensorRT and of TensorRT for RTX (extras `tensorrt`, `tensorrt-rtx`) are under NVIDIA's licence agreement. PyPI's
  `torch` for Linux brings CUDA's libraries, under NVIDIA's as well; PyTorch's CPU build does not.
"""

FETCHED = """
## Networks that are fetched when you ask for them

`posemoe-edge detectors get NAME` takes them from public packages, and checks their sha256. Nothing is fetched unasked.
"""

WEIGHTS = """
## Motion in the shipped weights

The weights in `runtime/zoo`, which the wheel contains, were trained on motion capture; the motion itself is not part of this
project. All were trained on the CMU Graphics Lab Motion Capture Database, and all but `posemoe-retention-s` and
`posemoe-dssm-s` also on motion of ACCAD, The Ohio State University (CC BY 3.0). [NOTICE](NOTICE) has the acknowledgements,
which go with the weights, and [the cards](runtime/zoo/README.md) say how they were trained.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--also", type=Path, action="append", default=[], help="a folder of packages of another environment")
    PAGE.write_text(render(installed(parser.parse_args().also)))


if __name__ == "__main__":
    main()
