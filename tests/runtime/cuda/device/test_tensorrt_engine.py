"""The TensorRT engine: what it binds, captures, refuses and frees. ``host_tensorrt`` notes what TensorRT would crash at."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import host_tensorrt
import numpy as np
import pytest
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.cuda.open import open_device
from posemoe_edge.runtime.engines import open_engine
from posemoe_edge.runtime.engines.tensorrt.engine import TensorRtEngine

EngineOf = Callable[..., TensorRtEngine]
ArtefactOf = Callable[[str], Path]


@pytest.fixture
def on_cpu(artefact_of: ArtefactOf) -> Callable[[str], Any]:
    """on_cpu("dssm"): the same graph on ONNX Runtime's CPU."""

    def make(kind: str) -> Any:
        folder = artefact_of(kind)
        return open_engine(folder / read_manifest(folder).graph().file)

    return make


def given(engine: Any, rows: int, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arrays of the host for all that an engine takes and answers."""
    rng = np.random.default_rng(seed)
    inputs = {
        name: (rng.uniform(0, 0.1, (rows, *shape[1:])).astype(dtype) if dtype != "bool" else np.zeros(rows, bool))
        for name, (dtype, shape) in engine.inputs.items()
    }
    return inputs, {name: np.zeros((rows, *shape[1:]), dtype) for name, (dtype, shape) in engine.outputs.items()}


def expected(on_cpu: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    _, outputs = given(on_cpu, len(inputs["keypoints"]))
    on_cpu.bind(inputs, outputs)()
    return outputs


def test_the_engine_has_the_plans_interface(engine_of: EngineOf, on_cpu: Any) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    assert (engine.inputs, engine.outputs, engine.name) == (cpu.inputs, cpu.outputs, "tensorrt")


def test_host_arrays_are_one_copy_in_each_direction(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    inputs, outputs = given(engine, 3)
    launch = engine.bind(inputs, outputs)
    for turn in range(4):
        inputs["keypoints"][:] += turn
        copies = driver["uploads"], driver["downloads"]
        launch()
        assert (driver["uploads"], driver["downloads"]) == (copies[0] + 1, copies[1] + 1)  # all in one, each way
        for name, array in expected(cpu, inputs).items():
            np.testing.assert_array_equal(outputs[name], array)


def test_the_first_launch_is_enqueued_and_waited_for_and_the_others_are_replays(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("dssm")
    launch, before = engine.bind(*given(engine, 1)), driver["launches"]
    launch()
    assert (driver["executables"], driver["launches"]) == (1, before)
    waits = driver["waits"]
    for turn in range(1, 6):
        launch()
        assert (driver["executables"], driver["launches"], driver["waits"]) == (1, before + turn, waits + turn)


def test_without_graphs_each_launch_is_enqueued(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    engine, before = engine_of("dssm", graphs=False), driver["captures"]
    inputs, outputs = given(engine, 2)
    launch = engine.bind(inputs, outputs)
    for _ in range(3):
        launch()
    assert driver["captures"] == before
    np.testing.assert_array_equal(outputs["pose"], expected(on_cpu("dssm"), inputs)["pose"])


def test_every_binding_has_a_context_of_its_own_and_all_share_the_scratch(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("dssm")
    before = driver["device"]
    launches = [engine.bind(*given(engine, rows)) for rows in (1, 2, 3)]
    contexts = [launch._context for launch in launches]  # type: ignore[attr-defined]
    assert len(set(map(id, contexts))) == 3 and len({context.scratch for context in contexts}) == 1
    assert driver["device"] == before + 2 * 3  # what goes over, and what comes back


def test_addresses_are_aligned_whatever_row_they_begin_at(engine_of: EngineOf, on_cpu: Any) -> None:
    """``host_tensorrt`` refuses addresses that are not; a row of this state is no multiple of 256 bytes."""
    engine = engine_of("gated")
    inputs, outputs = given(engine, 3)
    near, far = (engine.zeros(inputs["state"].shape, np.float32) for _ in range(2))
    near[:] = inputs["state"]
    assert near[1].address % 256 and far[1].address % 256
    row = {name: x[1:2] for name, x in inputs.items()}
    answers = expected(on_cpu("gated"), row)
    launch = engine.bind(row | {"state": near[1:2]}, {"pose": outputs["pose"][1:2], "next_state": far[1:2]})
    for _ in range(2):
        far[:] = 0
        launch()
        np.testing.assert_array_equal(outputs["pose"][1:2], answers["pose"])
        np.testing.assert_array_equal(np.array(far)[1:2], answers["next_state"])
        assert not np.array(far)[[0, 2]].any()  # nobody else's row


def test_a_state_bound_as_input_and_output_is_caught(engine_of: EngineOf) -> None:
    engine = engine_of("retention")
    inputs, outputs = given(engine, 2)
    inputs["state"] = slab = engine.zeros(inputs["state"].shape, np.float32)
    outputs["next_state"] = slab
    with pytest.raises(AssertionError, match="both input and output"):
        engine.bind(inputs, outputs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.pop("dt"), "memory for"),
        (lambda x: x.update(more=x["dt"]), "memory for"),
        (lambda x: x.update(dt=x["dt"].astype(np.float64)), "dt of float64"),
        (lambda x: x.update(keypoints=x["keypoints"][:, :16]), "keypoints of float32"),
        (lambda x: x.update(dt=x["dt"][:1]), "dt of float32"),
    ],
    ids=["one is missing", "one too many", "another type", "another shape", "fewer rows"],
)
def test_memory_that_does_not_fit_is_refused(engine_of: EngineOf, spoil: Any, message: str) -> None:
    engine = engine_of("retention")
    inputs, outputs = given(engine, 2)
    spoil(inputs)
    with pytest.raises(UsageError, match=message):
        engine.bind(inputs, outputs)


def test_more_rows_than_the_plan_takes_are_several_launches(engine_of: EngineOf, on_cpu: Any) -> None:
    engine = engine_of("retention", most=3)
    inputs, outputs = given(engine, 8)
    launch = engine.bind(inputs, outputs)
    parts = [slice(0, 3), slice(3, 6), slice(6, 8)]
    for turn in range(3):
        inputs["keypoints"][:] += turn
        launch()
        for part in parts:
            answers = expected(on_cpu("retention"), {name: x[part] for name, x in inputs.items()})
            np.testing.assert_array_equal(outputs["next_state"][part], answers["next_state"])


def test_fewer_rows_than_the_plan_takes_are_refused(engine_of: EngineOf) -> None:
    engine = engine_of("retention", least=2, most=4)
    with pytest.raises(ArtefactError, match=r"1 rows of a plan for 2 to 4.*--streams 1,1,4"):
        engine.bind(*given(engine, 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda plan: plan[:-100], "the plan ends early"),
        (lambda plan: plan[:40], "cannot read the plan"),
        (lambda plan: b"", "magic tag is wrong"),
        (lambda plan: b"\x08" + plan, "magic tag is wrong"),
        (lambda plan: host_tensorrt.make_plan(plan, version="10.7.0"), "the plan is of version 10.7.0"),
    ],
    ids=["truncated", "only its head", "empty", "shifted", "another version"],
)
def test_a_plan_that_cannot_be_read_is_an_error_of_the_artefact(retention_artefact: Path, spoil: Any, message: str) -> None:
    plan = host_tensorrt.make_plan((retention_artefact / "step.fp32.onnx").read_bytes())
    with pytest.raises(
        ArtefactError, match=rf"{message}.*expected a whole plan that this version built.*run: posemoe-edge build"
    ):
        TensorRtEngine(spoil(plan), device=open_device())


def test_an_installed_library_that_does_not_start_is_an_error(retention_artefact: Path) -> None:
    host_tensorrt.REFUSE["Runtime"] = 0
    with pytest.raises(MissingError, match=r"TensorRT 10.3.0 is installed and does not start.*NVIDIA driver"):
        TensorRtEngine(b"", device=open_device())


def test_memory_that_is_used_up_while_it_opens_leaves_nothing(engine_of: EngineOf, driver: Any) -> None:
    driver.fail("cuMemAlloc_v2", times=2, result=2)
    with pytest.raises(Exception, match=r"OUT_OF_MEMORY|out of memory"):
        engine_of("retention")


@pytest.mark.parametrize("method", ["create_execution_context", "set_optimization_profile_async", "set_tensor_address"])
def test_what_tensorrt_refuses_while_binding_is_an_error(engine_of: EngineOf, driver: Any, method: str) -> None:
    engine = engine_of("retention")
    before = driver["device"], driver["pinned"]
    host_tensorrt.REFUSE[method] = 0
    with pytest.raises(ArtefactError, match="TensorRT"):
        engine.bind(*given(engine, 1))
    assert (driver["device"], driver["pinned"]) == before
    engine.bind(*given(engine, 1))()


def test_a_launch_that_is_refused_is_an_error_and_the_next_one_is_a_launch(engine_of: EngineOf, on_cpu: Any) -> None:
    engine = engine_of("retention")
    inputs, outputs = given(engine, 1)
    launch = engine.bind(inputs, outputs)
    host_tensorrt.REFUSE["execute_async_v3"] = 0
    with pytest.raises(ArtefactError, match=r"did not run the plan: enqueueV3 was refused.*run: posemoe-edge build"):
        launch()
    assert not outputs["pose"].any()
    for _ in range(3):
        launch()
    np.testing.assert_array_equal(outputs["pose"], expected(on_cpu("retention"), inputs)["pose"])


FAILURES = [
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "execute_async_v3",
    "cuLaunchHostFunc",
]


@pytest.mark.parametrize("what", FAILURES)
def test_a_capture_that_fails_is_warned_of_once_and_launches_go_on(
    engine_of: EngineOf, on_cpu: Any, driver: Any, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    engine, cpu = engine_of("retention"), on_cpu("retention")
    first, second = given(engine, 1), given(engine, 2, seed=1)
    launches = [engine.bind(*first), engine.bind(*second)]
    captures, replays = driver["captures"], driver["launches"]
    driver.fail(what, after=1 if what == "cuLaunchHostFunc" else 0)  # after the launch before
    if what == "execute_async_v3":
        host_tensorrt.REFUSE[what] = 1
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for launch, (inputs, outputs) in zip(launches, (first, second), strict=True):
                inputs["keypoints"] += 0.1
                launch()
                np.testing.assert_array_equal(outputs["pose"], expected(cpu, inputs)["pose"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no CUDA graph could be captured" in caplog.text
    assert driver["executables"] == driver["graphs"] == 0 and driver["launches"] == replays
    assert driver["captures"] <= captures + 1


def test_closing_frees_everything_and_later_calls_are_errors(engine_of: EngineOf, driver: Any) -> None:
    engine = engine_of("retention")
    launch, state = engine.bind(*given(engine, 1)), engine.zeros((3,), np.float32)
    launch()
    engine.close()
    assert not any(driver[what] for what in ("device", "pinned", "streams", "executables", "graphs"))
    for use in (
        launch,
        lambda: np.array(state),
        lambda: engine.zeros((3,), np.float32),
        lambda: engine.bind(*given(engine, 1)),
    ):
        with pytest.raises(UsageError, match="the model is closed"):
            use()
    engine.close()


def test_keypoints_on_the_device_are_read_in_place_and_poses_stay_there(engine_of: EngineOf, on_cpu: Any, driver: Any) -> None:
    from foreign import DLPack, Interface

    engine, cpu = engine_of("retention"), on_cpu("retention")
    inputs, outputs = given(engine, 2)
    theirs = {side: engine.zeros(x.shape, x.dtype) for side, x in (("in", inputs["keypoints"]), ("out", outputs["pose"]))}
    bound = {"keypoints": DLPack(theirs["in"]), "state": engine.zeros(inputs["state"].shape, np.float32)}
    small = {name: inputs[name] for name in ("dt", "reset")}
    state = engine.zeros(inputs["state"].shape, np.float32)
    launch = engine.bind(small | bound, {"pose": Interface(theirs["out"]), "next_state": state})
    inputs["state"][:] = 0
    for turn in range(3):
        inputs["keypoints"][:] += turn
        theirs["in"][:] = inputs["keypoints"]
        np.array(theirs["in"])  # so that it is done before the copies are counted
        copies = driver["uploads"], driver["downloads"], driver["moves"]
        launch()
        assert (driver["uploads"], driver["downloads"], driver["moves"]) == (copies[0] + 1, *copies[1:])  # dt and reset
        np.testing.assert_array_equal(np.array(theirs["out"]), expected(cpu, inputs)["pose"])
