"""The forms in which trainers store one state dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from posemoe_edge.edge.official.names import clean_state_dict
from posemoe_edge.edge.official.weights import read_weights
from posemoe_edge.runtime.errors import ArtefactError
from safetensors.torch import save_file

WEIGHTS = {
    "Temporal_pos_embed": torch.ones(1, 3, 4),
    "TTEblocks.0.attn.qkv.weight": torch.ones(2, 2),
    "head.bias": torch.ones(2),
}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def under(prefix: str) -> dict[str, Any]:
    return {prefix + name: weight for name, weight in WEIGHTS.items()}


FORMS: dict[str, Any] = {
    "compile": {"model_pos": under("_orig_mod.")},
    "both": under("module._orig_mod."),
    "both the other way round": under("_orig_mod.module."),
    "averaged": {**under("module."), "n_averaged": torch.tensor(100)},
    "ema": {"ema": WEIGHTS, "epoch": 1},
    "shadow": {"shadow_params": WEIGHTS, "decay": 0.99},
    "model_state_dict": {"model_state_dict": WEIGHTS, "optimizer": OPTIMIZER},
    "model and ema": {"ema_state_dict": {name: 2 * weight for name, weight in WEIGHTS.items()}, "state_dict": WEIGHTS},
    "lightning": {"state_dict": under("model."), "epoch": 1, "optimizer_states": [OPTIMIZER]},
    "lightning with a loss": {"state_dict": {**under("model."), "loss.weight": torch.ones(1)}},
    "fsdp": {"module": under("_fsdp_wrapped_module.")},
    "nested": {"model": {"model_pos": under("module.net.")}, "lr": 1e-3},
    "gan": {"generator": WEIGHTS, "discriminator": {"conv.weight": torch.ones(1)}},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_each_form_is_the_same_state_dict(tmp_path: Path, form: Any) -> None:
    torch.save(form, tmp_path / "x.bin")
    read = clean_state_dict(read_weights(tmp_path / "x.bin"))
    assert read.keys() == WEIGHTS.keys() and all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_the_content_tells_the_format(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "x.pth")
    torch.save(WEIGHTS, tmp_path / "y.safetensors")
    assert read_weights(tmp_path / "x.pth").keys() == read_weights(tmp_path / "y.safetensors").keys() == WEIGHTS.keys()


def test_what_is_there_is_listed(tmp_path: Path) -> None:
    torch.save({"ema": {"shadow_params": [torch.ones(2)]}, "epoch": 3}, tmp_path / "x.bin")
    with pytest.raises(ArtefactError, match=r"holds no state dict, but ema \(dict of 1\), epoch \(int\)"):
        read_weights(tmp_path / "x.bin")
    torch.save({"teacher": WEIGHTS, "student": WEIGHTS}, tmp_path / "y.bin")
    with pytest.raises(ArtefactError, match=r"2 state dicts: teacher \(3 tensors\), student \(3 tensors\)"):
        read_weights(tmp_path / "y.bin")
