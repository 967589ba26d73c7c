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


def installed_for(line: int) -> set[str]:
    """The extras that the README has installed up to the end of the section in which a line is."""
    lines = README.read_text().splitlines()
    end = next((n for n in range(line, len(lines)) if lines[n].startswith("## ")), len(lines))
    commands = INSTALL.findall("\n".join(lines[:end]))
    return {extra for command in commands for extras in EXTRAS.findall(command) for extra in extras.split(",")}


def test_the_readme_installs_something_for_its_first_command() -> None:
    assert CHAINS and installed_for(CHAINS[0][0].line)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: str(chain[0]))
def test_code_of_the_readme_runs_where_the_wheel_is_installed(
    chain: list[Block], install: Callable[..., Environment], tmp_path: Path, fetched_networks: Path
) -> None:
    environment = install(*installed_for(chain[0].line))
    run_chain(chain, tmp_path, python=str(environment.python), variables=environment.variables, networks=fetched_networks)
