"""Finding a Triton, starting and ending it, with programs in its place; `tests/real` starts a real one."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime.address import Address
from posemoe_edge.runtime.errors import CheckFailedError, MissingError
from posemoe_edge.runtime.serving import write_repository
from posemoe_edge.runtime.serving.server import find_triton, running_triton

LISTENS = """
import json, os, signal, socket, sys, time
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
record = {"argv": sys.argv[1:], "python_path": os.environ["PYTHONPATH"].split(":")}
record["package"] = os.path.isfile(record["python_path"][0] + "/posemoe_edge/runtime/serving/python_backend.py")
open(os.environ["RECORD"], "w").write(json.dumps(record))
server = socket.create_server(("127.0.0.1", int(options["grpc-port"])))
time.sleep(60)
"""
FAILS = """
import sys
print("I0101 loading\\nerror: creating server: Invalid argument - load failed\\nwhy: no numpy", file=sys.stderr)
sys.exit(1)
"""
HANGS = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""
LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs on the path; what a program writes to $RECORD is at ``record``."""
    folder = tmp_path / "triton" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return folder


def program(path: Path, name: str, code: str) -> None:
    (path / name).write_text(f"#!{sys.executable}\n{code}")
    (path / name).chmod(0o755)


@pytest.fixture
def models(retention_artefact: Path, tmp_path: Path) -> Any:
    return write_repository(retention_artefact, tmp_path / "repo")


def test_the_models_whose_backend_is_there_are_loaded(path: Path, models: Any, tmp_path: Path) -> None:
    program(path, "tritonserver", LISTENS)
    (path.parent / "backends" / "onnxruntime").mkdir(parents=True)
    triton = find_triton()
    assert triton.what == str(path / "tritonserver") and triton.backends == {"onnxruntime"}
    with running_triton(triton, tmp_path / "repo", models, LOOPBACK) as server:
        record = json.loads((tmp_path / "record").read_text())
        assert {model.name for model in server.loaded} == {"tiny-retention_fp32", "tiny-retention_fp16"}
        assert [model.name for model in server.left_out] == ["tiny-retention"]
        loaded = [word.partition("=")[2] for word in record["argv"] if word.startswith("--load-model")]
        assert loaded == ["tiny-retention_fp32", "tiny-retention_fp16"]
        assert f"--model-repository={tmp_path / 'repo'}" in record["argv"] and record["package"]
        assert {"--grpc-address=127.0.0.1", "--allow-http=false", "--allow-metrics=false"} <= set(record["argv"])
    assert server.process.returncode is not None
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.address.port), timeout=1)


def test_an_option_of_triton_s_own_takes_the_place_of_ours(path: Path, models: Any, tmp_path: Path) -> None:
    program(path, "tritonserver", LISTENS)
    options = ["--allow-metrics=true", "--grpc-use-ssl=true"]
    with running_triton(find_triton(), tmp_path / "repo", models, LOOPBACK, options=options):
        argv = json.loads((tmp_path / "record").read_text())["argv"]
    assert "--allow-metrics=false" not in argv and set(options) <= set(argv)


def test_a_server_that_fails_says_why(path: Path, models: Any, tmp_path: Path) -> None:
    program(path, "tritonserver", FAILS)
    with (
        pytest.raises(CheckFailedError, match=r"ended with 1:\nerror: creating server.*\nwhy: no numpy"),
        running_triton(find_triton(), tmp_path / "repo", models, LOOPBACK),
    ):
        pytest.fail("it is not ready")


