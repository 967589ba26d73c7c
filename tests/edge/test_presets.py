from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.presets import OURS, PAPERS, PRESETS, Preset, find_preset
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL
from posemoe_edge.runtime.errors import UsageError

MIXERS = ("attention", "retention", "dssm")
NAMES = [f"posemoe-{mixer}-{size}" for mixer in MIXERS for size in "sm"]


def parameters(name: str) -> int:
    return sum(p.numel() for p in find_preset(name).build().parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_the_mixer_of_its_name(name: str) -> None:
    preset = find_preset(name)
    assert preset.name == name and preset.config.mixer_kind == name.split("-")[1] and preset.note


def test_every_preset_is_named_once_and_the_default_is_one() -> None:
    assert set(NAMES) <= set(PRESETS) and DEFAULT_MODEL in PRESETS
    assert all(name == preset.name for name, preset in PRESETS.items())


def test_our_presets_have_no_paper_and_published_ones_name_theirs() -> None:
    assert all(preset.published is None for preset in OURS)
    for preset in PAPERS:
        assert preset.published is None or (preset.published.paper and preset.published.where and preset.note)
    assert [preset.name for preset in PAPERS if preset.published is None] == ["posemoe-h2ot-243"]


# Relative difference allowed between our count and the printed one. PoseRetNet's print omits weights, see its remark.
NEAR = {"posemoe": 0.01, "hummuss": 0.01, "mixste": 0.001, "motionbert": 0.001}


@pytest.mark.parametrize("name", [preset.name for preset in PAPERS if preset.published and preset.published.params])
def test_a_published_system_has_the_printed_parameters(name: str) -> None:
    preset = find_preset(name)
    with torch.device("meta"):
        count = sum(p.numel() for p in build(preset.config).parameters())
    assert preset.published is not None and preset.published.params is not None
    family = name.split("-")[0]
    if family == "poseretnet":
        assert abs(count - 8 * 5 * 512**2 - preset.published.params) < 0.1e6 and "raw weights" in preset.published.remark
    else:
        assert abs(count / preset.published.params - 1) < NEAR[family]


WINDOWED = [preset for preset in PAPERS if preset.config.window is not None and preset.published is not None]


@pytest.mark.parametrize("preset", WINDOWED, ids=lambda preset: preset.name)
def test_a_published_window_is_the_presets(preset: Preset) -> None:
    assert preset.published is not None and preset.config.window == preset.published.frames


@pytest.mark.parametrize("mixer", MIXERS)
def test_small_is_about_two_million_and_medium_some_four_times_that(mixer: str) -> None:
    small, medium = parameters(f"posemoe-{mixer}-s"), parameters(f"posemoe-{mixer}-m")
    assert 1.9e6 <= small <= 2.5e6
    assert 3.5 <= medium / small <= 5


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_small_preset_lifts_a_frame(mixer: str) -> None:
    model = find_preset(f"posemoe-{mixer}-s").build().eval()
    x = torch.rand(1, 1, model.config.joints, model.config.channels)
    with torch.no_grad():
        y = model(x) if mixer == "attention" else model.step(x[:, 0], model.initial_state(1))[0]
    assert y.shape[-2:] == (17, 4) and y.isfinite().all()


def test_the_lookahead_preset_differs_by_lookahead_alone() -> None:
    ahead, causal = find_preset("posemoe-retention-ahead-s"), find_preset("posemoe-retention-s")
    assert ahead.config == replace(causal.config, lookahead=True) and not causal.config.lookahead


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("posemoe-retension-s", "posemoe-retention-s"),
        ("posemoe-dssm", "posemoe-dssm-"),
        ("posemoe-atention-m", "posemoe-attention-m"),
        ("x", "posemoe-"),  # no name is near: any existing one
        ("", "posemoe-"),
    ],
)
def test_an_unknown_preset_is_a_usage_error_that_names_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=nearest) as error:
        find_preset(wrong)
    assert repr(wrong) in str(error.value) and error.value.run
