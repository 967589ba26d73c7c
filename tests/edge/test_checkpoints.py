from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import MixerConfig
from posemoe_edge.edge.models.posemoe import PoseMoE, PoseMoEConfig
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.export.reference import save_reference
from posemoe_edge.runtime.errors import ArtefactError, MissingError

SMALL_MIXERS: dict[str, MixerConfig] = {
    "attention": AttentionConfig(),
    "retention": RetentionConfig(),
    "dssm": DSSMConfig(state_size=4),
}


def tiny(mixer: str = "dssm", seed: int = 0) -> PoseMoE:
    torch.manual_seed(seed)
    window = 4 if mixer == "attention" else None
    return PoseMoE(PoseMoEConfig(mixer=SMALL_MIXERS[mixer], dim=8, heads=2, layers=1, window=window))


def assert_same(model: Lifter, other: Lifter) -> None:
    assert model.config == other.config
    weights, others = model.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_reference(path, tiny(), preset="tiny")
    return path


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Simulates a full disk: writing more than ``size`` bytes to a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("mixer", SMALL_MIXERS)
def test_a_checkpoint_is_read_bit_by_bit(mixer: str, tmp_path: Path) -> None:
    model = tiny(mixer)
    save_reference(tmp_path / "weights.safetensors", model, preset="tiny", training={"updates": 7})
    loaded, record = load_checkpoint(tmp_path / "weights.safetensors")
    assert_same(model, loaded)
    assert not loaded.training
    assert record["preset"] == "tiny" and record["training"] == {"updates": 7}
    assert sorted(folder(tmp_path)) == ["weights.json", "weights.safetensors"]


def test_a_loaded_model_gives_the_same_numbers(saved: Path) -> None:
    x = torch.rand(1, 3, 17, 3)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(saved)[0](x), tiny()(x))


@pytest.mark.parametrize("missing", ["weights.safetensors", "weights.json"])
def test_a_missing_file_is_named(saved: Path, missing: str) -> None:
    saved.with_name(missing).unlink()
    with pytest.raises(MissingError, match=missing):
        load_checkpoint(saved)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_weights_do_not_load(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ArtefactError, match=r"weights\.safetensors"):
        load_checkpoint(saved)


def edit(**config: Any) -> Callable[[str], str]:
    """Replaces fields of the configuration; None removes one."""

    def edited(text: str) -> str:
        record = json.loads(text)
        record["config"] = {key: value for key, value in (record["config"] | config).items() if value is not None}
        return json.dumps(record)

    return edited


@pytest.mark.parametrize(
    "edited",
    [
        edit(dim=16),  # other shapes
        edit(layers=2),  # other names
        edit(mixer={"kind": "retention"}),
        edit(heads=None),
        edit(colour="red"),
        edit(dim="8"),
        lambda text: text[:20],
        lambda text: "[]",
        lambda text: "{}",
    ],
)
def test_an_edited_record_does_not_load(saved: Path, edited: Callable[[str], str]) -> None:
    beside = saved.with_suffix(".json")
    beside.write_text(edited(beside.read_text()))
    with pytest.raises(ArtefactError, match=r"weights\.safetensors do not load"):
        load_checkpoint(saved)


def test_a_write_that_fails_leaves_the_old_checkpoint(saved: Path) -> None:
    before = folder(saved.parent)
    with no_file_beyond(1000), pytest.raises(OSError):
        save_reference(saved, tiny(seed=1), preset="other")
    assert folder(saved.parent) == before
    assert_same(load_checkpoint(saved)[0], tiny())


def test_a_first_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with no_file_beyond(1000), pytest.raises(OSError):
        save_reference(tmp_path / "weights.safetensors", tiny(), preset="tiny")
    assert folder(tmp_path) == {}


def test_a_write_that_fails_between_the_files_leaves_whole_files(saved: Path) -> None:
    with no_file_beyond(200_000), pytest.raises(OSError):  # the weights fit, the record does not
        save_reference(saved, tiny(seed=1), preset="other", training={"log": "x" * 300_000})
    assert sorted(folder(saved.parent)) == ["weights.json", "weights.safetensors"]
    load_checkpoint(saved)
