from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.presets import DEFAULT_PRESET, PRESETS, find_preset
from posemoe_edge.runtime.errors import UsageError

MIXERS = ("attention", "retention", "dssm")
NAMES = [f"posemoe-{mixer}-{size}" for mixer in MIXERS for size in "sm"]


def parameters(name: str) -> int:
    return sum(p.numel() for p in find_preset(name).build().parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_what_its_name_says(name: str) -> None:
    preset = find_preset(name)
    assert preset.name == name and preset.config.mixer == name.split("-")[1] and preset.note


def test_every_preset_is_named_once_and_the_default_is_one() -> None:
    assert set(NAMES) <= set(PRESETS) and DEFAULT_PRESET in PRESETS
    assert all(name == preset.name for name, preset in PRESETS.items())


@pytest.mark.parametrize("mixer", MIXERS)
def test_small_is_about_a_million_and_medium_some_five_times_that(mixer: str) -> None:
    small, medium = parameters(f"posemoe-{mixer}-s"), parameters(f"posemoe-{mixer}-m")
    assert 0.9e6 <= small <= 1.4e6
    assert 4.5 <= medium / small <= 6


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_small_preset_lifts_a_frame(mixer: str) -> None:
    model = find_preset(f"posemoe-{mixer}-s").build().eval()
    x = torch.rand(1, 1, model.config.joints, model.config.channels)
    with torch.no_grad():
        y = model(x) if mixer == "attention" else model.step(x[:, 0], model.initial_state(1))[0]
    assert y.shape[-2:] == (17, 3) and y.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("posemoe-retension-s", "posemoe-retention-s"),
        ("posemoe-dssm", "posemoe-dssm-"),
        ("attention-m", "posemoe-attention-m"),
        ("x", "posemoe-"),  # nothing is near: still one that exists
        ("", "posemoe-"),
    ],
)
def test_an_unknown_preset_is_a_usage_error_that_names_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=nearest) as error:
        find_preset(wrong)
    assert repr(wrong) in str(error.value) and error.value.run
