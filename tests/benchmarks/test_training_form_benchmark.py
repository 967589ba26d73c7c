"""``benchmarks/training_form.py`` and the measurement of memory."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from posemoe_edge.edge.models import retention
from posemoe_edge.edge.models.timing import Timing
from torch.nn import functional as F

MEGABYTE = 1_000_000


@pytest.fixture
def peak() -> Any:
    return importlib.import_module("peak_memory").peak_mb


@pytest.fixture
def form() -> Any:
    return importlib.import_module("training_form")


def test_memory_that_is_held_counts_at_its_highest(peak: Any) -> None:
    def make() -> Any:
        kept = bytearray(b"a" * 40 * MEGABYTE)
        return lambda: len(bytearray(b"b" * 60 * MEGABYTE)) + len(kept)

    assert 100 <= peak(make, limit_gb=2.0) < 200


def test_what_takes_more_than_the_limit_has_no_figure(peak: Any) -> None:
    assert peak(lambda: lambda: bytearray(400 * MEGABYTE), limit_gb=0.1) is None


def test_an_error_of_the_work_is_raised_here(peak: Any) -> None:
    def fail() -> None:
        raise ValueError("no frames")

    with pytest.raises(ValueError, match="no frames"):
        peak(lambda: fail, limit_gb=2.0)


def test_causal_attention_sees_the_past_alone(form: Any) -> None:
    q, k, v = torch.randn(3, 2, 5, form.JOINTS, 16)
    got = form.CausalAttention()(q, k, v, Timing(torch.ones(1, 5)))
    q, k, v = (x.unflatten(-1, (form.HEADS, -1)).permute(0, 2, 3, 1, 4) for x in (q, k, v))
    hidden = torch.full((5, 5), -torch.inf).triu(1)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden).permute(0, 3, 1, 2, 4).flatten(-2)
    torch.testing.assert_close(got, expected)


def test_the_command_measures_every_form(form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = retention.LONGEST_WHOLE
    output, plot = tmp_path / "form.json", tmp_path / "form.png"
    options = ["--lengths", "4,6", "--frames", "12", "--dim", "16", "--rounds", "1", "--json", str(output), "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", ["training_form.py", *options])
    form.main()
    rows = json.loads(output.read_text())["rows"]
    assert [(row["T"], row["rows"]) for row in rows] == [(4, 3)] * len(form.FORMS) + [(6, 2)] * len(form.FORMS)
    assert all(row["us_a_frame"] > 0 and row["mb"] >= 0 for row in rows)
    assert own == retention.LONGEST_WHOLE
    assert plot.read_bytes().startswith(b"\x89PNG")
