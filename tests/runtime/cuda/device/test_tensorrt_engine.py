"""The TensorRT engine: what it binds, captures, refuses and releases. ``host_tensorrt`` records what would crash TensorRT."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import host_tensorrt
import numpy as np
import pytest
from foreign import CudaInterfaceArray, DlpackArray
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.cuda.open import open_device
from posemoe_edge.runtime.engines import open_engine
from posemoe_edge.runtime.engines.tensorrt.engine import TensorRtEngine

EngineOf = Callable[..., TensorRtEngine]
ArtefactOf = Callable[[str], Path]


@pytest.fixture
def on_cpu(artefact_of: ArtefactOf) -> Callable[[str], Any]:
    """on_cpu("dssm"): the same graph in ONNX Runtime on the CPU."""

    def open_on_cpu(kind: str) -> Any:
        folder = artefact_of(kind)
        return open_engine(folder / read_manifest(folder).graph().file)

    return open_on_cpu


def host_buffers(engine: Any, rows: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Host arrays for every input and output of an engine."""
    rng = np.random.default_rng(seed)
    inputs = {
        name: (rng.uniform(0, 0.1, (rows, *shape[1:])).astype(dtype) if dtype != "bool" else np.zeros(rows, bool))
        for name, (dtype, shape) in engine.inputs.items()
    }
    return inputs, {name: np.zeros((rows, *shape[1:]), dtype) for name, (dtype, shape) in engine.outputs.items()}


