"""Every bash and python block of a page runs, or says why it does not.

The comment on the line before a block decides:

    <!-- run -->              in an empty folder of its own, with the files that it names (page_files.py)
    <!-- then -->             in the folder of the block before it, after it
    <!-- not run: REASON -->  not here
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_files import put_files
from pages import ALL_PAGES, Block, blocks, page_name
from posemoe_edge.runtime.cache import VARIABLE
from posemoe_edge.runtime.detectors.models import FOLDER

CODE = ("bash", "python")
NEEDS_DETECTOR = ("camera0", "video.mp4", "detectors get")


def chains(page: Path) -> Iterator[list[Block]]:
    """The blocks that run in one folder, in order."""
    chain: list[Block] = []
    for block in blocks(page):
        if block.mark == "run" and chain:
            yield chain
            chain = []
        if block.is_run:
            chain.append(block)
    if chain:
        yield chain


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
    code = "\n".join(block.text for block in chain)
    if any(word in code for word in NEEDS_DETECTOR) and not fetched_networks.is_dir():
        pytest.skip("no networks of BlazePose: `make test` fetches them")
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    cache.mkdir()
    if fetched_networks.is_dir():
        (cache / FOLDER).symlink_to(fetched_networks)
    put_files(code, work)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", VARIABLE: str(cache)}
    for block in chain:
        process = subprocess.run(
            [sys.executable, "-"] if block.language == "python" else ["bash", "-euo", "pipefail", "-s"],
            input=block.text,
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, f"{block} ended with {process.returncode}\n{process.stdout}\n{process.stderr}"
