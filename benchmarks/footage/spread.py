"""How sure the errors and leads are: 95 % intervals by bootstrap over the cameras and over blocks of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from posemoe_edge.edge.intervals import Interval, crossed_interval
from posemoe_edge.runtime.arrays import F64

Row = dict[str, Any]

BLOCK = 20
"""Frames of a block, a third of a second: an error lasts for several frames, so that single ones are not independent."""


def block_means(errors: Mapping[str, F64]) -> F64:
    """(cameras, blocks) means of the errors (T,) of each camera; not a number where the person is missed throughout."""
    longest = max(map(len, errors.values()))
    padded = np.full((len(errors), -(-longest // BLOCK) * BLOCK), np.nan)
    for row, values in zip(padded, errors.values(), strict=True):
        row[: len(values)] = values
    blocks = padded.reshape(len(errors), -1, BLOCK)
    found = np.isfinite(blocks)
    sums, counts = np.where(found, blocks, 0.0).sum(axis=-1), found.sum(axis=-1)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def to_json(table: F64) -> list[list[float | None]]:
    """Rounded, with None where nothing is."""
    return [[round(float(value), 2) if np.isfinite(value) else None for value in row] for row in table]


def interval_of(row: Row, name: str) -> Interval | None:
    """The interval of an error of a row; None if it has none."""
    table = _table(row, name)
    return crossed_interval(table) if np.isfinite(table).any() else None


def leads(rows: Sequence[Row], name: str = "mpjpe") -> list[Row]:
    """MediaPipe's error less ours, block by block, for each pair with one network: what is hard for both cancels."""
    peers = {row["front_end"].split()[-1]: row for row in rows if row["front_end"].startswith("MediaPipe ")}
    found = []
    for row in rows:
        peer = peers.get(row["front_end"].rpartition(":")[2])
        if peer is None or not row["front_end"].startswith("blazepose:"):
            continue
        ahead = _table(peer, name) - _table(row, name)
        if np.isfinite(ahead).any():
            system = {key: row[key] for key in ("front_end", "weights", "camera")}
            found.append({**system, "over": peer["front_end"], **crossed_interval(ahead).to_json()})
    return found


def _table(row: Row, name: str) -> F64:
    return np.array(row.get("blocks", {}).get(name, [[None]]), np.float64)