def expected_outputs(on_cpu: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of the same graph on the CPU."""
    _, outputs = host_buffers(on_cpu, len(inputs["keypoints"]))
    on_cpu.bind(inputs, outputs)()
    return outputs


def test_the_engine_has_the_interface_of_the_plan(engine_of: EngineOf, on_cpu: Any) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    assert (engine.inputs, engine.outputs, engine.name) == (cpu.inputs, cpu.outputs, "tensorrt")


def test_host_arrays_take_one_copy_in_each_direction(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    inputs, outputs = host_buffers(engine, 3)
    launch = engine.bind(inputs, outputs)
    for turn in range(4):
        inputs["keypoints"][:] += turn
        copies = driver["uploads"], driver["downloads"]
        launch()
        assert (driver["uploads"], driver["downloads"]) == (copies[0] + 1, copies[1] + 1)  # all arrays together
        for name, array in expected_outputs(cpu, inputs).items():
            np.testing.assert_array_equal(outputs[name], array)


def test_the_first_launch_is_enqueued_and_later_launches_are_replays(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("dssm")
    launch, before = engine.bind(*host_buffers(engine, 1)), driver["launches"]
    launch()
    assert (driver["executables"], driver["launches"]) == (1, before)
    waits = driver["waits"]
    for turn in range(1, 6):
        launch()
        assert (driver["executables"], driver["launches"], driver["waits"]) == (1, before + turn, waits + turn)


def test_without_graphs_each_launch_is_enqueued(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    engine, before = engine_of("dssm", graphs=False), driver["captures"]
    inputs, outputs = host_buffers(engine, 2)
    launch = engine.bind(inputs, outputs)
    for _ in range(3):
        launch()
    assert driver["captures"] == before
    np.testing.assert_array_equal(outputs["pose"], expected_outputs(on_cpu("dssm"), inputs)["pose"])


def test_every_binding_has_its_own_context_and_all_share_the_scratch_memory(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("dssm")
    before = driver["device"]
    launches = [engine.bind(*host_buffers(engine, rows)) for rows in (1, 2, 3)]
    contexts = [launch._context for launch in launches]  # type: ignore[attr-defined]
    assert len(set(map(id, contexts))) == 3 and len({context.scratch for context in contexts}) == 1
    assert driver["device"] == before + 2 * 3  # each binding has one block for inputs and one for outputs


def test_addresses_are_aligned_whatever_row_a_binding_starts_at(engine_of: EngineOf, on_cpu: Any) -> None:
    """``host_tensorrt`` refuses addresses that are not aligned; a row of this state is no multiple of 256 bytes."""
    engine = engine_of("gated")
    inputs, outputs = host_buffers(engine, 3)
    state, next_state = (engine.zeros(inputs["state"].shape, np.float32) for _ in range(2))
    state[:] = inputs["state"]
    assert state[1].address % 256 and next_state[1].address % 256
    row = {name: x[1:2] for name, x in inputs.items()}
    expected = expected_outputs(on_cpu("gated"), row)
    launch = engine.bind(row | {"state": state[1:2]}, {"pose": outputs["pose"][1:2], "next_state": next_state[1:2]})
    for _ in range(2):
        next_state[:] = 0
        launch()
        np.testing.assert_array_equal(outputs["pose"][1:2], expected["pose"])
        np.testing.assert_array_equal(np.array(next_state)[1:2], expected["next_state"])
        assert not np.array(next_state)[[0, 2]].any()  # the other rows are untouched


def test_a_state_bound_as_input_and_output_is_caught(engine_of: EngineOf) -> None:
    engine = engine_of("retention")
    inputs, outputs = host_buffers(engine, 2)
    inputs["state"] = slab = engine.zeros(inputs["state"].shape, np.float32)
    outputs["next_state"] = slab
    with pytest.raises(AssertionError, match="both input and output"):
        engine.bind(inputs, outputs)


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda x: x.pop("dt"), "memory for"),
        (lambda x: x.update(more=x["dt"]), "memory for"),
        (lambda x: x.update(dt=x["dt"].astype(np.float64)), "dt of float64"),
        (lambda x: x.update(keypoints=x["keypoints"][:, :16]), "keypoints of float32"),
        (lambda x: x.update(dt=x["dt"][:1]), "dt of float32"),
    ],
    ids=["a missing tensor", "an unknown tensor", "another dtype", "another shape", "fewer rows"],
)
def test_memory_that_does_not_fit_is_refused(engine_of: EngineOf, corrupt: Any, message: str) -> None:
    engine = engine_of("retention")
    inputs, outputs = host_buffers(engine, 2)
    corrupt(inputs)
    with pytest.raises(UsageError, match=message):
        engine.bind(inputs, outputs)


def test_more_rows_than_the_plan_takes_become_several_launches(engine_of: EngineOf, on_cpu: Any) -> None:
    engine = engine_of("retention", max_rows=3)
    inputs, outputs = host_buffers(engine, 8)
    launch = engine.bind(inputs, outputs)
    parts = [slice(0, 3), slice(3, 6), slice(6, 8)]
    for turn in range(3):
        inputs["keypoints"][:] += turn
        launch()
        for part in parts:
            expected = expected_outputs(on_cpu("retention"), {name: x[part] for name, x in inputs.items()})
            np.testing.assert_array_equal(outputs["next_state"][part], expected["next_state"])


def test_fewer_rows_than_the_plan_takes_are_refused(engine_of: EngineOf) -> None:
    engine = engine_of("retention", min_rows=2, max_rows=4)
    with pytest.raises(ArtefactError, match=r"1 rows of a plan for 2 to 4.*--streams 1,1,4"):
        engine.bind(*host_buffers(engine, 1))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda plan: plan[:-100], "the plan ends early"),
        (lambda plan: plan[:40], "cannot read the plan"),
        (lambda plan: b"", "magic tag is wrong"),
        (lambda plan: b"\x08" + plan, "magic tag is wrong"),
        (lambda plan: host_tensorrt.make_plan(plan, version="10.7.0"), "the plan is of version 10.7.0"),
    ],
    ids=["truncated", "only the header", "empty", "shifted", "another version"],
)
def test_a_plan_that_cannot_be_read_is_an_artefact_error(retention_artefact: Path, corrupt: Any, message: str) -> None:
    plan = host_tensorrt.make_plan((retention_artefact / "step.fp32.onnx").read_bytes())
    with pytest.raises(
        ArtefactError, match=rf"{message}.*expected a whole plan that this version built.*run: posemoe-edge build"
    ):
        TensorRtEngine(corrupt(plan), device=open_device())


def test_an_installed_library_that_does_not_start_is_an_error(retention_artefact: Path) -> None:
    host_tensorrt.REFUSE["Runtime"] = 0
    with pytest.raises(MissingError, match=r"TensorRT 10.3.0 is installed and does not start.*NVIDIA driver"):
        TensorRtEngine(b"", device=open_device())


def test_out_of_memory_while_opening_leaves_nothing_allocated(engine_of: EngineOf, driver: Any) -> None:
    driver.fail("cuMemAlloc_v2", times=2, result=2)
    with pytest.raises(Exception, match=r"OUT_OF_MEMORY|out of memory"):
        engine_of("retention")


@pytest.mark.parametrize("method", ["create_execution_context", "set_optimization_profile_async", "set_tensor_address"])
def test_a_refusal_of_tensorrt_while_binding_is_an_error(engine_of: EngineOf, driver: Any, method: str) -> None:
    engine = engine_of("retention")
    before = driver["device"], driver["pinned"]
    host_tensorrt.REFUSE[method] = 0
    with pytest.raises(ArtefactError, match="TensorRT"):
        engine.bind(*host_buffers(engine, 1))
    assert (driver["device"], driver["pinned"]) == before
    engine.bind(*host_buffers(engine, 1))()


def test_a_refused_launch_is_an_error_and_the_next_launch_runs(engine_of: EngineOf, on_cpu: Any) -> None:
    engine = engine_of("retention")
    inputs, outputs = host_buffers(engine, 1)
    launch = engine.bind(inputs, outputs)
    host_tensorrt.REFUSE["execute_async_v3"] = 0
    with pytest.raises(ArtefactError, match=r"did not run the plan: enqueueV3 was refused.*run: posemoe-edge build"):
        launch()
    assert not outputs["pose"].any()
    for _ in range(3):
        launch()
    np.testing.assert_array_equal(outputs["pose"], expected_outputs(on_cpu("retention"), inputs)["pose"])


FAILURES = [
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "execute_async_v3",
    "cuLaunchHostFunc",
]


@pytest.mark.parametrize("call", FAILURES)
def test_a_failed_capture_gives_one_warning_and_launches_continue(
    engine_of: EngineOf, on_cpu: Any, driver: Any, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    first, second = host_buffers(engine, 1), host_buffers(engine, 2, seed=1)
    launches = [engine.bind(*first), engine.bind(*second)]
    captures, replays = driver["captures"], driver["launches"]
    driver.fail(call, after=1 if call == "cuLaunchHostFunc" else 0)  # the eager launch succeeds, the captured one fails
    if call == "execute_async_v3":
        host_tensorrt.REFUSE[call] = 1
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for launch, (inputs, outputs) in zip(launches, (first, second), strict=True):
                inputs["keypoints"] += 0.1
                launch()
                np.testing.assert_array_equal(outputs["pose"], expected_outputs(cpu, inputs)["pose"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no CUDA graph could be captured" in caplog.text
    assert driver["executables"] == driver["graphs"] == 0 and driver["launches"] == replays
    assert driver["captures"] <= captures + 1


def test_closing_frees_everything_and_later_calls_are_errors(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("retention")
    launch, state = engine.bind(*host_buffers(engine, 1)), engine.zeros((3,), np.float32)
    launch()
    engine.close()
    assert not any(driver[resource] for resource in ("device", "pinned", "streams", "executables", "graphs"))
    for use in (
        launch,
        lambda: np.array(state),
        lambda: engine.zeros((3,), np.float32),
        lambda: engine.bind(*host_buffers(engine, 1)),
    ):
        with pytest.raises(UsageError, match="the model is closed"):
            use()
    engine.close()


def test_keypoints_on_the_device_are_read_in_place_and_poses_stay_on_it(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    inputs, outputs = host_buffers(engine, 2)
    keypoints, pose = (engine.zeros(x.shape, x.dtype) for x in (inputs["keypoints"], outputs["pose"]))
    on_device = {"keypoints": DlpackArray(keypoints), "state": engine.zeros(inputs["state"].shape, np.float32)}
    on_host = {name: inputs[name] for name in ("dt", "reset")}
    next_state = engine.zeros(inputs["state"].shape, np.float32)
    launch = engine.bind(on_host | on_device, {"pose": CudaInterfaceArray(pose), "next_state": next_state})
    inputs["state"][:] = 0
    for turn in range(3):
        inputs["keypoints"][:] += turn
        keypoints[:] = inputs["keypoints"]
        np.array(keypoints)  # waits for the upload, so that it is not counted below
        copies = driver["uploads"], driver["downloads"], driver["moves"]
        launch()
        assert (driver["uploads"], driver["downloads"], driver["moves"]) == (copies[0] + 1, *copies[1:])  # dt and reset
        np.testing.assert_array_equal(np.array(pose), expected_outputs(cpu, inputs)["pose"])
