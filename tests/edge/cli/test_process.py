"""The program in its own process: on a machine without torch, after a signal, and with a closed pipe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.edge.cli.ending import SAME_S, SIGNALS, Terminated, ended_by_signals

MAIN = "from posemoe_edge.edge.cli.main import main; main()"
Run = subprocess.Popen[str]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("POSEMOE_EDGE")}


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("run", "nowhere.mp4")])
def test_python_m_runs_the_same_program(arguments: tuple[str, ...], tmp_path: Path) -> None:
    def outcome(*call: str) -> tuple[int, str, str]:
        command = [sys.executable, *call, *arguments]
        done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    script = f"import sys; sys.argv[0] = 'posemoe-edge'; {MAIN}"
    assert outcome("-m", "posemoe_edge") == outcome("-c", script)


# Runs command lines while the packages in ABSENT cannot be found, as on a robot.
PROGRAM = """
import contextlib, io, json, sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

ABSENT, lines = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from posemoe_edge.edge.cli.main import main
results = []
for line in lines:
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["posemoe-edge", *line]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps({"results": results, "imported": sorted(set(ABSENT) & set(sys.modules))}))
"""
ABSENT = ["torch", "onnx", "onnxscript", "onnxsim", "safetensors", "cv2", "matplotlib", "ai_edge_litert"]


@pytest.fixture(scope="module")
def without_torch(artefact_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each verb where only the base and ONNX Runtime are installed: verb -> (exit code, stdout, stderr)."""
    folder = str(artefact_of("retention"))
    lines = {
        "run": ["run", "synthetic://walk", "--frames", "20", "--json", "--model", folder],
        "inspect": ["inspect", folder, "--json"],
        "doctor": ["doctor", "--json"],
        "png": ["run", "synthetic://walk", "--frames", "20", "--json", "--model", folder, "--sink", "png:a.png"],
        "export": ["export", "--json"],
        "verify": ["verify", folder, "--json"],
        "train": ["train", "--data", "x.npz", "--json"],
        "models": ["models", "--json"],
        "demo": ["demo", "--json"],
        "help": ["--help"],
    }
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(ABSENT), json.dumps(list(lines.values()))],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=tmp_path_factory.mktemp("robot"),
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["imported"] == []
    return dict(zip(lines, report["results"], strict=True))


def test_run_and_inspect_work_without_torch(without_torch: dict[str, Any]) -> None:
    code, out, err = without_torch["run"]
    assert code == 0, err
    assert json.loads(out)["poses"] == 20 and "MPJPE" in err
    code, out, err = without_torch["inspect"]
    assert code == 0 and json.loads(out)["preset"] == "tiny-retention"


def test_the_presets_are_listed_without_torch(without_torch: dict[str, Any]) -> None:
    code, out, err = without_torch["models"]
    assert code == 0, err
    assert {"frame-retention-s", "mixste-243"} <= {row["name"] for row in json.loads(out)["models"]}


def test_the_doctor_lists_missing_extras(without_torch: dict[str, Any]) -> None:
    code, out, err = without_torch["doctor"]
    report = json.loads(out)
    assert code == (0 if report["ready"] else 3)
    assert {name: extra["ok"] for name, extra in report["extras"].items()} == {
        "cpu": True,
        "camera": False,
        "plot": False,
        "export": False,
        "inspect": False,
        "notebook": False,
    }
    assert 'pip install "posemoe-edge[export]"' in err and 'pip install "posemoe-edge[cpu]"' not in err


@pytest.mark.parametrize(
    ("verb", "extra"),
    [("export", "export"), ("verify", "export"), ("train", "train"), ("demo", "export"), ("png", "plot")],
)
def test_a_verb_that_misses_a_package_names_the_extra(verb: str, extra: str, without_torch: dict[str, Any]) -> None:
    code, out, err = without_torch[verb]
    assert code == 3, err
    report = json.loads(out)
    assert report["error"] == "MissingError" and report["run"] == f'pip install "posemoe-edge[{extra}]"'
    assert "Traceback" not in err


def test_help_needs_no_extra(without_torch: dict[str, Any]) -> None:
    assert without_torch["help"][0] == 0 and "run" in without_torch["help"][1]


def test_the_evaluation_needs_no_torch(
    artefact_of: Callable[[str], Path], write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]
) -> None:
    data = write_motion_file([make_walker_clip("a", 20, split="test")])
    line = ["eval", str(artefact_of("retention")), "--data", str(data), "--json"]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(ABSENT), json.dumps([line])],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=data.parent,
        timeout=60,
    )
    code, out, err = json.loads(process.stdout)["results"][0]
    assert code == 0, err
    assert json.loads(out)["frames"] == 20


