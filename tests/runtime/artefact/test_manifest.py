"""The manifest: a wrong field, file or path is a clear error before anything runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, MissingError, PoseEdgeError, load
from posemoe_edge.runtime.artefact.files import sha256
from posemoe_edge.runtime.artefact.manifest import Manifest, check_file, parse_manifest, read_manifest, write_manifest
from pydantic import ValidationError


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's JSON as with a text editor."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def set_field(data: dict[str, Any], where: str, value: Any) -> None:
    """set_field(data, "graphs.0.mode", "scan")"""
    *path, last = where.split(".")
    container: Any = data
    for key in path:
        container = container[int(key)] if key.isdecimal() else container[key]
    container[int(last) if last.isdecimal() else last] = value


def test_a_manifest_comes_back_as_it_was_written(copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    write_manifest(copied_artefact, manifest)
    assert read_manifest(copied_artefact) == manifest == parse_manifest(manifest.model_dump_json(), "here")


def test_a_manifest_does_not_change(retention_artefact: Path) -> None:
    with pytest.raises(ValidationError):
        read_manifest(retention_artefact).fps = 25.0


def test_it_gives_the_size_of_a_streams_state(artefact_of: Callable[[str], Path]) -> None:
    sizes = {mixer: read_manifest(artefact_of(mixer)).state_bytes for mixer in ("retention", "dssm", "attention")}
    assert sizes == {"retention": 4 * 11 * 8 * 8 * 17 * 2, "dssm": 4 * 11 * 17 * 16 * 4, "attention": 0}


@pytest.mark.parametrize("field", [name for name, field in Manifest.model_fields.items() if field.is_required()])
def test_a_missing_field_is_named(copied_artefact: Path, field: str) -> None:
    edit_manifest(copied_artefact, lambda data: data.pop(field))
    with pytest.raises(ArtefactError, match=field) as caught:
        load(copied_artefact)
    assert "posemoe-edge export" in str(caught.value) and caught.value.exit_code == 4


@pytest.mark.parametrize("where", ["surprise", "graphs.0.surprise", "graphs.0.states.0.surprise", "files.reference.json"])
def test_an_unknown_field_is_named(copied_artefact: Path, where: str) -> None:
    def change(data: dict[str, Any]) -> None:
        if where.startswith("files"):
            data["files"]["reference.json"]["surprise"] = 1
        else:
            set_field(data, where, 1)

    edit_manifest(copied_artefact, change)
    with pytest.raises(ArtefactError, match=r"field .*surprise.*not permitted"):
        load(copied_artefact)


@pytest.mark.parametrize("version", [0, 4, -1, "1", None, [1], True])
def test_another_schema_is_refused_by_its_number(copied_artefact: Path, version: Any) -> None:
    edit_manifest(copied_artefact, lambda data: data.update(schema_version=version))
    with pytest.raises(ArtefactError, match=r"schema_version .*expected 1 or 2 or 3"):
        load(copied_artefact)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("fps", "fast"),
        ("mode", "scan"),
        ("parameters", 1.5),
        ("graphs", "step.fp32.onnx"),
        ("graphs.0.mode", "loop"),
        ("graphs.0.precision", "fp8"),
        ("graphs.0.frames", None),
        ("graphs.0.inputs.1.shape", 3),
        ("graphs.0.states.0.initial", "ones"),
        ("files.reference", {"sha256": "0"}),
        ("training", []),
    ],
)
def test_a_field_of_another_kind_is_named(copied_artefact: Path, where: str, value: Any) -> None:
    edit_manifest(copied_artefact, lambda data: set_field(data, where, value))
    with pytest.raises(ArtefactError, match=f"field {where}"):
        load(copied_artefact)


@pytest.mark.parametrize("name", ["../step.fp32.onnx", "/etc/passwd", "a/../../b.onnx", "..\\b.onnx", "sub\\b.onnx"])
@pytest.mark.parametrize("place", ["files", "graphs"])
def test_a_path_that_leaves_the_folder_is_refused_before_it_is_opened(copied_artefact: Path, name: str, place: str) -> None:
    shutil.copy(copied_artefact / "step.fp32.onnx", copied_artefact.parent / "step.fp32.onnx")

    def change(data: dict[str, Any]) -> None:
        if place == "files":
            data["files"][name] = data["files"]["step.fp32.onnx"]
        else:
            data["graphs"][0]["file"] = name

    edit_manifest(copied_artefact, change)
    with pytest.raises(ArtefactError, match="leaves the artefact's folder"):
        load(copied_artefact)


def test_a_graph_without_a_file_record_is_refused(copied_artefact: Path) -> None:
    edit_manifest(copied_artefact, lambda data: data["files"].pop("step.fp32.onnx"))
    with pytest.raises(ArtefactError, match=r"step.fp32.onnx is not among the files"):
        load(copied_artefact)


def test_an_artefact_without_graphs_is_refused(copied_artefact: Path) -> None:
    edit_manifest(copied_artefact, lambda data: data.update(graphs=[]))
    with pytest.raises(ArtefactError, match="graphs: there are none"):
        load(copied_artefact)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '"text"', "{}"])
def test_a_text_that_is_no_manifest_is_refused(copied_artefact: Path, text: str) -> None:
    (copied_artefact / "manifest.json").write_text(text)
    with pytest.raises(
        ArtefactError,
        match=r"manifest.json is (not a manifest.*expected JSON with a schema_version|empty; expected a manifest)",
    ):
        load(copied_artefact)


def test_bytes_that_are_no_text_are_refused(copied_artefact: Path) -> None:
    (copied_artefact / "manifest.json").write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(ArtefactError, match="is not a manifest"):
        load(copied_artefact)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda graph: graph.write_bytes(graph.read_bytes()[:-1]), r"has \d+ bytes; expected \d+"),
        (lambda graph: graph.write_bytes(b""), "has 0 bytes"),
        (lambda graph: graph.write_bytes(graph.read_bytes()[:-1] + b"\x00"), "was changed: its sha256 is"),
        (lambda graph: graph.unlink(), "is missing"),
        (lambda graph: (graph.unlink(), graph.mkdir()), "is missing"),
    ],
    ids=["truncated", "emptied", "edited", "missing", "a folder"],
)
def test_a_graph_that_is_not_as_recorded_is_refused(
    copied_artefact: Path, damage: Callable[[Path], object], message: str
) -> None:
    graph = copied_artefact / "step.fp32.onnx"
    damage(graph)
    with pytest.raises(ArtefactError, match=message) as caught:
        load(copied_artefact)
    assert "step.fp32.onnx" in caught.value.what and caught.value.run == "posemoe-edge export tiny-retention"
    load(copied_artefact, precision="fp16")  # the other graph is unaffected


def test_every_file_is_checked_by_its_record(retention_artefact: Path) -> None:
    manifest = read_manifest(retention_artefact)
    on_disk = {path.name for path in retention_artefact.iterdir()} - {"manifest.json"}
    assert set(manifest.files) == on_disk
    for name, record in manifest.files.items():
        path = check_file(retention_artefact, manifest, name)
        assert (path.stat().st_size, sha256(path)) == (record.bytes, record.sha256)


def test_a_folder_without_a_manifest_and_no_folder_are_different_errors(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"has no manifest.json; expected a complete artefact"):
        load(tmp_path)
    with pytest.raises(MissingError, match="there is no artefact at"):
        load(tmp_path / "nowhere")


def test_an_error_about_a_missing_precision_lists_those_that_exist(dssm_artefact: Path) -> None:
    manifest = read_manifest(dssm_artefact)
    with pytest.raises(ArtefactError, match=r"has no fp16 graph; expected one of fp32; .* tiny-dssm --precision fp16"):
        manifest.graph("fp16")
    assert manifest.graph() is manifest.graph("fp32")


@pytest.mark.parametrize("name", ["3dhp18", "coco17", ""])
def test_a_skeleton_that_is_not_known_is_named(copied_artefact: Path, name: str) -> None:
    edit_manifest(copied_artefact, lambda data: data.update(skeleton=name))
    with pytest.raises(ArtefactError, match=rf"field skeleton: '{name}' is not known; expected h36m17 or 3dhp17"):
        read_manifest(copied_artefact)


def test_a_mode_that_does_not_fit_the_shapes_is_refused_by_the_shape(copied_artefact: Path) -> None:
    edit_manifest(copied_artefact, lambda data: set_field(data, "graphs.0.mode", "chunk"))
    with pytest.raises(ArtefactError, match=r"step.fp32.onnx of mode chunk has keypoints of shape \('B', 17, 3\)"):
        read_manifest(copied_artefact)


# Edited fields that the schema allows and that do not fit the graph; each must end in an error of ours.
WRONG_FIELDS = [
    ("fps", 0),
    ("fps", -50),
    ("graphs.0.inputs.0.shape", ["B", 17, 2]),
    ("graphs.0.states.0.shape", ["B", 11, 8, 8, 17, 3]),
    ("graphs.0.inputs.1.name", "memory"),
    ("graphs.0.outputs.0.dtype", "float16"),
    ("graphs.0.mode", "window"),
    ("graphs.0.states", []),
    ("latency_frames", 5),
    ("graphs.0.mode", "chunk"),
    ("graphs.0.outputs.0.shape", ["B", 1, 17, 3]),
    ("graphs.0.outputs.0.name", "poses"),
    ("skeleton", "3dhp18"),
    ("channels", 2),
]


@pytest.mark.parametrize(("where", "value"), WRONG_FIELDS)
def test_a_manifest_that_does_not_fit_its_graph_is_a_clear_error(copied_artefact: Path, where: str, value: Any) -> None:
    edit_manifest(copied_artefact, lambda data: set_field(data, where, value))
    with pytest.raises(PoseEdgeError):
        stream = load(copied_artefact).stream()
        for i in range(3):
            stream.step(np.zeros((17, 2)), t=i * 0.02)
