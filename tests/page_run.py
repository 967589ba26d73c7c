"""Running the blocks of a page as a reader does who pastes them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from page_files import put_files
from pages import Block, blocks
from posemoe_edge.runtime.cache import VARIABLE
from posemoe_edge.runtime.detectors.models import FOLDER

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


def run_chain(chain: list[Block], folder: Path, *, python: str, variables: Mapping[str, str], networks: Path) -> None:
    """Run blocks one after the other in a new folder, with the files that they name. Skips the test where one cannot be had.

    Args:
        chain: the blocks.
        folder: the test's; the work is done in a folder in it.
        python: the Python that runs them; its folder, with the program, comes first on the path.
        variables: the environment.
        networks: the folder with BlazePose's networks, if there are any.
    """
    code = "\n".join(block.text for block in chain)
    if any(word in code for word in NEEDS_DETECTOR) and not networks.is_dir():
        pytest.skip("no networks of BlazePose: `make test` fetches them")
    work, cache = folder / "work", folder / "cache"
    work.mkdir()
    cache.mkdir()
    if networks.is_dir():
        (cache / FOLDER).symlink_to(networks)
    put_files(code, work)
    path = f"{Path(python).parent}{os.pathsep}{variables['PATH']}"
    environment = {**variables, "PATH": path, "OMP_NUM_THREADS": "1", VARIABLE: str(cache)}
    for block in chain:
        process = subprocess.run(
            [python, "-"] if block.language == "python" else ["bash", "-euo", "pipefail", "-s"],
            input=block.text,
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, f"{block} ended with {process.returncode}\n{process.stdout}\n{process.stderr}"
