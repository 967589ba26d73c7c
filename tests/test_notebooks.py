"""Each notebook of examples/ runs from its first cell to its last, shows what it says, and is committed without outputs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
MOST_CELLS = 15
LONGEST_S = 60.0

# Id of a cell -> what it must display: a kind of data, or a text on stdout.
EXPECTED = {
    "first_skeleton": {
        "walk": ("text/html", r"t = 1\.00 s, the right wrist is at \[.*\] m from the hip\n"),
        "clip": ("text/html", ""),
        "lift": ("image/png", ""),
        "gap": ("image/png", r"frames by what the stream did: \{'reset': 1, 'none': \d+, 'hold': \d+, 'decay': 1\}\n"),
        "certificate": ("image/png", ""),
    }
}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def test_every_notebook_is_expected_to_display_something() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(EXPECTED)


@each_notebook
def test_a_notebook_is_short_and_committed_without_outputs_and_paths_of_a_machine(path: Path) -> None:
    text = path.read_text()
    cells = json.loads(text)["cells"]
    assert len(cells) < MOST_CELLS
    for cell in cells:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    assert not re.search(r"/(home|root|tmp|Users|work|content)/", text)


@each_notebook
def test_the_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    words = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", words)
    assert links and all((path.parent / link.partition("#")[0]).exists() for link in links)


@each_notebook
def test_a_notebook_runs_and_displays_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for package in ("ipykernel", "plotly", "matplotlib"):
        pytest.importorskip(package)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # nobody's own settings
    notebook = nbformat.read(path, as_version=4)
    began = time.monotonic()
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert time.monotonic() - began < LONGEST_S
    cells = {cell.id: cell.get("outputs", []) for cell in notebook.cells}
    assert {name for name, outputs in cells.items() if outputs} == set(EXPECTED[path.stem])
    for name, (kind, text) in EXPECTED[path.stem].items():
        assert any(kind in output.get("data", {}) for output in cells[name]), f"{name} displays no {kind}"
        assert re.fullmatch(text, printed(cells[name])), f"{name} prints {printed(cells[name])!r}"


def printed(outputs: list[Any]) -> str:
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")
