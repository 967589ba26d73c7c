"""The configurations of a repository, read back by Triton's own protobuf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime.artefact.manifest import Graph, Manifest, parse_manifest, read_manifest
from posemoe_edge.runtime.engines.tensorrt.plan import Plan
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.serving import ServingLimits
from posemoe_edge.runtime.serving.config import graph_config, people_config, plan_config

LIMITS = ServingLimits(people=64, batch=16, idle_s=12.5, delay_us=700)


def parsed(text: str) -> Any:
    """The configuration, as the server would read it; the test is skipped without Triton's client."""
    pytest.importorskip("tritonclient.grpc")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(text, model_config_pb2.ModelConfig())


def config_of(folder: Path) -> tuple[Any, Manifest, Graph]:
    manifest = read_manifest(folder)
    graph = manifest.graph()
    return parsed(graph_config("graph", manifest, graph, LIMITS)), manifest, graph


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated", "retention-chunk", "lookahead-chunk"])
def test_a_graph_with_a_state_gets_implicit_state_that_begins_with_zeros(kind: str, artefact_of: Callable[[str], Path]) -> None:
    config, _, graph = config_of(artefact_of(kind))
    sequences = config.sequence_batching
    assert sequences.max_sequence_idle_microseconds == 12_500_000
    assert (sequences.oldest.max_candidate_sequences, sequences.oldest.max_queue_delay_microseconds) == (64, 700)
    assert [(state.input_name, state.output_name) for state in sequences.state] == [(s.input, s.output) for s in graph.states]
    for state, of in zip(sequences.state, graph.states, strict=True):
        assert list(state.dims) == list(of.shape[1:]) == list(state.initial_state[0].dims)
        assert state.initial_state[0].zero_data
    assert not config.HasField("dynamic_batching") and not config.model_warmup


@pytest.mark.parametrize("kind", ["retention", "retention-chunk", "attention"])
def test_every_tensor_that_is_no_state_is_an_input_or_output_of_a_request(
    kind: str, artefact_of: Callable[[str], Path]
) -> None:
    config, _, graph = config_of(artefact_of(kind))
    states = {name for state in graph.states for name in (state.input, state.output)}
    for tensors, of in ((config.input, graph.inputs), (config.output, graph.outputs)):
        expected = {t.name: list(t.shape[1:]) for t in of if t.name not in states}
        assert {t.name: list(t.dims) for t in tensors} == {name: shape or [1] for name, shape in expected.items()}
        for tensor in tensors:
            assert tensor.HasField("reshape") == (not expected[tensor.name]) and not tensor.reshape.shape
    assert config.max_batch_size == 16 and config.version_policy.latest.num_versions == 1
    assert not config.sequence_batching.control_input  # `reset` is an input: START has a shape that the graph does not take


def test_windows_are_batched_without_a_sequence_and_warmed_up(artefact_of: Callable[[str], Path]) -> None:
    config, _, graph = config_of(artefact_of("attention"))
    assert config.dynamic_batching.max_queue_delay_microseconds == 700
    assert not config.HasField("sequence_batching")
    assert set(config.model_warmup[0].inputs) == {tensor.name for tensor in graph.inputs}


def test_plans_are_chosen_by_the_gpu_and_bound_the_launch(
    artefact_of: Callable[[str], Path], make_build_key: Callable[..., Any]
) -> None:
    folder = artefact_of("retention")
    manifest = read_manifest(folder)
    orin, desktop = (
        Plan(folder / key.file, key, manifest.files["step.fp16.onnx"], folder)
        for key in (make_build_key(folder, "fp16"), make_build_key(folder, "fp16", capabilities=("sm89",)))
    )
    config = parsed(plan_config("plans", manifest, manifest.graph("fp16"), {"8.7": orin, "8.9": desktop}, LIMITS))
    assert dict(config.cc_model_filenames) == {"8.7": orin.path.name, "8.9": desktop.path.name}
    assert config.backend == "tensorrt" and config.max_batch_size == 8  # of the plans, which is less than of the server
    assert config.sequence_batching.state[0].input_name == "state"


def test_the_model_of_people_has_no_implicit_state_and_carries_the_manifest(artefact_of: Callable[[str], Path]) -> None:
    manifest = read_manifest(artefact_of("retention"))
    config = parsed(people_config("p", manifest, manifest.graph(), LIMITS, identity="abc", artefact="artefact"))
    assert config.backend == "python"
    assert config.HasField("sequence_batching") and not config.sequence_batching.state  # it would be wrong without an error
    text = config.parameters["manifest"].string_value
    assert parse_manifest(text, "parameter") == manifest
    assert {tensor.name for tensor in config.input if tensor.optional} == {"keypoints", "time_s", "reset"}


def test_a_model_without_sigma_promises_none(artefact_of: Callable[[str], Path]) -> None:
    manifest = read_manifest(artefact_of("retention"))
    config = parsed(people_config("p", manifest, manifest.graph(), LIMITS, identity="abc", artefact="artefact"))
    assert not manifest.has_sigma and {tensor.name for tensor in config.output} == {"pose", "score", "times_s", "gap"}


@pytest.mark.parametrize("limits", [{"people": 0}, {"batch": 0}, {"idle_s": 0.0}, {"delay_us": -1}])
def test_limits_that_make_no_server_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="invalid limits"):
        ServingLimits(**limits)
