"""Official checkpoints, from a file of theirs to a network of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.checkpoints import import_official, load_checkpoint
from posemoe_edge.edge.cli.import_verb import FAMILIES
from posemoe_edge.edge.official import families

Call = Callable[..., Any]


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    weights = torch.load(checkpoint, weights_only=True)["model_pos"]
    assert isinstance(weights, dict)
    return weights


def test_an_imported_checkpoint_loads_and_gives_its_poses(run_cli: Call, workdir: Path, mixste_checkpoint: Path) -> None:
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2", "--out", "mine", "--json")
    assert result.code == 0 and result.json["weights"] == "mine/reference.safetensors" and result.json["family"] == "mixste"
    assert "posemoe-edge export --weights mine/reference.safetensors" in result.err
    model, record = load_checkpoint(workdir / "mine" / "reference.safetensors")
    expected = import_official("mixste", weights_of(mixste_checkpoint), {"num_heads": 2})
    x = torch.rand(2, 4, 17, 2)
    with torch.no_grad():
        assert torch.equal(model(x), expected(x))
    assert model.config == expected.config
    assert result.json["params"] == sum(p.numel() for p in model.parameters())
    assert record["training"]["imported"] == "mixste" and record["training"]["config"] == {"num_heads": 2}


@pytest.mark.parametrize(
    ("name", "text"), [("c.json", '{"num_heads": 4, "depth": 1}'), ("c.toml", "num_heads = 4\ndepth = 1\n")]
)
def test_the_configuration_may_be_a_file_and_later_ones_win(
    run_cli: Call, workdir: Path, mixste_checkpoint: Path, name: str, text: str
) -> None:
    (workdir / name).write_text(text)
    assert run_cli("import", "mixste", mixste_checkpoint, "--config", name).code == 0
    assert load_checkpoint(workdir / "mixste-weights" / "reference.safetensors")[0].config.heads == 4
    assert run_cli("import", "mixste", mixste_checkpoint, "--config", name, "--config", "num_heads=2").code == 0
    assert load_checkpoint(workdir / "mixste-weights" / "reference.safetensors")[0].config.heads == 2


@pytest.mark.parametrize("text", ["[1]", "{", ""])
def test_an_unreadable_configuration_is_refused(run_cli: Call, workdir: Path, mixste_checkpoint: Path, text: str) -> None:
    (workdir / "c.json").write_text(text)
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "c.json")
    assert result.code == 2 and "c.json" in result.err
    assert list(workdir.iterdir()) == [workdir / "c.json"]


def drop(weights: dict[str, Any]) -> None:
    del weights["module.head.1.bias"]


def add(weights: dict[str, Any]) -> None:
    weights["module.surprise"] = torch.zeros(1)


def bend(weights: dict[str, Any]) -> None:
    weights["module.head.1.weight"] = torch.zeros(3, 9)


def hide(weights: dict[str, Any]) -> None:
    weights["module.head.1.bias"] = "text"


@pytest.mark.parametrize(
    ("change", "named"), [(drop, "head.1.bias"), (add, "surprise"), (bend, "head.1.weight"), (hide, "head.1.bias")]
)
def test_a_checkpoint_that_does_not_fit_is_named_and_nothing_is_written(
    run_cli: Call, workdir: Path, mixste_checkpoint: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    weights = weights_of(mixste_checkpoint)
    change(weights)
    torch.save({"model_pos": weights}, mixste_checkpoint)
    result = run_cli("import", "mixste", mixste_checkpoint, "--json")
    assert result.code == 4 and named in result.json["what"]
    assert list(workdir.iterdir()) == []


class Bomb:
    """An object whose unpickling would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_is_not_run(run_cli: Call, workdir: Path, tmp_path: Path) -> None:
    torch.save({"model_pos": Bomb(tmp_path / "boom")}, tmp_path / "evil.bin")
    result = run_cli("import", "mixste", tmp_path / "evil.bin")
    assert result.code == 4 and "evil.bin holds code: getattr" in result.err
    assert not (tmp_path / "boom").exists()
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.bin")
    result = run_cli("import", "mixste", tmp_path / "whole.bin")
    assert result.code == 4 and "whole.bin holds code: torch.nn.modules.linear.Linear" in result.err
    assert "torch.save(model.state_dict(), FILE)" in result.err


def test_numpy_objects_beside_the_weights_are_left_out(run_cli: Call, workdir: Path, mixste_checkpoint: Path) -> None:
    weights = weights_of(mixste_checkpoint)
    beside = {"random_state": np.random.RandomState(1), "min_loss": np.float64(3.0), "optimizer": {"state": {}}}
    torch.save({"epoch": 1, **beside, "model_pos": weights}, mixste_checkpoint)
    assert run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2").code == 0
    model, _ = load_checkpoint(workdir / "mixste-weights" / "reference.safetensors")
    assert torch.equal(model.state_dict()["head.1.bias"], weights["module.head.1.bias"])


def test_the_older_format_of_torch_is_read(run_cli: Call, workdir: Path, mixste_checkpoint: Path) -> None:
    torch.save({"model_pos": weights_of(mixste_checkpoint)}, mixste_checkpoint, _use_new_zipfile_serialization=False)
    assert run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2").code == 0


def test_ignored_keys_are_listed_and_near_misses_refused(run_cli: Call, workdir: Path, mixste_checkpoint: Path) -> None:
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2", "--config", "dropout=0.1")
    assert result.code == 0 and "ignored options of the configuration: dropout" in result.err
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "num_head=2", "--json")
    assert result.code == 2 and "'num_head'" in result.json["what"] and "num_heads" in result.json["expected"]


def test_the_suggested_command_works(
    run_cli: Call, workdir: Path, mixste_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2")
    suggested = result.err.rsplit("Next: posemoe-edge ", 1)[1].split()
    assert run_cli(*suggested).code == 0
    assert (workdir / "mixste" / "manifest.json").is_file()


def test_import_offers_every_family() -> None:
    assert set(FAMILIES) == set(families.FAMILIES)


def test_a_truncated_checkpoint_is_refused(run_cli: Call, workdir: Path, mixste_checkpoint: Path) -> None:
    mixste_checkpoint.write_bytes(mixste_checkpoint.read_bytes()[:1000])
    assert run_cli("import", "mixste", mixste_checkpoint).code == 4


def test_safetensors_are_read_too(run_cli: Call, workdir: Path, mixste_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights_of(mixste_checkpoint), tmp_path / "mixste.safetensors")
    assert run_cli("import", "mixste", tmp_path / "mixste.safetensors", "--config", "num_heads=2").code == 0


def test_a_known_shape_is_called_by_its_preset(
    run_cli: Call, workdir: Path, mixste_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posemoe_edge.edge import presets

    config = import_official("mixste", weights_of(mixste_checkpoint), {"num_heads": 2}).config
    monkeypatch.setitem(presets.PRESETS, "mixste-tiny", presets.Preset("mixste-tiny", config, "in small"))
    result = run_cli("import", "mixste", mixste_checkpoint, "--config", "num_heads=2", "--json")
    assert result.json["preset"] == "mixste-tiny"
    record = json.loads((workdir / "mixste-weights" / "reference.json").read_text())
    assert record["preset"] == "mixste-tiny" and record["config"]["topology"] == "alternating"
