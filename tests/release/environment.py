"""Clean virtual environments with the wheel and some of its extras, as a user's pip makes them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
TORCH_EXTRAS = {"export", "train"}
TORCH = "torch==2.13.0"
STAMP = ".ready"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.out)
        return record


@dataclass(frozen=True)
class Environment:
    """A virtual environment. What runs in it sees neither the repository nor the settings of whoever runs the tests.

    Args:
        folder: its root.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def variables(self) -> dict[str, str]:
        """For its processes: its programs come first."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("POSEMOE_EDGE", "PYTHON"))}
        return kept | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(self, *command: str | Path, folder: Path, text: str = "", **variables: str) -> Outcome:
        """Run a program of the environment.

        Args:
            command: the program and its arguments.
            folder: the working directory.
            text: for its standard input.
            variables: of its environment, beside ``variables``.
        """
        process = subprocess.run(
            [str(word) for word in command],
            input=text,
            cwd=folder,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return Outcome(process.returncode, process.stdout, process.stderr)


def make_environment(folder: Path, requirements: Collection[str]) -> Environment:
    """The environment in ``folder`` with these requirements of tests, made anew unless it was made from the same ones."""
    environment = Environment(folder)
    with _locked(folder):
        stamp, wanted = folder / STAMP, _fingerprint(*requirements)
        if not stamp.is_file() or stamp.read_text() != wanted:
            _create(environment)
            _pip(environment, *requirements)
            stamp.write_text(wanted)
    return environment


def install_wheel(wheel: Path, extras: Collection[str], folder: Path) -> Environment:
    """The environment with the wheel and these extras. Its packages stay from one call to the next, but for the wheel.

    Args:
        wheel: the file.
        extras: names of extras.
        folder: of all environments; this one lies in a folder named for its extras.
    """
    extras = sorted(extras)
    environment = Environment(folder / ("+".join(extras) or "base"))
    packages, installed = environment.folder / STAMP, environment.folder / ".wheel"
    wanted = _fingerprint((ROOT / "pyproject.toml").read_text(), *extras)
    content = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with _locked(environment.folder):
        if not packages.is_file() or packages.read_text() != wanted:
            _create(environment)
            if TORCH_EXTRAS & set(extras):
                _pip(
                    environment, TORCH
                )  # alone and first, as the README says, so that its build is the one that the extra finds
            _pip(environment, f"{wheel}[{','.join(extras)}]" if extras else str(wheel))
            packages.write_text(wanted)
        elif not installed.is_file() or installed.read_text() != content:
            _pip(environment, "--no-deps", "--force-reinstall", str(wheel))
        installed.write_text(content)
    return environment


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time makes the environment in ``folder``."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(*parts: str) -> str:
    """Changes with what is to be installed, the versions that may be, and the Python."""
    return hashlib.sha256("\0".join((sys.version, CONSTRAINTS.read_text(), *parts)).encode()).hexdigest()


def _create(environment: Environment) -> None:
    shutil.rmtree(environment.folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment.folder)], check=True, timeout=120)


def _pip(environment: Environment, *arguments: str) -> None:
    """Install into it. Modules are compiled when they are imported, most of them never: that halves the time."""
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "-c", str(CONSTRAINTS)]
    outcome = environment.run(environment.python, "-m", "pip", "install", *options, *arguments, folder=environment.folder)
    assert outcome.code == 0, outcome.out + outcome.err
