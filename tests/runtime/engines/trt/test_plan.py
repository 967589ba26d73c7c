"""Plans on the disk: which one fits, which field differs otherwise, and which command builds one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime import ArtefactError, MissingError
from posemoe_edge.runtime.artefact.manifest import Graph, Manifest, read_manifest
from posemoe_edge.runtime.engines.tensorrt.plan import (
    BuildKey,
    Machine,
    Plan,
    build_command,
    find_plan,
    plans_folder,
    write_plan,
)

ORIN = Machine(engine="tensorrt", version="10.3.0", capability="sm87", platform="linux-aarch64")
DATA = b"opaque to us" * 99

pytestmark = pytest.mark.usefixtures("xdg_cache")
Build = Callable[..., Plan]
Find = Callable[..., Plan]


@pytest.fixture
def manifest(copied_artefact: Path) -> Manifest:
    return read_manifest(copied_artefact)


@pytest.fixture
def graph(manifest: Manifest) -> Graph:
    return manifest.graph("fp16")


@pytest.fixture
def key(copied_artefact: Path, make_build_key: Callable[..., BuildKey]) -> BuildKey:
    """The key of a plan that Orin would build."""
    return make_build_key(copied_artefact, "fp16", platform=ORIN.platform)


@pytest.fixture
def build(copied_artefact: Path, key: BuildKey) -> Build:
    """build(version="10.13.2"): writes a plan with Orin's key and these changes."""
    return lambda **changes: write_plan(copied_artefact, key.model_copy(update=changes), DATA, seconds=1)


@pytest.fixture
def find(copied_artefact: Path, manifest: Manifest, graph: Graph) -> Find:
    """find(machine, streams=4): the plan for this machine, by default Orin."""
    return lambda machine=ORIN, streams=None: find_plan(copied_artefact, manifest, graph, machine=machine, streams=streams)


def test_a_plan_is_read_as_it_was_written(copied_artefact: Path, build: Build, find: Find, key: BuildKey) -> None:
    build()
    plan = find()
    assert plan.path == copied_artefact / "engines" / "step.fp16.b1-1-8.trt10.3.sm87.engine"
    assert plan.key == key and plan.read() == DATA == plan.path.read_bytes()  # nothing before or behind the plan's bytes


def test_the_side_car_identifies_the_graph_of_the_plan(build: Build, graph: Graph, manifest: Manifest) -> None:
    side_car = json.loads(build().path.with_suffix(".json").read_text())
    assert side_car["key"]["graph_sha256"] == manifest.files[graph.file].sha256
    assert set(side_car["key"]) == {
        *("engine", "version", "graph", "graph_sha256", "precision", "capabilities", "platform", "streams", "flags")
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "10.3.1"}, r"version: built by tensorrt 10\.3\.1, this machine has 10\.3\.0"),
        ({"capabilities": ("sm110",)}, "GPU: built for sm110, this machine has sm87"),
        ({"platform": "linux-x86_64"}, "platform: built for linux-x86_64, this machine is linux-aarch64"),
        ({"graph_sha256": "0" * 64}, r"graph: built of sha256 000000000000\.\.\., this one is"),
        ({"engine": "tensorrt-rtx"}, "built by tensorrt-rtx, and tensorrt is to run it"),
    ],
    ids=["version", "GPU", "platform", "graph", "engine"],
)
def test_a_plan_that_does_not_fit_is_an_error_with_the_field(
    changes: dict[str, object], message: str, build: Build, find: Find, copied_artefact: Path
) -> None:
    plan = build(**changes)
    if "graph_sha256" in changes:  # a plan of an earlier graph in the same folder
        assert plan.path.parent == copied_artefact / "engines"
    with pytest.raises(ArtefactError, match=message) as error:
        find()
    assert error.value.run == f"posemoe-edge build {copied_artefact} --engine tensorrt --precision fp16"
    assert error.value.exit_code == 4


def test_the_error_lists_every_field_that_differs(build: Build, find: Find) -> None:
    build(version="11.4.1", capabilities=("sm110",))
    with pytest.raises(ArtefactError, match=r"version: .* GPU: "):
        find()


def test_the_plan_that_fits_is_found_among_others(build: Build, find: Find) -> None:
    build(version="10.13.2")
    build(capabilities=("sm110",))
    fitting = build()
    assert find().path == fitting.path


def test_a_plan_for_several_gpus_fits_each_of_them(build: Build, find: Find) -> None:
    build(engine="tensorrt-rtx", version="1.7.1", capabilities=("sm86", "sm89"), platform="linux-x86_64")
    rtx = Machine(engine="tensorrt-rtx", version="1.7.1", capability="sm89", platform="linux-x86_64")
    assert find(rtx).key.capabilities == ("sm86", "sm89")
    with pytest.raises(ArtefactError, match="built for sm86, sm89, this machine has sm120") as error:
        find(rtx.model_copy(update={"capability": "sm120"}))
    assert error.value.run and error.value.run.endswith("--engine tensorrt-rtx --precision fp16 --target sm120")