def test_a_server_that_never_is_ready_is_ended_by_force(
    path: Path, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(path, "tritonserver", HANGS)
    monkeypatch.setattr("posemoe_edge.runtime.serving.server.END_S", 0.2)
    began_s = time.monotonic()
    with (
        pytest.raises(CheckFailedError, match=r"not ready in 0\.5 s"),
        running_triton(find_triton(), tmp_path / "repo", models, LOOPBACK, start_s=0.5),
    ):
        pytest.fail("it is not ready")
    assert time.monotonic() - began_s < 10


def test_a_triton_without_any_backend_for_the_models_is_not_started(path: Path, models: Any, tmp_path: Path) -> None:
    program(path, "tritonserver", FAILS)
    (path.parent / "backends" / "pytorch").mkdir(parents=True)
    with (
        pytest.raises(MissingError, match="has the backends pytorch, and runs none"),
        running_triton(find_triton(), tmp_path / "repo", models, LOOPBACK),
    ):
        pytest.fail("it is not ready")


def test_docker_gets_the_repository_and_the_port_of_this_machine(path: Path, models: Any, tmp_path: Path) -> None:
    """What docker itself makes of it could not be run."""
    program(path, "docker", LISTENS)
    triton = find_triton(image="triton:with-us")
    with running_triton(triton, tmp_path / "repo", models, LOOPBACK) as server:
        argv = json.loads((tmp_path / "record").read_text())["argv"]
    port = server.address.port
    assert argv[:7] == ["run", "--rm", "--init", "-p", f"127.0.0.1:{port}:{port}", "-v", f"{tmp_path / 'repo'}:/repository:ro"]
    assert argv[7:10] == ["triton:with-us", "tritonserver", "--model-repository=/repository"]
    assert not [word for word in argv if word.startswith("--grpc-address")]  # inside, it listens to docker
    assert len(server.loaded) == 3


def test_the_triton_in_nvidia_pytriton_s_wheel_gets_its_stub(path: Path, models: Any, tmp_path: Path) -> None:
    home = tmp_path / "packages" / "pytriton" / "tritonserver"
    for file in ("backends/python/libtriton_python.so", "python_backend_stubs/3.11/triton_python_backend_stub"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text("")
    (home / "bin").mkdir()
    program(home / "bin", "tritonserver", LISTENS)
    answer = {"packages": str(tmp_path / "packages"), "version": "3.11", "libraries": "/lib"}
    program(path, "python", f"print({json.dumps(json.dumps(answer))})")
    triton = find_triton(python=str(path / "python"))
    with running_triton(triton, tmp_path / "repo", models, LOOPBACK) as server:
        record = json.loads((tmp_path / "record").read_text())
        backends = next(word.partition("=")[2] for word in record["argv"] if word.startswith("--backend-directory"))
        names = {entry.name for entry in (Path(backends) / "python").iterdir()}
    assert names == {"libtriton_python.so", "triton_python_backend_stub"} and record["package"]
    assert record["python_path"][1] == str(tmp_path / "packages") and [m.name for m in server.loaded] == ["tiny-retention"]
    program(path, "python", f"print({json.dumps(json.dumps(answer | {'version': '3.99'}))})")
    with pytest.raises(MissingError, match=r"no stub for Python 3\.99; expected one of \['3\.11'\]"):
        find_triton(python=str(path / "python"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no tritonserver on the path, and no nvidia-pytriton"),
        ({"python": sys.executable}, "no nvidia-pytriton in"),
        ({"python": "/nowhere/python"}, "/nowhere/python does not run"),
        ({"image": "triton"}, "no docker to run triton"),
    ],
)
def test_without_a_triton_the_error_says_what_to_install(
    arguments: dict[str, str], words: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = path / "sitecustomize.py"  # where nvidia-pytriton is installed, its Python is made to lack it
    blocked.write_text("import sys; sys.modules['pytriton'] = None")
    monkeypatch.setenv("PYTHONPATH", f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(MissingError, match=words):
        find_triton(**arguments)


def test_a_command_that_is_interrupted_ends_its_server(
    path: Path, models: Any, tmp_path: Path, walker_keypoints: Callable[..., Any]
) -> None:
    program(path, "tritonserver", LISTENS)
    with (
        pytest.raises(KeyboardInterrupt),
        running_triton(find_triton(), tmp_path / "repo", models, LOOPBACK) as server,
    ):
        raise KeyboardInterrupt
    assert server.process.poll() is not None
