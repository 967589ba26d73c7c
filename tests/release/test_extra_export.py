"""The extra export: from PyTorch to an artefact with a certificate, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from environment import TORCH, Environment
from page_files import write_clip


@pytest.fixture(scope="module")
def work(export: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the default model was exported."""
    folder = tmp_path_factory.mktemp("export")
    outcome = export.run("posemoe-edge", "export", "--precision", "fp16", "--json", folder=folder)
    assert outcome.code == 0, outcome.err
    assert [path.name for path in folder.iterdir()] == ["frame-retention-s"]
    return folder


def test_the_extra_keeps_the_pytorch_that_was_installed_before_it(export: Environment, tmp_path: Path) -> None:
    outcome = export.run(export.python, "-c", "import torch; print(torch.__version__)", folder=tmp_path)
    assert outcome.out.strip().partition("+")[0] == TORCH.partition("==")[2], outcome.err


def test_the_artefact_lifts_a_clip_and_draws_it(work: Path, export: Environment) -> None:
    write_clip(work / "clip.npz")
    line = ["run", "kpts:clip.npz", "--model", "frame-retention-s", "--sink", "png:out.png", "--json"]
    outcome = export.run("posemoe-edge", *line, folder=work)
    assert outcome.code == 0 and outcome.json["poses"] > 0, outcome.err
    assert (work / "out.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_certified(work: Path, export: Environment) -> None:
    outcome = export.run("posemoe-edge", "verify", "frame-retention-s", "--frames", "300", "--json", folder=work)
    assert outcome.code == 0, outcome.err
    assert (work / "frame-retention-s" / "certificate.json").is_file()
