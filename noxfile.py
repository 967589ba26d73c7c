"""The supported Pythons, the lowest versions that pyproject.toml promises, and known vulnerabilities.

    nox -s py310 py311 py312 py313 minimum
    nox -s audit

Each session installs the package as a robot does, without PyTorch, and runs the runtime's tests; those that export a model
first need PyTorch and skip themselves. A session whose Python is not on this machine is skipped, and nox says so. With pyenv,
make the versions visible first: ``export PYENV_VERSION=3.11.7:3.10.13:3.12.1:3.13.0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("cpu", "camera", "plot")
TOOLS = ("pytest", "pytest-xdist", "hypothesis")
TESTS = ("tests/runtime", "tests/test_public_names.py")

nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


def current(session: nox.Session) -> None:
    """The newest versions that pip finds for this Python."""
    session.install(f".[{','.join(EXTRAS)}]", *TOOLS)
    run_tests(session)


def minimum(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml promises, on the lowest Python."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    session.install(*lowest(project, EXTRAS, TOOLS))
    session.install("--no-deps", ".")
    run_tests(session)


def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the pinned set. Asks pypi.org itself, not the configured index.

    Without ``--strict`` a package about which nothing could be asked counts as one without vulnerabilities.
    """
    session.install("pip-audit")
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "--requirement", "constraints.txt")


def run_tests(session: nox.Session) -> None:
    """The tests run against the installed package: the repository's folder is not on the path."""
    session.run("python", "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *TESTS, env={"OMP_NUM_THREADS": "1"})


def lowest(project: dict[str, Any], extras: tuple[str, ...], tools: tuple[str, ...]) -> Iterator[str]:
    """``name==version`` for each ``name>=version`` of the dependencies, of the extras, and of the tools in the dev extra."""
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in optional[extra])]
    requirements += [requirement for requirement in optional["dev"] if re.split(r"[<>=!;\[ ]", requirement)[0] in tools]
    for requirement in requirements:
        yield requirement.replace(">=", "==", 1)


for version in PYTHONS:
    nox.session(name=f"py{version.replace('.', '')}", python=version)(current)
nox.session(python=PYTHONS[0])(minimum)
nox.session(audit)
