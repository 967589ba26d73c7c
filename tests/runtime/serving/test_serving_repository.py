"""A repository: what is written, what is replaced, and what is left alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime.artefact.manifest import MANIFEST, read_manifest
from posemoe_edge.runtime.engines.tensorrt.plan import write_plan
from posemoe_edge.runtime.errors import ArtefactError, CheckFailedError, MissingError, UsageError
from posemoe_edge.runtime.model import load
from posemoe_edge.runtime.serving import write_repository


def test_each_graph_is_a_model_beside_that_of_people(retention_artefact: Path, tmp_path: Path) -> None:
    models = write_repository(retention_artefact, tmp_path / "repo")
    preset = "tiny-retention"
    assert [model.name for model in models] == [preset, f"{preset}_fp32", f"{preset}_fp16"]
    assert sorted(path.name for path in (tmp_path / "repo").iterdir()) == sorted(model.name for model in models)
    for model in models:
        folder = tmp_path / "repo" / model.name
        assert (folder / "config.pbtxt").read_text() == model.config
        for name, content in model.files.items():
            assert (folder / "1" / name).read_bytes() == content


def test_the_copy_for_people_is_an_artefact_that_loads(retention_artefact: Path, tmp_path: Path) -> None:
    write_repository(retention_artefact, tmp_path / "repo")
    copy = tmp_path / "repo" / "tiny-retention" / "1" / "artefact"
    with_copy, original = load(copy), load(retention_artefact)
    assert with_copy.identity == original.identity and read_manifest(copy) == read_manifest(retention_artefact)


def test_a_standalone_graph_makes_a_repository_too(retention_artefact: Path, tmp_path: Path) -> None:
    graph = Path(shutil.copy(retention_artefact / "step.fp32.onnx", tmp_path / "alone.onnx"))
    models = write_repository(graph, tmp_path / "repo")
    assert [model.backend for model in models] == ["python", "onnxruntime"]
    assert load(tmp_path / "repo" / "tiny-retention" / "1" / "artefact.onnx").graph.precision == "fp32"


def test_plans_stand_beside_the_graphs(copied_artefact: Path, make_build_key: Callable[..., Any], tmp_path: Path) -> None:
    old = write_plan(copied_artefact, make_build_key(copied_artefact, "fp16", version="10.3.0"), b"old", seconds=1)
    new = write_plan(copied_artefact, make_build_key(copied_artefact, "fp16", version="10.12.0"), b"new", seconds=1)
    write_plan(copied_artefact, make_build_key(copied_artefact, "fp16", engine="tensorrt-rtx"), b"other", seconds=1)
    models = {model.name: model for model in write_repository(copied_artefact, tmp_path / "repo")}
    plans = models["tiny-retention_fp16_tensorrt"]
    assert plans.files == {new.path.name: b"new"} and old.path.name not in plans.config
    assert "tiny-retention_fp32_tensorrt" not in models


def test_writing_again_replaces_ours_and_leaves_the_others(retention_artefact: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    write_repository(retention_artefact, repository)
    other = repository / "their_model"
    other.mkdir()
    (other / "config.pbtxt").write_text('name: "their_model"\n')
    gone = repository / "tiny-retention_int8"  # of the same preset, from when the artefact had that graph
    shutil.copytree(repository / "tiny-retention_fp32", gone)
    (repository / "tiny-retention" / "1" / "stray").write_text("x")
    write_repository(retention_artefact, repository)
    assert other.is_dir() and not gone.exists() and not (repository / "tiny-retention" / "1" / "stray").exists()
    assert not [path for path in repository.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_not_ours_is_never_replaced(retention_artefact: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "repo" / "tiny-retention_fp16"
    theirs.mkdir(parents=True)
    (theirs / "config.pbtxt").write_text('name: "tiny-retention_fp16"\n')
    with pytest.raises(UsageError, match="was not written by posemoe-edge"):
        write_repository(retention_artefact, tmp_path / "repo")
    assert [path.name for path in (tmp_path / "repo").iterdir()] == [theirs.name]  # nothing was written before the refusal


def test_a_graph_that_failed_its_certificate_is_left_out_unless_it_is_allowed(certified_artefact: Path, tmp_path: Path) -> None:
    path = certified_artefact / "certificate.json"
    assert (certified_artefact / MANIFEST).is_file() and path.is_file()
    from posemoe_edge.runtime.artefact.certificate import CERTIFICATE, read_certificate
    from posemoe_edge.runtime.artefact.manifest import replace_files

    manifest = read_manifest(certified_artefact)
    certificate = read_certificate(certified_artefact, manifest)
    assert certificate is not None

    def fail(*precisions: str) -> None:
        drifts = tuple(
            drift.model_copy(update={"passed": drift.precision not in precisions, "exceeded": ("mean",)})
            for drift in certificate.drifts
        )
        failed = certificate.model_copy(update={"drifts": drifts, "passed": False})
        replace_files(certified_artefact, manifest, {CERTIFICATE: failed.model_dump_json().encode()})

    fail("fp16")
    names = [model.name for model in write_repository(certified_artefact, tmp_path / "repo")]
    assert names == ["tiny-retention", "tiny-retention_fp32"]
    fail("fp32")
    with pytest.raises(CheckFailedError, match="failed its drift certificate: mean"):
        write_repository(certified_artefact, tmp_path / "repo")
    assert len(write_repository(certified_artefact, tmp_path / "repo", allow_failed=True)) == 3


def test_a_changed_artefact_is_refused_before_anything_is_written(copied_artefact: Path, tmp_path: Path) -> None:
    (copied_artefact / "step.fp16.onnx").write_bytes(b"changed")
    with pytest.raises(ArtefactError):
        write_repository(copied_artefact, tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_a_repository_needs_a_folder_to_be_in(retention_artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="mkdir -p"):
        write_repository(retention_artefact, tmp_path / "no" / "repo")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write_repository(retention_artefact, tmp_path / "file")