@pytest.fixture
def endless(retention_artefact: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """endless("--json"): a run without end in ``tmp_path``, which has written its first poses to out.jsonl."""
    programs: list[Run] = []

    def start(*options: str, within: Sequence[str] = ()) -> Run:
        line = ["run", "synthetic://walk", "--model", str(retention_artefact), "--sink", "jsonl:out.jsonl", *options]
        program = subprocess.Popen(
            [*within, sys.executable, "-c", MAIN, *line],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
            preexec_fn=default_signals,
        )
        programs.append(program)
        until = time.monotonic() + 60
        while not ((tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl").stat().st_size > 0):
            assert program.poll() is None and time.monotonic() < until, "it never began"
            time.sleep(0.05)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def default_signals() -> None:
    """As a terminal starts a program; a test runner may ignore them, which a child inherits."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 130)])
def test_a_signal_ends_an_endless_run_and_completes_its_files(
    number: signal.Signals, code: int, endless: Callable[..., Run], tmp_path: Path
) -> None:
    program = endless("--json", "--sink", "png:out.png")
    program.send_signal(number)
    program.send_signal(number)  # as a shell does after its terminal: one wish, said twice
    out, err = program.communicate(timeout=60)
    assert program.returncode == code, err
    report = json.loads(out)
    assert report["interrupted"] is True and report["signal"] == number.name
    assert report["poses"] > 0 and "Traceback" not in err
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert report["poses"] - 1 <= len(rows) <= report["poses"]  # a pose may be counted and not yet written
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.png"]


def test_sigterm_ends_a_run_that_is_the_first_process_of_a_container(endless: Callable[..., Run], tmp_path: Path) -> None:
    """There the system's own handling of SIGTERM is to do nothing."""
    contain = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*contain, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no process namespaces for users")
    program = endless("--json", within=contain)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGTERM)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0 and json.loads(out)["signal"] == "SIGTERM", err
    assert (tmp_path / "out.jsonl").exists()


HANGS = """
import ctypes, threading
from posemoe_edge.edge.cli.ending import ended_by_signals
lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
with ended_by_signals():
    threading.Timer(0.3, print, ["hangs"], {"flush": True}).start()
    lock(mutex), lock(mutex)  # no signal interrupts it
"""


def test_a_second_signal_ends_even_what_hangs_in_a_call_into_c() -> None:
    program = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True, preexec_fn=default_signals)
    try:
        assert program.stdout is not None and program.stdout.readline() == "hangs\n"
        program.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(2 * SAME_S)
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 128 + signal.SIGTERM
    finally:
        program.kill()
        program.communicate()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with ended_by_signals() as ending:
            signal.raise_signal(signal.SIGHUP)
        assert ending.by is None and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(Terminated), ended_by_signals() as ending:
        signal.raise_signal(signal.SIGTERM)
    assert ending.by is signal.SIGTERM and [signal.getsignal(number) for number in SIGNALS] == before


def test_a_closed_stderr_does_not_end_a_run(endless: Callable[..., Run], tmp_path: Path) -> None:
    program = endless("--frames", "500", "--json")
    assert program.stdout is not None and program.stderr is not None
    program.stderr.close()
    report = json.loads(program.stdout.read())
    assert program.wait(60) == 0 and report["poses"] == 500
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 500


def test_prometheus_reads_how_a_run_goes_until_it_ends(endless: Callable[..., Run]) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    program = endless("--metrics", "127.0.0.1:0", "--json")
    assert program.stderr is not None
    url = next(line.split()[-1] for line in program.stderr if line.startswith("metrics at "))

    def read() -> dict[str, float]:
        with urllib.request.urlopen(url, timeout=10) as answer:
            families = parser.text_string_to_metric_families(answer.read().decode())
            return {sample.name: sample.value for family in families for sample in family.samples}

    first = read()
    until = time.monotonic() + 30
    while read()["posemoe_edge_frames_total"] <= first["posemoe_edge_frames_total"]:
        assert time.monotonic() < until
    program.send_signal(signal.SIGTERM)
    report = json.loads(program.communicate(timeout=60)[0])
    assert report["metrics"] == url and report["poses"] >= first["posemoe_edge_poses_total"] > 0
    assert first["posemoe_edge_people"] == 1 and first["posemoe_edge_source_up"] == 1
    with pytest.raises(OSError):
        read()


def test_systemd_is_told_that_a_run_is_ready_lives_and_stops(
    endless: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path_factory.mktemp("systemd") / "notify")  # a socket's path may have 108 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        monkeypatch.setitem(ENVIRONMENT, "NOTIFY_SOCKET", address)
        monkeypatch.setitem(ENVIRONMENT, "WATCHDOG_USEC", "200000")
        program = endless()
        told = [manager.recv(4096).decode() for _ in range(3)]
        assert [message.splitlines()[0] for message in told] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        assert "fps, 1 person" in told[2]
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0
        manager.setblocking(False)
        while (last := manager.recv(4096).decode()) != "STOPPING=1":
            assert last.startswith("WATCHDOG=1")
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


def test_the_program_is_installed_under_its_name() -> None:
    script = Path(sys.executable).with_name("posemoe-edge")
    if not script.exists():
        pytest.skip("the package is not installed beside this Python")
    process = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert process.returncode == 0 and process.stdout.startswith("posemoe-edge, version 0.")
    process = subprocess.run([script, "rnu", "--json"], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert process.returncode == 2 and "did you mean run?" in json.loads(process.stdout)["what"]


def run_into_a_pipe_that_closes(options: list[str], *, folder: Path) -> tuple[int, str]:
    """Exit code and stderr of a run whose stdout is closed after the first line."""
    program = subprocess.Popen(
        [sys.executable, "-c", MAIN, "run", "synthetic://walk", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
    )
    try:
        assert program.stdout is not None and program.stderr is not None
        assert json.loads(program.stdout.readline())["person"] == 0
        program.stdout.close()
        err = program.stderr.read()
        return program.wait(60), err
    finally:
        program.kill()
        program.wait()


def test_a_closed_pipe_ends_that_sink_alone(retention_artefact: Path, tmp_path: Path) -> None:
    """posemoe-edge run ... --sink jsonl:- --sink jsonl:log.jsonl | head -1"""
    options = ["--frames", "2000", "--model", str(retention_artefact), "--sink", "jsonl:-", "--sink", "jsonl:log.jsonl"]
    code, err = run_into_a_pipe_that_closes(options, folder=tmp_path)
    assert code == 0 and "Traceback" not in err and "stdout was closed" in err, err
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2000


@pytest.mark.parametrize("number", [1, 2])
def test_a_stream_that_was_closed_before_costs_the_run_nothing(retention_artefact: Path, tmp_path: Path, number: int) -> None:
    """The next file that is opened would get its number, and what a library complains about on stderr."""
    line = ["run", "synthetic://walk", "--frames", "20", "--model", str(retention_artefact), "--sink", "jsonl:log.jsonl"]
    script = f"import os, sys; os.close({number}); os.execv(sys.executable, [sys.executable, '-c', {MAIN!r}, *sys.argv[1:]])"
    program = subprocess.run(
        [sys.executable, "-c", script, *line], capture_output=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60
    )
    assert program.returncode == 0, program.stderr
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(lines) == 20 and all(json.loads(text)["person"] == 0 for text in lines)


def test_poses_for_a_stdout_that_is_closed_are_an_error_before_the_run(retention_artefact: Path, tmp_path: Path) -> None:
    line = ["run", "synthetic://walk", "--frames", "5", "--model", str(retention_artefact), "--sink", "jsonl:-"]
    script = f"import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, '-c', {MAIN!r}, *sys.argv[1:]])"
    command = [sys.executable, "-c", script, *line]
    program = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60)
    assert program.returncode == 3 and "stdout is closed" in program.stderr and "Traceback" not in program.stderr


def test_what_was_lifted_before_an_error_of_the_source_is_kept_and_named(retention_artefact: Path, tmp_path: Path) -> None:
    """A recording of lines whose pipe ends in the middle of nothing: the source fails after its first frames."""
    pytest.importorskip("av")
    (tmp_path / "broken_source.py").write_text(
        "from posemoe_edge.runtime.sources.synthetic import SyntheticSource\n"
        "from posemoe_edge.runtime.errors import SourceError\n"
        "def fail(self, walk=SyntheticSource.__iter__):\n"
        "    for i, frame in enumerate(walk(self)):\n"
        "        if i == 12: raise SourceError('the cable broke')\n"
        "        yield frame\n"
        "SyntheticSource.__iter__ = fail\n"
    )
    sinks = ["--sink", "jsonl:log.jsonl", "--sink", "video:run.mp4"]
    line = ["run", "synthetic://walk", "--frames", "50", "--model", str(retention_artefact), *sinks]
    command = [sys.executable, "-c", f"import broken_source; {MAIN}", *line]
    program = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60)
    assert program.returncode == 3 and "the cable broke" in program.stderr, program.stderr
    assert "kept in log.jsonl" in program.stderr and "kept in run.mp4" in program.stderr
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 12 and (tmp_path / "run.mp4").stat().st_size > 1000


def test_a_sink_that_fails_is_exit_code_1_and_costs_the_other_nothing(retention_artefact: Path, tmp_path: Path) -> None:
    """A full disk is /dev/full, whose writes fail as those of a full one do."""
    options = ["--frames", "200", "--model", str(retention_artefact), "--sink", "jsonl:/dev/full", "--sink", "jsonl:log.jsonl"]
    command = [sys.executable, "-c", MAIN, "run", "synthetic://walk", *options]
    program = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=120, check=False)
    assert program.returncode == 1 and "No space left" in program.stderr, program.stderr
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 200


def test_a_closed_pipe_is_no_error(retention_artefact: Path, tmp_path: Path) -> None:
    code, err = run_into_a_pipe_that_closes(["--model", str(retention_artefact), "--sink", "jsonl:-"], folder=tmp_path)
    assert code == 0 and "Traceback" not in err, err
