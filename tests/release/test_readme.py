"""What the README shows runs after what the README installs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from environment import Environment
from page_run import chains, run_chain
from pages import ROOT, Block

README = ROOT / "README.md"
INSTALL = re.compile(r"pip install [^\n`]*")
EXTRAS = re.compile(r"(?:posemoe[-_]edge[^\s\[\"']*|\.)\[([a-z,-]+)\]")
CHAINS = list(chains(README))


def extras_before(line: int) -> set[str]:
    """Of the last command before a line of the README that installs some: a later one may be for another machine."""
    text = "\n".join(README.read_text().splitlines()[: line - 1])
    found = [set(extras.split(",")) for command in INSTALL.findall(text) for extras in EXTRAS.findall(command)]
    return found[-1] if found else set()


def test_the_readme_installs_something_before_its_first_command() -> None:
    assert CHAINS and extras_before(CHAINS[0][0].line)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: str(chain[0]))
def test_code_of_the_readme_runs_where_the_wheel_is_installed(
    chain: list[Block], install: Callable[..., Environment], tmp_path: Path, fetched_networks: Path
) -> None:
    environment = install(*extras_before(chain[0].line))
    run_chain(chain, tmp_path, python=str(environment.python), variables=environment.variables, networks=fetched_networks)
