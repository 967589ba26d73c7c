"""Every bash and python block of a page runs, or says why it does not.

The comment on the line before a block decides:

    <!-- run -->              in an empty folder of its own, with the files that it names (page_files.py)
    <!-- then -->             in the folder of the block before it, after it
    <!-- not run: REASON -->  not here
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from page_run import chains, run_chain
from pages import ALL_PAGES, Block, blocks, page_name

CODE = ("bash", "python")


CHAINS = [chain for page in ALL_PAGES for chain in chains(page)]


def test_both_languages_run() -> None:
    assert {block.language for chain in CHAINS for block in chain} == set(CODE)


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_every_block_of_code_is_run_or_says_why_not(page: Path) -> None:
    found = list(blocks(page))
    assert [str(block) for block in found if block.language in CODE and not block.mark] == []
    assert [str(block) for block in found if block.is_run and block.language not in CODE] == []
    marks = sum(line.strip().startswith(("<!-- run", "<!-- then", "<!-- not run")) for line in page.read_text().splitlines())
    assert marks == sum(bool(block.mark) for block in found), "a mark does not stand before a block"


@pytest.mark.parametrize("page", ALL_PAGES, ids=page_name)
def test_the_first_block_that_runs_begins_a_folder(page: Path) -> None:
    assert all(chain[0].mark == "run" for chain in chains(page))


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: str(chain[0]))
def test_code_of_pages_runs(chain: list[Block], tmp_path: Path, fetched_networks: Path) -> None:
    run_chain(chain, tmp_path, python=sys.executable, variables=os.environ, networks=fetched_networks)
