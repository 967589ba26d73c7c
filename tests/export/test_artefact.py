"""The artefact is complete or absent, whatever interrupts its export. Graphs are replayed, not traced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.topology import config_from
from posemoe_edge.export import artefact
from posemoe_edge.export.artefact import export
from posemoe_edge.export.passes import SIMPLIFY, run_passes
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError, load
from posemoe_edge.runtime.artefact.files import sha256
from posemoe_edge.runtime.artefact.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("replayed_graphs")
Tiny = Callable[[str], Any]


def file_hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash, hidden files included."""
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_the_manifest_describes_the_export(tmp_path: Path, tiny_lifter: Tiny) -> None:
    model, stages = tiny_lifter("retention"), []
    manifest = export(
        model,
        tmp_path / "a" / "b",
        preset="tiny-retention",
        precisions=("fp16", "fp16"),
        training={"updates": 3},
        on_stage=lambda name, seconds, size: stages.append(name),
    )
    assert manifest == read_manifest(tmp_path / "a" / "b") and stages == ["reference weights", "fp32 graph", "fp16 graph"]
    assert [graph.precision for graph in manifest.graphs] == ["fp32", "fp16"]  # fp32 always, and first
    assert (manifest.preset, manifest.mixer, manifest.mode, manifest.fps) == ("tiny-retention", "retention", "step", 50.0)
    assert config_from(manifest.config) == model.config and manifest.training == {"updates": 3}
    assert manifest.parameters == sum(p.numel() for p in model.parameters())
    assert set(manifest.versions) >= {"posemoe-edge", "torch", "onnx", "onnxsim"}
    assert set(manifest.files) == {"reference.safetensors", "reference.json", "step.fp32.onnx", "step.fp16.onnx"}
    for name, record in manifest.files.items():
        path = tmp_path / "a" / "b" / name
        assert (sha256(path), path.stat().st_size) == (record.sha256, record.bytes)


def test_chunks_of_a_lifter_without_a_state_are_refused_before_anything_is_written(tmp_path: Path, tiny_lifter: Tiny) -> None:
    with pytest.raises(UsageError, match="a lifter that carries a state"):
        export(tiny_lifter("attention"), tmp_path / "a", preset="tiny", chunk=9)
    assert list(tmp_path.iterdir()) == []


