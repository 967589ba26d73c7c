"""Two torchrun agents, a node each, train one network over gloo: a process that dies, and a node that dies for good."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import posemoe_edge
import pytest

torch = pytest.importorskip("torch")

from posemoe_edge.edge.checkpoints import load_checkpoint  # noqa: E402  (needs torch)

UPDATES = 150
SCRIPT = """
import os, sys, time
from pathlib import Path
from posemoe_edge.edge.data.mocap import load_clips
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.presets import Preset
from posemoe_edge.edge.training import train as module
from posemoe_edge.edge.training.recipe import Recipe

folder, node = Path(sys.argv[2]), sys.argv[3]
preset = Preset("tiny", PoseMoEConfig(mixer=DSSMConfig(state_size=4), dim=8, heads=2, layers=1), "for tests")
recipe = Recipe(updates=UPDATES, rows=1, frames=4, compiled=False)
load = module.load_training

def noted(*arguments):
    saved = load(*arguments)
    with (folder / "resumed.txt").open("a") as file:
        file.write(f"{node} {0 if saved is None else saved[1].updates}\\n")
    return saved

module.load_training = noted
(folder / f"{node}.pid").write_text(str(os.getpid()))
module.train(preset, load_clips(Path(sys.argv[1])), out=folder / "tiny.safetensors", recipe=recipe, save_every_minutes=0.005,
    on_progress=lambda progress: time.sleep(0.03))
""".replace("UPDATES", str(UPDATES))


@pytest.fixture
def start(
    tmp_path: Path, write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]
) -> Iterator[Callable[[str], Any]]:
    """start("a"): the agent of a node, with one process. All of them meet at a port of node a."""
    motion = write_motion_file([make_walker_clip(f"clip{n}", 40 + n, seed=n, split="train") for n in range(5)])
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "posemoe_edge").symlink_to(posemoe_edge.__path__[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agents = []

    def agent(node: str) -> Any:
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nnodes",
            "2",
            "--nproc-per-node",
            "1",
            "--max-restarts",
            "10",  # as docs/how-to/scale.md has it: a node may begin anew before the other one has noticed
        ]
        launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "tests"]
        launcher += ["--rdzv-conf", f"is_host={int(node == 'a')}", "--local-addr", "127.0.0.1", "--monitor-interval", "0.1"]
        environment = os.environ | {"PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # else a restart may read the addresses of dead processes
        process = subprocess.Popen(
            [*launcher, str(script), str(motion), str(tmp_path), node], env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=(tmp_path / f"{node}.err").open("w"),
        )  # fmt: skip
        agents.append(process)
        return process

    yield agent
    for process in agents:
        if process.poll() is None:
            process.terminate()  # it ends its process, too
            process.wait(timeout=60)


def saved_updates(folder: Path) -> int:
    path = folder / "tiny.json"
    return int(json.loads(path.read_text())["training"]["updates"]) if path.exists() else 0


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def resumes(folder: Path, node: str) -> list[int]:
    lines = [line.split() for line in (folder / "resumed.txt").read_text().splitlines()]
    return [int(updates) for name, updates in lines if name == node]


def test_a_training_on_two_nodes_survives_a_process_and_a_node(start: Callable[[str], Any], tmp_path: Path) -> None:
    first, second = start("a"), start("b")
    wait_for(lambda: saved_updates(tmp_path) > 0, "nothing was saved")
    os.kill(int((tmp_path / "b.pid").read_text()), signal.SIGKILL)  # one process: its agent starts all again
    wait_for(lambda: len(resumes(tmp_path, "b")) == 2, "b was not started again")
    resumed = resumes(tmp_path, "b")[1]
    assert resumed > 0
    wait_for(lambda: saved_updates(tmp_path) > resumed, "the training did not go on")

    os.killpg(second.pid, signal.SIGKILL)  # the node: the agent, and its process, which has a group of its own
    os.kill(int((tmp_path / "b.pid").read_text()), signal.SIGKILL)
    kept = saved_updates(tmp_path)
    load_checkpoint(tmp_path / "tiny.safetensors")  # it is whole, whenever the node died
    first.terminate()
    first.wait(timeout=60)
    again = start("a"), start("c")  # the same lines, on another node
    for agent in again:
        agent.wait(timeout=120)
    errors = [(tmp_path / f"{node}.err").read_text()[-1500:] for node in "ac"]
    assert [agent.returncode for agent in again] == [0, 0], errors
    assert resumes(tmp_path, "c")[-1] == resumes(tmp_path, "a")[-1] >= kept > 0
    _, record = load_checkpoint(tmp_path / "tiny.safetensors")
    training = record["training"]
    assert training["updates"] == UPDATES and training["processes"] == 2 and training["runs"] == 3