def test_the_number_of_streams_selects_a_plan(build: Build, find: Find) -> None:
    single, many = build(streams=(1, 1, 1)), build(streams=(1, 4, 16))
    assert find(streams=1).path == single.path and find(streams=2).path == many.path
    assert find().path == many.path, "without a number, the plan for the most streams is selected"
    with pytest.raises(ArtefactError, match="streams: built for 1 to 16, requested 17") as error:
        find(streams=17)
    assert error.value.run and error.value.run.endswith("--streams 1,17,17")


def test_an_absent_plan_is_a_missing_error(find: Find, copied_artefact: Path, xdg_cache: Path) -> None:
    with pytest.raises(MissingError, match=r"no plan of step\.fp16\.onnx for tensorrt") as error:
        find()
    assert str(copied_artefact / "engines") in str(error.value) and str(xdg_cache) in str(error.value)
    assert error.value.run == f"posemoe-edge build {copied_artefact} --engine tensorrt --precision fp16"


def test_a_plan_of_another_graph_is_ignored(build: Build, find: Find) -> None:
    build(graph="step.fp32.onnx", precision="fp32")
    with pytest.raises(MissingError, match=r"no plan of step\.fp16"):
        find()


@pytest.mark.parametrize("length", [0, 1, len(DATA) - 1])
def test_a_truncated_plan_is_refused(build: Build, find: Find, length: int) -> None:
    build().path.write_bytes(DATA[:length])
    with pytest.raises(ArtefactError, match=rf"has {length} bytes; expected {len(DATA)}.* --force"):
        find().read()


def test_a_changed_plan_is_refused(build: Build, find: Find) -> None:
    build().path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ArtefactError, match=r"was changed: its sha256 is .* --force"):
        find().read()


def test_a_deleted_plan_is_an_error(build: Build, find: Find) -> None:
    build().path.unlink()
    with pytest.raises(ArtefactError, match="is missing"):
        find().read()


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda side_car: "no JSON", "is not a side-car"),
        (lambda side_car: json.dumps(side_car | {"more": 1}), "more: Extra inputs"),
        (lambda side_car: json.dumps({**side_car, "key": {**side_car["key"], "streams": [1]}}), "key.streams"),
        (lambda side_car: json.dumps(side_car | {"schema_version": 2}), "schema_version 2"),
    ],
    ids=["no JSON", "a field too many", "a wrong field", "a newer schema"],
)
def test_a_side_car_that_cannot_be_read_is_an_error(
    corrupt: Callable[[dict[str, object]], str], message: str, build: Build, find: Find
) -> None:
    path = build().path.with_suffix(".json")
    path.write_text(corrupt(json.loads(path.read_text())))
    with pytest.raises(ArtefactError, match=message):
        find()
    intact = build(streams=(1, 2, 4))
    assert find().path == intact.path, "another plan is still found"


def test_an_interrupted_write_leaves_no_plan(
    build: Build, find: Find, monkeypatch: pytest.MonkeyPatch, copied_artefact: Path
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("posemoe_edge.runtime.artefact.atomic.AtomicFile.commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build()
    assert list((copied_artefact / "engines").iterdir()) == []
    with pytest.raises(MissingError):
        find()


def test_plans_of_a_shipped_artefact_go_into_the_cache(
    xdg_cache: Path, copied_artefact: Path, manifest: Manifest, key: BuildKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posemoe_edge.runtime.engines.tensorrt.plan.ZOO", copied_artefact.parent)
    plan = write_plan(copied_artefact, key, DATA, seconds=1)
    assert plan.path.is_relative_to(xdg_cache / "posemoe-edge") and not (copied_artefact / "engines").exists()
    assert find_plan(copied_artefact, manifest, manifest.graph("fp16"), machine=ORIN).read() == DATA


def test_plans_of_a_read_only_artefact_go_into_the_cache(
    xdg_cache: Path, copied_artefact: Path, key: BuildKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # not by the folder's mode: root may write everywhere
    assert write_plan(copied_artefact, key, DATA, seconds=1).path.is_relative_to(xdg_cache)


def test_without_xdg_cache_home_the_cache_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, copied_artefact: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("posemoe_edge.runtime.engines.tensorrt.plan.ZOO", copied_artefact)
    assert plans_folder(copied_artefact, "ab" * 32) == tmp_path / ".cache" / "posemoe-edge" / "engines" / ("ab" * 8)


def test_a_plan_moves_with_its_artefact(build: Build, copied_artefact: Path, manifest: Manifest, tmp_path: Path) -> None:
    build()
    moved = Path(shutil.move(copied_artefact, tmp_path / "elsewhere"))
    assert find_plan(moved, manifest, manifest.graph("fp16"), machine=ORIN).read() == DATA


def test_a_standalone_graph_has_plans_too(copied_artefact: Path, build: Build, manifest: Manifest) -> None:
    build()
    standalone = manifest.model_copy(update={"files": {}})  # as in the ONNX file's metadata
    assert find_plan(copied_artefact / "step.fp16.onnx", standalone, standalone.graph("fp16"), machine=ORIN).read() == DATA


def test_the_build_command_is_for_this_machine(graph: Graph) -> None:
    rtx = Machine(engine="tensorrt-rtx", version="1.7.1", capability="sm89", platform="linux-x86_64")
    assert build_command(Path("a"), graph, ORIN) == "posemoe-edge build a --engine tensorrt --precision fp16"
    assert build_command(Path("a"), graph, rtx, 4).endswith("--precision fp16 --target sm89 --streams 1,4,4")
