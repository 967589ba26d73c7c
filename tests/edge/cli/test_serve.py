"""posemoe-edge serve, and run --server: with a double of Triton; `tests/real` has a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from posemoe_edge.edge.cli import run_verb

pytest.importorskip("tritonclient.grpc")

if TYPE_CHECKING:
    from triton_double import TritonDouble

Call = Callable[..., Any]


@pytest.fixture
def server(retention_artefact: Path, tmp_path: Path) -> Iterator[TritonDouble]:
    from triton_double import TritonDouble

    double = TritonDouble(retention_artefact, tmp_path)
    yield double
    double.kill()


def test_a_run_on_a_server_is_that_of_a_run_at_home(run_cli: Call, server: TritonDouble, retention_artefact: Path) -> None:
    source = ("run", "synthetic://walk?people=2", "--frames", 12, "--json")
    there, here = run_cli(*source, "--server", server.url), run_cli(*source, "--model", retention_artefact)
    assert (there.code, here.code) == (0, 0)
    same = ("model", "precision", "mode", "frames", "people", "poses", "refused", "view_from", "state_bytes")
    assert {name: there.json[name] for name in same} == {name: here.json[name] for name in same}
    assert there.json["mpjpe_mm"] == pytest.approx(here.json["mpjpe_mm"], abs=0.05)
    assert (there.json["server"], there.json["resumed"], there.json["engine"]) == (server.url, 0, "triton")
    assert (here.json["server"], here.json["resumed"]) == (None, None)
    assert server.held == 0  # everybody said goodbye


def test_a_run_says_that_the_server_was_lost_and_that_people_resumed(run_cli: Call, server: TritonDouble) -> None:
    server.break_after = 9
    result = run_cli("run", "synthetic://walk?people=2", "--frames", 12, "--server", server.url, "--json")
    assert result.code == 0 and result.json["resumed"] == 2 and result.json["poses"] == 24
    assert "was lost: " in result.err and "2 people go on there from 8 frames" in result.err


def test_a_run_without_its_server_refuses_frames_and_fails(
    run_cli: Call, server: TritonDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_verb, "SERVER_PATIENCE_S", 0.0)
    server.broken = True
    result = run_cli("run", "synthetic://walk", "--frames", 12, "--server", server.url, "--json")
    assert result.code == 1 and result.json["poses"] == 0 and result.json["refused"] == 12
    assert "is not there" in result.err and "nothing was lifted" in result.err
