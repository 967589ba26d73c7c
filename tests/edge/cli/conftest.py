"""The program as a user calls it: arguments, exit code, stdout and stderr. It runs in this process, through ``main``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class CliResult:
    """The exit code, stdout and stderr of one call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Stdout, which must be one strict JSON object and nothing else."""
        record = json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert isinstance(record, dict)
        return record


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without a configuration file; the environment has no settings either."""
    folder = tmp_path / "workdir"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("POSEMOE_EDGE")]:
        monkeypatch.delenv(name)
    return folder


@pytest.fixture
def run_cli(workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """run_cli("run", "synthetic://walk", "--json"): the result of posemoe-edge with these arguments."""
    from posemoe_edge.edge.cli.main import main

    def call(*args: object) -> CliResult:
        monkeypatch.setattr(sys, "argv", ["posemoe-edge", *map(str, args)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            code = end.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err or "-v" in args
        return CliResult(code, captured.out, captured.err)

    return call


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch, tiny_lifter: Callable[[str], Any]) -> None:
    """Replaces the presets by tiny-retention, tiny-dssm and tiny-attention."""
    from posemoe_edge.edge import presets

    kinds = ("retention", "dssm", "attention")
    tiny = {f"tiny-{kind}": presets.Preset(f"tiny-{kind}", tiny_lifter(kind).config, "for tests") for kind in kinds}
    monkeypatch.setattr(presets, "PRESETS", tiny)


@pytest.fixture
def zoo(retention_artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped artefacts: it contains one, a tiny one under the default's name."""
    from posemoe_edge.edge.cli import demo_verb, export_verb, models_verb
    from posemoe_edge.runtime.artefact import locate

    folder = tmp_path / "zoo"
    shutil.copytree(retention_artefact, folder / locate.DEFAULT_MODEL)
    for module in (locate, demo_verb, export_verb, models_verb):
        monkeypatch.setattr(module, "ZOO", folder)
    return folder


@pytest.fixture
def mixste_checkpoint(tmp_path: Path) -> Path:
    """A small checkpoint as MixSTE's own training writes it: one layer of 8 channels over 4 frames, under DataParallel."""
    import torch

    dim, shapes = 8, {"Spatial_pos_embed": (1, 17, 8), "Temporal_pos_embed": (1, 4, 8), "Spatial_patch_to_embedding": (8, 2)}
    for block in ("STEblocks.0", "TTEblocks.0"):
        shapes |= {f"{block}.{norm}": (dim,) for norm in ("norm1", "norm2")}
        shapes |= {f"{block}.attn.qkv": (24, 8), f"{block}.attn.proj": (8, 8)}
        shapes |= {f"{block}.mlp.fc1": (16, 8), f"{block}.mlp.fc2": (8, 16)}
    shapes |= {"Spatial_norm": (dim,), "Temporal_norm": (dim,), "head.0": (dim,), "head.1": (3, 8)}
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("embed"):
            weights[name] = torch.randn(shape)
        else:
            weights |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    path = tmp_path / "mixste.bin"
    torch.save({"epoch": 1, "model_pos": {f"module.{name}": weight for name, weight in weights.items()}}, path)
    return path
