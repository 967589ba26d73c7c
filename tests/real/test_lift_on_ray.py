"""``lift --ray`` on a real cluster of two raylets: the same bytes as in one process, and what a death costs.

The interpreter is that of an environment with ray and what the runtime needs:

    python -m venv ray && ray/bin/pip install "ray[data]" pyarrow onnxruntime numpy click pydantic rich
    POSEMOE_EDGE_RAY_PYTHON=ray/bin/python pytest tests/real/test_lift_on_ray.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import posemoe_edge
import pytest
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

PYTHON = os.environ.get("POSEMOE_EDGE_RAY_PYTHON", "")
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="POSEMOE_EDGE_RAY_PYTHON names no Python with ray"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc"),
]
Lift = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of the driver and of the raylets: this package, whatever its folder is called."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "posemoe_edge").symlink_to(posemoe_edge.__path__[0])
    return os.environ | {"PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a cluster of two machines, and the process that obeys "remove"."""
    script = Path(__file__).with_name("ray_cluster.py")
    process = subprocess.Popen(
        [PYTHON, str(script)],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture
def archive(tmp_path: Path, walker_keypoints: Callable[..., np.ndarray]) -> Path:
    """Six clips of one to three people, and one that is broken."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(6):
        people = [walker_keypoints(60, seed=person)[: 20 + n] for person in range(1 + n % 3)]
        save_keypoints(folder / f"walk{n}.npz", keypoints=np.stack(people, axis=1))
    (folder / "broken.npz").write_bytes(b"nonsense")
    return folder


def command(folder: Path, out: Path, *words: str) -> list[str]:
    return [PYTHON, "-m", "posemoe_edge", "lift", str(folder), "--out", str(out), "--json", *words]


@pytest.fixture
def lift(environment: dict[str, str], archive: Path) -> Lift:
    """lift(out, "--ray", address)"""
    return lambda out, *words: subprocess.run(
        command(archive, out, *words), env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def readers_of(path: Path) -> list[int]:
    """Processes that have a file open, without this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                found += [int(entry.name)] * any(handle.resolve() == path for handle in (entry / "fd").iterdir())
            except OSError:
                continue
    return found


def test_two_machines_write_the_same_bytes_as_one_process_and_a_death_costs_its_clip(
    cluster: tuple[str, Any], lift: Lift, archive: Path, tmp_path: Path
) -> None:
    address, _ = cluster
    alone = lift(tmp_path / "alone", "--workers", "1")
    together = lift(tmp_path / "together", "--ray", address)
    results = [json.loads(run.stdout) for run in (alone, together)]
    assert [run.returncode for run in (alone, together)] == [1, 1], together.stderr
    assert results[1]["workers"] == 2 and "on 2 machines" in together.stderr
    assert [(result["lifted"], len(result["failed"]), result["poses"]) for result in results] == [
        (6, 1, results[0]["poses"])
    ] * 2
    assert results[0]["failed"] == results[1]["failed"]
    assert contents(tmp_path / "alone") == contents(tmp_path / "together") != {}
    assert json.loads(lift(tmp_path / "together", "--ray", address).stdout)["finished_before"] == 6

    poison = archive / "poison.jsonl"
    os.mkfifo(poison)  # whoever reads it is killed
    over, killed = threading.Event(), set[int]()

    def kill_readers() -> None:
        while not over.wait(0.01):
            try:
                handle = os.open(poison, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads it
                continue
            for reader in readers_of(poison):
                os.kill(reader, signal.SIGKILL)
                killed.add(reader)
            os.close(handle)

    killer = threading.Thread(target=kill_readers, daemon=True)
    killer.start()
    poisoned = lift(tmp_path / "poisoned", "--ray", address)
    over.set()
    killer.join()
    result = json.loads(poisoned.stdout)
    assert poisoned.returncode == 1 and result["lifted"] == 6 and len(killed) >= 2, poisoned.stderr
    assert {Path(failed["source"]).name for failed in result["failed"]} == {"broken.npz", "poison.jsonl"}
    assert any("died, twice" in failed["what"] for failed in result["failed"])
    assert contents(tmp_path / "poisoned") == contents(tmp_path / "alone")


def test_a_machine_that_dies_costs_nothing_and_an_interrupt_keeps_what_is_finished(
    cluster: tuple[str, Any], lift: Lift, archive: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    address, machines = cluster
    long = np.random.default_rng(0).uniform(0.1, 1, (1500, 17, 3)).astype(np.float32)
    for n in range(6):
        save_keypoints(archive / f"walk{n}.npz", keypoints=long)
    (archive / "broken.npz").unlink()
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(archive, out, "--ray", address), env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_for_a_file(out)
    os.killpg(process.pid, signal.SIGINT)
    result = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130 and result["interrupted"] and 1 <= len(contents(out)) < 6
    assert not [name for name in contents(out) if not name.endswith(".poses.npz")]

    process = subprocess.Popen(command(archive, out, "--ray", address), env=environment, text=True, stdout=subprocess.PIPE)
    before = len(contents(out))
    wait_for_a_file(out, more_than=before)
    machines.stdin.write("remove\n")
    machines.stdin.flush()
    result = json.loads(process.communicate(timeout=200)[0])
    assert process.returncode == 0 and result["finished_before"] == before and len(contents(out)) == 6


def wait_for_a_file(out: Path, *, more_than: int = 0) -> None:
    deadline_s = time.monotonic() + 60
    while len(list(out.rglob("*.poses.npz"))) <= more_than:
        assert time.monotonic() < deadline_s, "no clip was finished"
        time.sleep(0.02)


def test_a_cluster_that_is_not_there_is_said_at_once(lift: Lift, tmp_path: Path) -> None:
    began_s = time.monotonic()
    nowhere = lift(tmp_path / "out", "--ray", "127.0.0.1:1")
    assert nowhere.returncode == 3 and json.loads(nowhere.stdout)["run"] == "ray start --head"
    assert "no Ray cluster at 127.0.0.1:1" in json.loads(nowhere.stdout)["what"] and time.monotonic() - began_s < 60