def test_the_reference_weights_are_those_of_the_model(tmp_path: Path, tiny_lifter: Tiny) -> None:
    model = tiny_lifter("dssm")
    export(model, tmp_path / "a", preset="tiny-dssm", training={"untrained": True})
    again, record = load_checkpoint(tmp_path / "a" / "reference.safetensors")
    assert again.config == model.config and record["preset"] == "tiny-dssm" and record["training"] == {"untrained": True}
    for (name, a), (_, b) in zip(again.state_dict().items(), model.state_dict().items(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)


def test_exporting_does_not_change_the_model(tmp_path: Path, tiny_lifter: Tiny) -> None:
    model = tiny_lifter("retention")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export(model, tmp_path / "a", preset="tiny", precisions=("fp16",))
    assert all(value.dtype == before[name].dtype and value.equal(before[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_an_old_artefact_is_replaced_as_a_whole(tmp_path: Path, tiny_lifter: Tiny) -> None:
    folder = tmp_path / "a"
    export(tiny_lifter("retention"), folder, preset="first", precisions=("fp16",))
    export(tiny_lifter("dssm"), folder, preset="second")
    assert read_manifest(folder).preset == "second" and "step.fp16.onnx" not in file_hashes(folder)
    assert str(load(folder)) == "second fp32 step"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_other_users_can_read_the_folder(tmp_path: Path, tiny_lifter: Tiny) -> None:
    export(tiny_lifter("retention"), tmp_path / "a", preset="tiny")
    assert (tmp_path / "a").stat().st_mode & 0o055 == 0o055


def test_an_empty_folder_is_replaced(tmp_path: Path, tiny_lifter: Tiny) -> None:
    (tmp_path / "a").mkdir()
    export(tiny_lifter("retention"), tmp_path / "a", preset="tiny")
    load(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["a folder", "a file"])
def test_a_path_that_is_no_artefact_is_left_alone(tmp_path: Path, tiny_lifter: Tiny, kind: str) -> None:
    place = tmp_path / "thesis"
    if kind == "a file":
        place.write_text("years of work")
    else:
        place.mkdir()
        (place / "chapter1.tex").write_text("years of work")
    before = file_hashes(tmp_path)
    with pytest.raises(UsageError, match="exists and is no artefact"):
        export(tiny_lifter("retention"), place, preset="tiny")
    assert file_hashes(tmp_path) == before


def test_a_folder_with_another_programs_manifest_is_left_alone(tmp_path: Path, tiny_lifter: Tiny) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text('{"name": "a web app", "icons": []}')
    (tmp_path / "web" / "index.html").write_text("years of work")
    with pytest.raises(UsageError, match="is no artefact"):
        export(tiny_lifter("retention"), tmp_path / "web", preset="tiny")
    assert (tmp_path / "web" / "index.html").exists()


def test_a_link_stays_a_link_and_the_artefact_behind_it_is_renewed(tmp_path: Path, tiny_lifter: Tiny) -> None:
    export(tiny_lifter("dssm"), tmp_path / "v1", preset="old")
    (tmp_path / "current").symlink_to("v1")
    (tmp_path / "v1" / "NOTES").write_text("mine")
    export(tiny_lifter("retention"), tmp_path / "current", preset="new")
    assert (tmp_path / "current").is_symlink() and str(load(tmp_path / "v1")) == "new fp32 step"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "v1"]
    assert (tmp_path / "v1" / "NOTES").read_text() == "mine"


def test_a_folder_that_cannot_be_renamed_is_written_into(
    tmp_path: Path, tiny_lifter: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount point, whose folder stays what it is: another one in its place would be busy."""
    place = tmp_path / "mnt"
    (place / "lost+found").mkdir(parents=True)
    before = place.stat().st_ino
    for kind in ("dssm", "retention"):
        export(tiny_lifter(kind), place, preset=kind)
        assert str(load(place)) == f"{kind} fp32 step" and place.stat().st_ino == before


def test_a_disk_that_is_too_small_is_said_before_a_graph_is_traced(
    tmp_path: Path, tiny_lifter: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact, "trace", lambda *args: pytest.fail("traced"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(MissingError, match=r"has 0\.1 MB left, and what is to be written there needs about \d\.\d MB"):
        export(tiny_lifter("retention"), tmp_path / "a", preset="tiny")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_no_obstacle_and_goes(tmp_path: Path, tiny_lifter: Tiny) -> None:
    (tmp_path / "a" / ".export.xyz.part" / "export").mkdir(parents=True)
    export(tiny_lifter("retention"), tmp_path / "a", preset="tiny")
    assert not [path.name for path in (tmp_path / "a").iterdir() if path.name.startswith(".")]


def test_int8_is_refused_before_anything_is_written(tmp_path: Path, tiny_lifter: Tiny) -> None:
    with pytest.raises(UsageError, match="INT8 activations need motion to calibrate on; expected fp32, fp16 or int8w"):
        export(tiny_lifter("retention"), tmp_path / "a", preset="tiny", precisions=("fp32", "int8"))
    assert list(tmp_path.iterdir()) == []


POINTS = [
    "save_reference",
    "trace",
    "run_passes",
    "describe",
    "embed_manifest",
    "record_file",
    "write_manifest",
    "_put_in_place",
    "commit_manifest",
]


@pytest.mark.parametrize("old", [False, True], ids=["nothing before", "an artefact before"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("point", POINTS)
def test_an_interruption_leaves_nothing_behind_and_the_old_artefact_intact(
    tmp_path: Path, tiny_lifter: Tiny, monkeypatch: pytest.MonkeyPatch, point: str, error: type[BaseException], old: bool
) -> None:
    place = tmp_path / "a"
    if old:
        export(tiny_lifter("dssm"), place, preset="old")
    before = file_hashes(tmp_path)
    calls = []

    def interrupted(*args: Any, **options: Any) -> None:
        calls.append(point)
        raise error("now")

    monkeypatch.setattr(artefact, point, interrupted)
    with pytest.raises(error, match="now"):
        export(tiny_lifter("retention"), place, preset="new", precisions=("fp16",))
    assert calls and file_hashes(tmp_path) == before and [p.name for p in tmp_path.iterdir()] == (["a"] if old else [])
    if old:
        assert str(load(place)) == "old fp32 step"


def test_an_interruption_in_the_second_graph_leaves_nothing(
    tmp_path: Path, tiny_lifter: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, run_once = [], vars(artefact)["run_passes"]

    def interrupt_second_call(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_once(*args)

    monkeypatch.setattr(artefact, "run_passes", interrupt_second_call)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_lifter("retention"), tmp_path / "a", preset="new", precisions=("fp16",))
    assert len(calls) == 2 and list(tmp_path.iterdir()) == []


def test_a_simplification_that_changes_the_numbers_is_refused(
    retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxsim

    def wrong(model: onnx.ModelProto, **options: Any) -> tuple[onnx.ModelProto, bool]:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        weight = next(w for w in changed.graph.initializer if len(w.dims) == 2)
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.5, weight.name))
        return changed, True  # onnxsim reports success where it checks nothing

    monkeypatch.setattr(onnxsim, "simplify", wrong)
    with pytest.raises(ArtefactError, match="the pass simplify changed what the graph computes; expected the same"):
        run_passes(onnx.load(retention_artefact / "step.fp32.onnx"), [SIMPLIFY])
