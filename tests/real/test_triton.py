"""NVIDIA's Triton itself keeps people apart: the server in nvidia-pytriton's wheel, with the Python backend.

The interpreter is that of a virtual environment with nvidia-pytriton, which needs an older numpy than ours:

    python -m venv triton && triton/bin/pip install nvidia-pytriton onnxruntime pydantic click rich
    POSEMOE_EDGE_TRITON_PYTHON=triton/bin/python pytest tests/real
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import posemoe_edge
import pytest
from posemoe_edge.runtime import FrameError, MissingError, Pose, load
from posemoe_edge.runtime.address import Address
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.serving import ServingLimits, write_repository
from posemoe_edge.runtime.serving.remote import RemoteModel
from posemoe_edge.runtime.serving.remote_stream import RemoteStream
from posemoe_edge.runtime.serving.server import RunningTriton, find_triton, running_triton

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")
PYTHON = os.environ.get("POSEMOE_EDGE_TRITON_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="POSEMOE_EDGE_TRITON_PYTHON names no Python with nvidia-pytriton")

MODEL = "frame-retention-s"
DT_S = 0.02
TOLERANCE_M = 2e-5
"""The same sums by another version of ONNX Runtime, and in launches of other sizes. Another one's state is centimetres away."""

Walk = Callable[..., F32]
Start = Callable[..., AbstractContextManager[RunningTriton]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """start(port=0, idle_s=30, options=(...)): a Triton with the default model."""

    def starting(
        *, port: int = 0, idle_s: float = 30.0, options: tuple[str, ...] = ()
    ) -> AbstractContextManager[RunningTriton]:
        models = write_repository(MODEL, tmp_path / "models", limits=ServingLimits(idle_s=idle_s))
        triton = find_triton(python=PYTHON)
        return running_triton(triton, tmp_path / "models", models, Address("127.0.0.1", port), options=options)

    return starting


@pytest.fixture
def server(start: Start) -> Iterator[RunningTriton]:
    with start() as running:
        yield running


def url(server: RunningTriton) -> str:
    return f"grpc://{server.address}"


def apart_mm(pose: Any, expected: Pose) -> float:
    return float(1000 * np.abs(pose - expected.xyz_m).max())


def test_interleaved_people_have_the_poses_of_one_process_unary(server: RunningTriton, walker_keypoints: Walk) -> None:
    """Without our client: one request, one answer, as any client of Triton's would."""
    from tritonclient.grpc import InferenceServerClient, InferInput

    client = InferenceServerClient(str(server.address))
    home, rng = load(MODEL), np.random.default_rng(0)
    people = {1000 + k: (walker_keypoints(12, seed=k), home.stream()) for k in range(12)}
    for i in range(12):
        for person in rng.permutation(list(people)):
            walk, own = people[int(person)]
            keypoints, time_s = InferInput("keypoints", [1, 17, 3], "FP32"), InferInput("time_s", [1, 1], "FP64")
            keypoints.set_data_from_numpy(walk[i][None])
            time_s.set_data_from_numpy(np.array([[i * DT_S]]))
            result = client.infer(
                MODEL, [keypoints, time_s], sequence_id=int(person), sequence_start=i == 0, sequence_end=i == 11
            )
            assert apart_mm(result.as_numpy("pose")[0], own.step(walk[i], t=i * DT_S)) <= 1000 * TOLERANCE_M


def test_people_who_come_and_go_have_the_poses_of_one_process_streaming(
    server: RunningTriton, play_crowd: Callable[..., Any]
) -> None:
    remote = RemoteModel.connect(url(server))
    pairs: list[Any] = []
    compared = 0
    for of_frame in play_crowd([remote, load(MODEL)], pairs, 80, joins=5, leaves=40):
        for there, here in of_frame:
            assert apart_mm(there.xyz_m, here) <= 1000 * TOLERANCE_M
            assert (there.gap, there.t_s, there.dt_s) == (here.gap, here.t_s, here.dt_s)
            np.testing.assert_allclose(there.sigma_m, here.sigma_m, atol=TOLERANCE_M)
            compared += 1
    assert compared > 400
    remote.close()


def test_a_bad_frame_costs_one_frame_of_one_person(server: RunningTriton, walker_keypoints: Walk) -> None:
    """With a client that does not check: the answer is that request's error."""
    walk = walker_keypoints(3)
    remote = RemoteModel.connect(url(server))
    streams = [remote.stream() for _ in range(6)]
    remote.step_batch(dict.fromkeys(streams, walk[0]), t=0.0)
    bad = walk[1].copy()
    bad[2, 1] = np.inf
    with remote._lock:
        answers = remote._lift({stream: (bad if stream is streams[3] else walk[1], DT_S) for stream in streams})
    assert [type(answers[stream]) for stream in streams] == [Pose] * 3 + [FrameError] + [Pose] * 2
    assert "joint 2 of the keypoints is not finite" in str(answers[streams[3]])
    assert len(remote.step_batch(dict.fromkeys(streams, walk[2]), t=2 * DT_S)) == 6
    remote.close()


def held(metrics_port: int) -> float:
    with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("posemoe_edge_people{")).split()[-1])


