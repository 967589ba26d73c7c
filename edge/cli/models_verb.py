"""posemoe-edge models"""

from __future__ import annotations

from typing import Any

import click

from ...runtime.artefact.locate import DEFAULT_MODEL, ZOO
from ...runtime.command_line import command_line
from ..preset_table import read_preset_table
from .output import Output, Result, megabytes, verb


@click.command("models")
@click.option("--table", is_flag=True, help="Compare with the figures that the papers report.")
@verb
def command(out: Output, table: bool) -> Result:
    """List the presets: topology, mixer, size, cost, latency; with --table beside the figures that the papers report."""
    rows = [{**row, "weights": (ZOO / row["name"]).is_dir()} for row in read_preset_table()]
    (_compare if table else _list)(out, rows)
    return Result({"models": rows}, next_command=command_line("export", DEFAULT_MODEL, "--precision", "fp16"))


def _list(out: Output, rows: list[dict[str, Any]]) -> None:
    heading = f"{'name':<26}{'topology':<13}{'mixer':<11}{'mode':<8}"
    out.print(f"{heading}{'params':>8}{'MACs/new frame':>16}{'latency':>9}{'state':>10}  weights")
    for row in rows:
        cost = f"{row['params'] / 1e6:7.2f}M{row['macs_per_frame'] / 1e6:15.1f}M{row['latency_frames']:>9}"
        state = megabytes(int(row["state_bytes"])) if row["state_bytes"] else "-"
        weights = "shipped" if row["weights"] else "-"
        kind = f"{row['name']:<26}{row['topology']:<13}{row['mixer']:<11}{row['mode']:<8}"
        out.print(f"{kind}{cost}{state:>10}  {weights}")


def _compare(out: Output, rows: list[dict[str, Any]]) -> None:
    """The counts of each published system beside those of its paper, and the paper's figures, which were not measured here."""
    out.print(f"{'':<26}{'':>7}{'parameters':>18}{'all MACs':>9}{'MACs as the paper counts':>26}")
    out.print(f"{'name':<26}{'frames':>7}{'here':>9}{'paper':>9}{'here':>8}{'here':>10}{'paper':>8} {'':<7} figures (mm, %)")
    for row in rows:
        paper = row["published"]
        if paper is None:
            continue
        counts = f"{row['params'] / 1e6:8.2f}M{_or_dash(paper['params'], 1e6, 'M', 9)}"
        counted = row["macs_linear" if paper["counts"] == "linear" else "macs_thop"]
        macs = f"{row['macs_all'] / 1e9:7.1f}G{counted / 1e9:9.2f}G{_or_dash(paper['macs'], 1e9, 'G', 8)} {paper['counts']:<7}"
        figures = ", ".join(f"{name} {value:g}" for name, value in paper["figures"].items())
        out.print(f"{row['name']:<26}{row['frames']:>7}{counts}{macs}  {figures}")
    out.print("\nremarks:")
    remarks: dict[str, list[str]] = {}
    for row in rows:
        if row["published"] and row["published"]["remark"]:
            remarks.setdefault(row["published"]["remark"], []).append(row["name"])
    for remark, names in remarks.items():
        out.print(f"  {', '.join(names)}: {remark}")


def _or_dash(value: float | None, unit: float, letter: str, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value / unit:{width - 1}.2f}{letter}"
