"""posemoe-edge.toml: flags override the environment, the environment the file, the file the defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def configure(workdir: Path, text: str) -> None:
    (workdir / "posemoe-edge.toml").write_text(text)


def test_flags_override_the_environment_and_the_environment_the_file(
    run_cli: Call, workdir: Path, retention_artefact: Path, dssm_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames(*more: object) -> tuple[str, int]:
        record = run_cli("run", "synthetic://walk", "--json", *more).json
        return record["model"], record["frames"]

    configure(workdir, f'[run]\nmodel = "{retention_artefact}"\nframes = 7\n')
    assert frames() == ("tiny-retention", 7)
    monkeypatch.setenv("POSEMOE_EDGE_RUN_FRAMES", "5")
    assert frames() == ("tiny-retention", 5)
    monkeypatch.setenv("POSEMOE_EDGE_RUN_MODEL", str(dssm_artefact))
    assert frames() == ("tiny-dssm", 5)
    assert frames("--frames", 3, "--model", retention_artefact) == ("tiny-retention", 3)


def test_paths_are_relative_to_the_file(run_cli: Call, workdir: Path, copied_artefact: Path) -> None:
    copied_artefact.rename(workdir / "mine")
    configure(workdir, '[run]\nmodel = "mine"\nframes = 2\n')
    assert run_cli("run", "synthetic://walk", "--json").json["model"] == "tiny-retention"


def test_several_sinks_may_be_configured(run_cli: Call, workdir: Path, retention_artefact: Path) -> None:
    configure(workdir, f'[run]\nmodel = "{retention_artefact}"\nframes = 4\nsink = ["jsonl:a.jsonl", "jsonl:b.jsonl"]\n')
    assert run_cli("run", "synthetic://walk", "--json").json["sinks"] == ["jsonl:a.jsonl", "jsonl:b.jsonl"]
    assert (workdir / "a.jsonl").read_text() == (workdir / "b.jsonl").read_text()


def test_a_camera_may_have_a_name(run_cli: Call, workdir: Path, retention_artefact: Path) -> None:
    configure(workdir, '[cameras]\nfront = "synthetic://walk?people=2"\nback = "camera7"\n')
    record = run_cli("run", "front", "--model", retention_artefact, "--frames", 3, "--json").json
    assert record["people"] == 2 and record["source"] == "front"
    assert "/dev/video7" in run_cli("run", "back", "--model", retention_artefact).err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run\n", "is not TOML"),
        ("frames = 3\n", "frames is not a table"),
        ("[run]\nframes = 'many'\n", "many"),
        ("[run]\nframes = 0\n", "0"),
        ("[run]\nfrmaes = 3\n", "unknown key 'frmaes'.*frames"),
    ],
)
def test_an_invalid_configuration_is_refused(
    text: str, message: str, run_cli: Call, workdir: Path, retention_artefact: Path
) -> None:
    configure(workdir, text)
    result = run_cli("run", "synthetic://walk", "--model", retention_artefact, "--json")
    assert result.code == 2 and result.json["error"] == "UsageError"
    import re

    assert re.search(message, result.err, re.DOTALL)


def test_a_table_of_an_unknown_verb_is_refused(run_cli: Call, workdir: Path, retention_artefact: Path) -> None:
    configure(workdir, "[rnu]\nframes = 3\n")
    assert run_cli("run", "synthetic://walk", "--frames", 2, "--model", retention_artefact).code == 2


def test_a_camera_that_is_no_text_is_refused(run_cli: Call, workdir: Path, retention_artefact: Path) -> None:
    configure(workdir, "[cameras]\nfront = 2\n")
    assert run_cli("run", "front", "--model", retention_artefact).code == 2


def test_motion_that_only_a_configuration_names_may_be_absent(run_cli: Call, workdir: Path, copied_artefact: Path) -> None:
    configure(workdir, '[verify]\ndata = "nowhere.npz"\nframes = 30\nmean_mm = 99\np99_mm = 99\nmax_mm = 99\nslope_mm = 999\n')
    result = run_cli("verify", copied_artefact, "--json")
    assert result.code == 0 and result.json["motion"]["kind"] == "procedural walkers" and "instead of real motion" in result.err
    assert run_cli("verify", copied_artefact, "--data", "nowhere.npz").code == 3
