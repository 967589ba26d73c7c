"""``benchmarks/gpu`` on a CPU: all tables are filled, and a failure loses nothing else."""

from __future__ import annotations

import importlib
import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from posemoe_edge.edge import presets
from posemoe_edge.edge.models.attention import Attention
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.presets import Preset
from posemoe_edge.runtime.errors import MissingError, UsageError
from torch.overrides import TorchFunctionMode

PNG = b"\x89PNG"


def rounded(value: float) -> Any:
    """Equal up to the rounding of the figures in a table."""
    return pytest.approx(value, rel=0.02, abs=0.02)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tiny_lifter: Callable[[str], Lifter]) -> Any:
    """The script, with tiny networks under the presets' names and one engine that exists."""
    kinds = ("retention", "dssm", "attention")
    named = {f"posemoe-{kind}-s": kind for kind in kinds} | {"motionbert-lite-243": "attention", "hummuss-causal": "gated"}
    for name, kind in named.items():
        monkeypatch.setitem(presets.PRESETS, name, Preset(name, tiny_lifter(kind).config, "for tests"))
    training = importlib.import_module("gpu.training")
    monkeypatch.setattr(training, "DIM", 16)
    monkeypatch.setattr(training, "HEADS", 2)
    script = importlib.import_module("gpu.__main__")
    monkeypatch.setattr(script, "ENGINES", ("onnxruntime", "nobody"))
    return script