def test_the_end_and_idle_time_free_a_person(start: Start, walker_keypoints: Walk) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    walk = walker_keypoints(3)
    with start(idle_s=0.5, options=("--allow-metrics=true", f"--metrics-port={port}")) as server:
        remote = RemoteModel.connect(url(server))
        stays, ends, vanishes = (remote.stream() for _ in range(3))
        remote.step_batch(dict.fromkeys((stays, ends, vanishes), walk[0]), t=0.0)
        assert held(port) == 3
        ends.close()
        assert held(port) == 2
        resumed = remote.resumed
        time.sleep(1.5)  # Triton has given both up, and says so to who sends a frame
        assert isinstance(stays.step(walk[1], t=DT_S), Pose) and remote.resumed == resumed + 1
        time.sleep(5.6)  # the model keeps them a little longer than Triton
        stays.step(walk[2], t=2 * DT_S)
        assert held(port) == 1
        remote.close()


PEOPLE, CLIENTS, FRAMES = 64, 4, 36


def test_nobody_gets_another_one_s_state_whatever_happens(start: Start, walker_keypoints: Walk) -> None:
    """64 people of four clients; clients vanish without a word, and the server is killed and comes back.

    All of the past is sent again, so that every pose must be that of a stream that was never interrupted.
    """
    home = load(MODEL)
    walks = {k: walker_keypoints(FRAMES, seed=k) for k in range(PEOPLE)}
    of_client = {client: range(client, PEOPLE, CLIENTS) for client in range(CLIENTS)}
    expected = {k: home.stream() for k in walks}
    rng = np.random.default_rng(3)
    compared, worst_mm = 0, 0.0

    def join(address: str, client: int) -> tuple[RemoteModel, dict[int, RemoteStream]]:
        model = RemoteModel.connect(address, patience_s=60.0, timeout_s=30.0, replay_s=100.0, on_notice=lambda text: None)
        return model, {k: model.stream(person=k) for k in of_client[client]}

    with start() as first:
        address, port = url(first), first.address.port
        clients = {client: join(address, client) for client in range(CLIENTS)}
        second = None
        try:
            for i in range(FRAMES):
                if i == 14:
                    first.process.send_signal(signal.SIGKILL)
                    first.process.wait()
                    second = start(port=port)
                    second.__enter__()
                if i in (6, 22):  # a client vanishes, and another one comes with new people in its place
                    gone = i % CLIENTS
                    clients[gone][0]._connection.close()  # type: ignore[union-attr]
                    clients[gone] = join(address, gone)
                    for k in of_client[gone]:
                        expected[k].reset()
                for client in rng.permutation(CLIENTS):
                    model, streams = clients[int(client)]
                    there = [k for k in streams if rng.random() < 0.9]
                    for stream, pose in model.step_batch({streams[k]: walks[k][i] for k in there}, t=i * DT_S).items():
                        own = expected[stream._person].step(walks[stream._person][i], t=i * DT_S)
                        worst_mm = max(worst_mm, apart_mm(pose.xyz_m, own))
                        compared += 1
        finally:
            if second is not None:
                second.__exit__(None, None, None)
    assert compared > 0.8 * PEOPLE * FRAMES and worst_mm <= 1000 * TOLERANCE_M
    assert sum(model.resumed for model, _ in clients.values()) >= PEOPLE - len(of_client[0])


def write_certificates(folder: Path) -> None:
    """ca.pem, and the pairs of server.pem with server.key and client.pem with client.key, which it signed for loopback."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(timezone.utc)
    issuer_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    for name in ("ca", "server", "client"):
        key = issuer_key if name == "ca" else ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(issuer_name if name == "ca" else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (folder / f"{name}.key").write_bytes(pem)


def test_with_tls_only_clients_with_a_certificate_are_served(start: Start, walker_keypoints: Walk, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    files = {"server-cert": "server.pem", "server-key": "server.key", "root-cert": "ca.pem"}
    options: tuple[str, ...] = ("--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true")
    options += tuple(f"--grpc-{option}={tmp_path / file}" for option, file in files.items())
    walk, own = walker_keypoints(6), load(MODEL).stream()
    with start(options=options) as server:
        encrypted = f"grpcs://{server.address}?ca={tmp_path / 'ca.pem'}"
        with_certificate = f"{encrypted}&cert={tmp_path / 'client.pem'}&key={tmp_path / 'client.key'}"
        with closing(RemoteModel.connect(with_certificate)) as model, model.stream() as stream:
            for i, frame in enumerate(walk):
                pose = stream.step(frame, t=i * DT_S)
                assert apart_mm(pose.xyz_m, own.step(frame, t=i * DT_S)) <= 1000 * TOLERANCE_M
        for url_of_stranger in (encrypted, f"grpc://{server.address}"):
            with pytest.raises(MissingError, match=str(server.address)):
                RemoteModel.connect(url_of_stranger)


def test_serve_and_run_in_two_commands(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "posemoe_edge").symlink_to(posemoe_edge.__path__[0])
    environment = os.environ | {"PYTHONPATH": str(packages)}
    program = [sys.executable, "-m", "posemoe_edge"]
    serving = subprocess.Popen(
        [*program, "serve", MODEL, "--python", PYTHON, "--listen", "127.0.0.1:0", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    lines = []
    for line in serving.stderr:
        lines.append(line)
        if line.startswith("ready at"):
            break
    address = lines[-1].split()[2].rstrip(":")
    source = "synthetic://walk?people=2"
    run = subprocess.run(
        [*program, "run", source, "--frames", "20", "--server", address, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    serving.send_signal(signal.SIGTERM)
    out, _ = serving.communicate(timeout=60)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert (report["poses"], report["refused"], report["engine"], report["server"]) == (40, 0, "triton", address)
    ended = json.loads(out)
    assert serving.returncode == 0 and ended["server"] == address and ended["signal"] == "SIGTERM"
    with pytest.raises(OSError):
        import socket

        socket.create_connection((address.split("//")[1].split(":")[0], int(address.rsplit(":", 1)[1])), timeout=1)
