"""Finding a Triton on this machine, starting it on a repository, and ending it. It is NVIDIA's program; none is of ours."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..address import Address
from ..errors import CheckFailedError, MissingError
from .repository import ModelFolder

START_S = 120.0
"""How long a server may take until it is ready: it opens every model before."""

END_S = 15.0
"""How long it may take to end by itself."""

PACKAGE = Path(__file__).parents[2]
"""This package's folder, whatever its name."""

_IN_CONTAINER = "/repository"
_ALL_BACKENDS = frozenset({"onnxruntime", "python", "tensorrt"})
_DEFAULT_BACKENDS = Path("/opt/tritonserver/backends")
_PROBE = """
import importlib.util, json, pathlib, sys, sysconfig
spec = importlib.util.find_spec("pytriton")
print(json.dumps({
    "packages": str(pathlib.Path(spec.origin).parents[1]) if spec else None,
    "version": "%d.%d" % sys.version_info[:2],
    "libraries": sysconfig.get_config_var("LIBDIR"),
}))
"""


@dataclass(frozen=True)
class Triton:
    """A Triton that can be started here.

    Args:
        what: in words.
        command: begins its command line.
        backends: that it has.
        environment: what is added to the environment.
        repository: where it sees the repository; None is the path itself.
        links: that are made in a temporary folder before it starts: place there -> target.
        options: words of the command line before those that every Triton gets: the folder of backends, or docker's image.
    """

    what: str
    command: tuple[str, ...]
    backends: frozenset[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    repository: str | None = None
    links: Mapping[str, Path] = field(default_factory=dict)
    options: tuple[str, ...] = ()


def find_triton(*, image: str | None = None, python: str | None = None) -> Triton:
    """The Triton to start: a container's, else that of nvidia-pytriton in the named Python, else ``tritonserver`` on the path,
    else that of nvidia-pytriton in this Python.

    Args:
        image: of a container with Triton and, for the model of people, this package; docker runs it.
        python: with nvidia-pytriton and this package's requirements.

    Raises:
        MissingError: there is none.
    """
    if image is not None:
        docker = shutil.which("docker")
        if docker is None:
            raise MissingError(f"no docker to run {image}", expected="docker on the path")
        return Triton(
            f"{image} by docker", (docker, "run", "--rm", "--init"), _ALL_BACKENDS, repository=_IN_CONTAINER, options=(image,)
        )
    on_path = shutil.which("tritonserver") if python is None else None
    if on_path is not None:
        binary = Path(on_path).resolve()
        backends = next((place for place in (binary.parents[1] / "backends", _DEFAULT_BACKENDS) if place.is_dir()), None)
        names = frozenset(entry.name for entry in backends.iterdir()) if backends else _ALL_BACKENDS
        options = (f"--backend-directory={backends}",) if backends else ()
        return Triton(str(on_path), (on_path,), names, {"PYTHONPATH": ""}, options=options)
    return _pytriton(python or sys.executable, named=python is not None)


def _pytriton(python: str, *, named: bool) -> Triton:
    """The Triton in the wheel of nvidia-pytriton, which has the Python backend alone."""
    try:
        probe = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"{python} does not run: {error}", expected="a Python with nvidia-pytriton") from None
    found = json.loads(probe.stdout.splitlines()[-1])
    if found["packages"] is None:
        raise MissingError(
            f"no Triton on this machine: no tritonserver on the path, and no nvidia-pytriton in {python}"
            if not named
            else f"no nvidia-pytriton in {python}",
            expected="one of them, or --image with docker",
            run=f"{python} -m pip install nvidia-pytriton",
        )
    packages = Path(found["packages"])
    home = packages / "pytriton" / "tritonserver"
    stub = home / "python_backend_stubs" / found["version"] / "triton_python_backend_stub"
    if not stub.is_file():
        versions = sorted(entry.name for entry in stub.parents[1].iterdir())
        raise MissingError(f"nvidia-pytriton has no stub for Python {found['version']}", expected=f"one of {versions}")
    backend = home / "backends" / "python"
    links = {f"backends/python/{file.name}": file for file in (*backend.iterdir(), stub)}
    libraries = [str(packages / "nvidia_pytriton.libs"), found["libraries"], os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {"LD_LIBRARY_PATH": ":".join(filter(None, libraries)), "PYTHONPATH": str(packages)}
    what = f"nvidia-pytriton's tritonserver in {packages}"
    return Triton(what, (str(home / "bin" / "tritonserver"),), frozenset({"python"}), environment, links=links)


@dataclass(frozen=True)
class RunningTriton:
    """A server that was started, and is ready."""

    address: Address
    process: subprocess.Popen[bytes]
    log: Path
    loaded: tuple[ModelFolder, ...]
    left_out: tuple[ModelFolder, ...]

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of what it printed."""
        return tail(self.log, lines)


@contextmanager
def running_triton(
    triton: Triton,
    repository: Path,
    models: Sequence[ModelFolder],
    listen: Address,
    *,
    options: Sequence[str] = (),
    start_s: float = START_S,
) -> Iterator[RunningTriton]:
    """Start a Triton on those of the models whose backend it has, and end it afterwards.

    Args:
        listen: for gRPC; port 0 takes a free one.
        options: of Triton's own, which take the place of ours of the same name.

    Raises:
        MissingError: it has no backend for any of the models.
        CheckFailedError: it ended, or was not ready in time; the message has the end of its log.
    """
    loaded = tuple(model for model in models if model.backend in triton.backends)
    if not loaded:
        raise MissingError(
            f"{triton.what} has the backends {', '.join(sorted(triton.backends))}, and runs none of the models",
            expected="python, onnxruntime or tensorrt",
        )
    address = listen if listen.port else Address(listen.host, _free_port(listen.host))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posemoe-edge-triton-")))
        environment = _prepared(triton, folder)
        command = _command_line(triton, folder, repository, [model.name for model in loaded], address, options)
        log = folder / "triton.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        stack.callback(_end, process)
        _wait_until_ready(process, address, log, start_s)
        left_out = tuple(model for model in models if model not in loaded)
        yield RunningTriton(address, process, log, loaded, left_out)


def tail(log: Path, lines: int) -> str:
    """The last lines of a log; of a start that failed, from the line that says why."""
    text = log.read_text(errors="replace").splitlines()
    why = next((i for i, line in enumerate(text) if line.startswith("error: ")), len(text) - lines)
    return "\n".join(text[max(why, 0) :])


def _prepared(triton: Triton, folder: Path) -> dict[str, str]:
    """Make links in a temporary folder; the environment that leads there. The package is found under its name."""
    packages = folder / "packages"
    packages.mkdir()
    (packages / "posemoe_edge").symlink_to(PACKAGE)
    for place, target in triton.links.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).symlink_to(target)
    python_path = [str(packages), triton.environment.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
    single_threaded = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {
        **os.environ,
        **single_threaded,
        **triton.environment,
        "PYTHONPATH": ":".join(filter(None, python_path)),
    }


def _command_line(
    triton: Triton, folder: Path, repository: Path, models: Sequence[str], address: Address, options: Sequence[str]
) -> list[str]:
    own = {
        "--model-control-mode": "explicit",
        "--grpc-address": address.host,
        "--grpc-port": str(address.port),
        "--allow-http": "false",
        "--allow-metrics": "false",
        "--http-address": address.host,  # of HTTP and metrics too, where they are allowed
        "--metrics-address": address.host,
        "--exit-timeout-secs": "2",
    }
    named = {option.partition("=")[0] for option in options}
    words = [f"{name}={value}" for name, value in own.items() if name not in named]
    words += [f"--load-model={name}" for name in models]
    if triton.links and "--backend-directory" not in named:
        words.append(f"--backend-directory={folder / 'backends'}")
    if triton.repository is None:
        return [*triton.command, *triton.options, f"--model-repository={repository}", *words, *options]
    host = f"[{address.host}]" if ":" in address.host else address.host
    inside = [word for word in words if not word.startswith(("--grpc-address", "--http-address", "--metrics-address"))]
    docker = ["-p", f"{host}:{address.port}:{address.port}", "-v", f"{repository.resolve()}:{triton.repository}:ro"]
    if shutil.which("nvidia-smi"):
        docker += ["--gpus", "all"]
    server = ["tritonserver", f"--model-repository={triton.repository}", *inside, *options]
    return [*triton.command, *docker, *triton.options, *server]


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], address: Address, log: Path, start_s: float) -> None:
    """Wait for the gRPC port, which Triton opens when all models are loaded and warm."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    give_up_s = time.monotonic() + start_s
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            raise CheckFailedError(
                f"Triton ended with {process.returncode}:\n{tail(log, 30)}", expected="a server that is ready"
            )
        try:
            socket.create_connection((host, address.port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise CheckFailedError(f"Triton was not ready in {start_s:g} s:\n{tail(log, 30)}", expected="a server that is ready")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server: it answers what it has begun, and frees its models; if it does not end, it is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