@pytest.fixture
def run(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retention_artefact: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """run("step"): what the command writes of that table, measured in this process; "printed" is what it prints."""

    def command(tables: str, *arguments: object) -> dict[str, Any]:
        json_path, plot_path = tmp_path / "gpu.json", tmp_path / "gpu.png"
        options = ["--tables", tables, "--device", "cpu", "--quick", "--here", "--model", retention_artefact, *arguments]
        monkeypatch.setattr(sys, "argv", ["gpu", *map(str, options), "--json", str(json_path), "--plot", str(plot_path)])
        gpu.main()
        assert plot_path.read_bytes().startswith(PNG)
        return {**json.loads(json_path.read_text()), "printed": capsys.readouterr().out}

    return command


@pytest.fixture
def table() -> Any:
    """A table that may take a minute."""
    module = importlib.import_module("gpu.table")
    return module.Table("table", module.Report(None), seconds=60)


# the tables


def test_a_step_is_compared_with_pytorch_with_a_window_and_with_its_floor(
    run: Callable[..., dict[str, Any]], tiny_lifter: Callable[[str], Lifter]
) -> None:
    result = run("step", "--frames", 4)
    rows = {row["contestant"]: row for row in result["step"]["rows"]}
    contestants = {"onnxruntime fp32", "eager", "window 81 posemoe-attention-s"}
    assert set(rows) == contestants | {"floor: bytes fp32", "floor: bytes fp16"}
    for name in contestants:
        assert 0 < rows[name]["p50_ms"] <= rows[name]["p99_ms"] and rows[name]["frames"] == 4
        assert rows[name]["over eager"] == rounded(rows[name]["p50_ms"] / rows["eager"]["p50_ms"])
    state = 4 * math.prod(tiny_lifter("retention").state_shape or ())
    moved = result["step"]["weight_bytes"]["fp32"] + 2 * state
    floor = rows["floor: bytes fp32"]["p50_ms"]
    assert floor == pytest.approx(moved / result["step"]["copy_gb_s"] / 1e6, rel=0.02, abs=1e-4)
    assert rows["eager"]["over bytes"] == pytest.approx(rows["eager"]["p50_ms"] / floor, rel=0.02)
    assert result["step"]["state_bytes"] == state and result["machine"]["device"] == "cpu"
    assert any("no floor of launches" in note for note in result["step"]["notes"])


def test_an_engine_that_does_not_open_becomes_a_note_and_the_others_are_measured(run: Callable[..., dict[str, Any]]) -> None:
    result = run("streams", "--streams", "1,3")
    assert any(note.startswith("nobody fp32: no engine 'nobody'") for note in result["streams"]["notes"])
    assert [(row["streams"], row["engine"]) for row in result["streams"]["rows"]] == [
        (count, engine) for count in (1, 3) for engine in ("onnxruntime", "eager")
    ]
    for row in result["streams"]["rows"]:
        assert row["launch_us_each"] == rounded(1000 * row["launch_ms"] / row["streams"])
        eager = next(r for r in result["streams"]["rows"] if (r["streams"], r["engine"]) == (row["streams"], "eager"))
        assert row["launch over eager"] == rounded(row["launch_ms"] / eager["launch_ms"])
        assert row["launch over floor"] > 0
        assert (row["step_batch_ms"] is None) == (row["engine"] == "eager")  # PyTorch has no step_batch of its own


def test_updates_are_measured_for_each_lifter_and_replayed_on_a_gpu_alone(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("gpu.updates"), "ROWS", {"posemoe-retention-s": 256, "posemoe-attention-s": 1})
    result = run("hummuss,updates", "--lengths", 4, "--people", 1)
    rows = {row["preset"]: row for row in result["updates"]["rows"]}
    assert {name: row["rows"] for name, row in rows.items()} == {"posemoe-retention-s": 2, "posemoe-attention-s": 1}
    for row in rows.values():
        assert row["eager_ms"] > 0 and row["replayed_ms"] is None and row["replayed over eager"] is None
    assert result["updates"]["notes"] == ["random people on the device; drawing them is not part of an update"]


def test_mixers_are_compared_with_attention_at_each_length(run: Callable[..., dict[str, Any]]) -> None:
    result = run("mixers,hummuss", "--lengths", "4,9", "--people", 1)
    rows = result["mixers"]["rows"]
    names = {"mixer": {"retention", "dssm", "attention", "attention, fused"}, "network": {"retention", "dssm", "attention"}}
    for what, frames in ((what, frames) for what in names for frames in (4, 9)):
        table = {row["name"]: row for row in rows if (row["what"], row["T"]) == (what, frames)}
        assert set(table) == names[what]
        for row in table.values():
            assert row["rows"] == 9 // frames
            for how in ("forward", "training"):
                other = table["attention"][f"{how}_us_a_frame"]
                assert row[f"{how} over attention"] == rounded(row[f"{how}_us_a_frame"] / other)
                assert row[f"{how}_us_a_frame"] > 0 and row[f"{how}_mb"] is None  # of a GPU's memory alone
    for row in result["hummuss"]["rows"]:
        assert row["window over step"] == rounded(row["window_ms"] / row["step_ms"])
    assert [row["T"] for row in result["hummuss"]["rows"]] == [4, 9] and "window over step" in result["printed"]


def test_what_does_not_fit_into_memory_is_an_empty_cell(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.13 GiB")

    monkeypatch.setattr(importlib.import_module("gpu.training").DSSM, "forward", full)
    result = run("mixers", "--lengths", "4")["mixers"]
    table = {(row["what"], row["name"]): row for row in result["rows"]}
    assert table["mixer", "dssm"]["training_us_a_frame"] is None and table["mixer", "dssm"]["training over attention"] is None
    assert table["mixer", "retention"]["training over attention"] > 0
    assert "dssm, mixer, T = 4, training: out of memory" in result["notes"]


def test_fused_attention_gives_the_same_numbers() -> None:
    fused = importlib.import_module("gpu.training")
    q, k, v = torch.randn(3, 2, 5, 17, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    timing = Timing(torch.ones(1, 5))
    torch.testing.assert_close(fused.Fused()(q, k, v, timing), Attention(fused.HEADS)(q, k, v, timing))


def test_on_a_gpu_memory_is_measured_and_one_runs_after_the_other(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnTheHost(TorchFunctionMode):
        """A stand-in: what is asked of a GPU is result on the processor."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **{key: "cpu" if key == "device" else x for key, x in (kwargs or {}).items()})

    memory = Namespace(now=2_000_000, most=0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: memory.now)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: memory.most)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(memory, "most", memory.now))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    played = []

    def contestant(name: str, weights: int, work: int) -> Callable[[], Callable[[int], None]]:
        def make() -> Callable[[int], None]:
            memory.now = memory.most = memory.now + weights

            def run(i: int) -> None:
                played.append(name)
                memory.most = max(memory.most, memory.now + work)

            return run

        return make

    result = {"a": contestant("a", 1_000_000, 4_000_000), "b": contestant("b", 500_000, 1_000_000)}
    options = Namespace(device="cuda", rounds=2, each_s=60.0)
    with OnTheHost():
        times, peaks = importlib.import_module("gpu.training").measure(table, result, options)
    assert peaks == {"a": 5.0, "b": 1.5} and {name: len(of) for name, of in times.items()} == {"a": 2, "b": 2}
    assert played == sorted(played)


# floors


def test_a_floor_is_bytes_over_bandwidth() -> None:
    live = importlib.import_module("gpu.streaming")
    sizes = live.Sizes.__new__(live.Sizes)
    sizes.weights, sizes.state = {"fp32": 4_000_000}, 500_000
    assert (sizes.bytes("fp32"), sizes.bytes("fp32", streams=6)) == (5_000_000, 10_000_000)
    assert live.floor_ms(10_000_000, 4e9) == 2.5


def test_only_what_computes_is_counted() -> None:
    nodes = [helper.make_node(kind, ["x"], ["y"]) for kind in ("MatMul", "Reshape", "Add", "Squeeze", "Transpose")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph: onnx.GraphProto = helper.make_graph(nodes, "five", [x], [])
    assert importlib.import_module("gpu.streaming").count_operations(graph) == 3


# rounds and rows


def test_a_contestant_that_fails_keeps_the_rounds_that_it_has(table: Any) -> None:
    played: list[tuple[str, int]] = []

    def weak(i: int) -> None:
        played.append(("weak", i))
        if i == 3:
            raise RuntimeError("an illegal memory access was encountered\nand much more")

    times = table.run_in_turns({"strong": lambda i: played.append(("strong", i)), "weak": weak}, rounds=5, warm_up=1, each_s=60)
    assert (len(times["strong"]), len(times["weak"])) == (5, 2)
    assert table.content["notes"] == ["weak: RuntimeError: an illegal memory access was encountered"]
    assert [name for name, i in played if i < 2] == ["strong", "weak", "weak", "strong"]


def test_ratios_are_of_the_rounds_that_both_have() -> None:
    module = importlib.import_module("gpu.table")
    slow, quick = {0: 2.0, 1: 2.0, 2: 50.0}, {1: 1.0, 2: 10.0, 3: 0.01}
    assert module.median_ratio(slow, quick) == pytest.approx(26 / 5.5, abs=1e-3)  # medians of two
    assert module.median_ratio(slow, {}) is None and module.median_ms({}) is None
    assert module.median_ms(slow) == 2000


def test_a_contestant_and_a_table_stop_when_their_time_is_used(table: Any) -> None:
    times = table.run_in_turns({"slow": lambda i: None, "other": lambda i: None}, rounds=50, warm_up=0, each_s=0.0)
    assert [len(of) for of in times.values()] == [3, 3]
    module = importlib.import_module("gpu.table")
    late = module.Table("late", module.Report(None), seconds=0)
    assert late.run_in_turns({"slow": lambda i: None}, rounds=2, warm_up=0, each_s=1.0) == {"slow": {}}
    assert late.content["notes"] == ["slow: the time was up after 0 of 2 rounds"]


def test_a_row_is_on_the_disk_as_it_is_added(tmp_path: Path) -> None:
    module = importlib.import_module("gpu.table")
    table = module.Table("step", module.Report(tmp_path / "gpu.json"), seconds=1)
    table.add_row({"contestant": "eager", "p50_ms": 1.5})
    assert json.loads((tmp_path / "gpu.json").read_text())["step"]["rows"] == [{"contestant": "eager", "p50_ms": 1.5}]


def test_a_warning_of_an_engine_is_a_note(table: Any) -> None:
    import logging

    with importlib.import_module("gpu.table").WarningNotes(table):
        logging.getLogger("posemoe_edge.runtime.engines").warning("no CUDA graph could be captured (%s)", "why")
    logging.getLogger("posemoe_edge").warning("afterwards")
    assert table.content["notes"] == ["warning: no CUDA graph could be captured (why)"]


# processes of their own


def test_a_failure_in_another_process_becomes_one_line(gpu: Any) -> None:
    def failure_of(code: str, seconds: float = 30.0) -> str | None:
        return gpu.failure_of([sys.executable, "-c", code], seconds)  # type: ignore[no-any-return]

    assert failure_of("pass") is None
    assert failure_of("import sys; print('much', file=sys.stderr); sys.exit('no plan fits')") == "no plan fits"
    assert "signal 6" in (failure_of("import os; os.abort()") or "")
    assert failure_of("import time; time.sleep(60)", 0.3) == "no answer within 0 s"


def test_a_table_that_breaks_off_keeps_its_rows(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os, sys
from pathlib import Path
part = Path(sys.argv[sys.argv.index("--part") + 1])
part.write_text(json.dumps({sys.argv[sys.argv.index("--tables") + 1]: {"rows": [{"T": 81}], "notes": []}}))
os.abort()
"""
    (tmp_path / "breaks.py").write_text(code)
    monkeypatch.setattr(gpu, "__file__", str(tmp_path / "breaks.py"))
    monkeypatch.setattr(sys, "argv", ["gpu"])
    options = Namespace(engines=[("onnxruntime", "fp32")], seconds=30.0, json=tmp_path / "gpu.json")
    result = gpu.measure_apart("mixers", options)
    assert result["rows"] == [{"T": 81}] and "broke off: ended by signal 6" in result["notes"][0]
    assert not list(tmp_path.glob("*.json"))  # merged into the report


def test_an_engine_is_measured_if_it_has_run_in_another_process(gpu: Any, retention_artefact: Path) -> None:
    options = Namespace(model=retention_artefact, device="cpu", here=False, quick=True, precision=["fp32"])
    outcomes = gpu.engines(options)
    assert options.engines == [("onnxruntime", "fp32")] and outcomes["onnxruntime fp32"] == "runs"
    assert outcomes["nobody fp32"].startswith("no engine 'nobody'")


# what cannot be done


@pytest.mark.parametrize("options", [["--tables", "step,stairs"], ["--streams", "1,0"], ["--json", "nowhere/gpu.json"]])
def test_impossible_options_are_refused(gpu: Any, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", *options])
    with pytest.raises(SystemExit) as ended:
        gpu.parse_arguments()
    assert ended.value.code == 2


def test_without_a_gpu_it_is_an_error(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(MissingError, match=r"finds no GPU.*--device cpu"):
        gpu.parse_arguments()


def test_a_window_has_no_step(gpu: Any, monkeypatch: pytest.MonkeyPatch, attention_artefact: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--model", str(attention_artefact)])
    with pytest.raises(UsageError, match="mode is window"):
        gpu.parse_arguments()
