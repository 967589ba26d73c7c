"""Confidence intervals: how far an error, or the lead of a model, rests on which clips, or cameras and moments, were drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..runtime.arrays import F64
from ..runtime.errors import UsageError

DRAWS, SEED = 4000, 0  # of the bootstrap


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"

    def to_json(self) -> dict[str, float]:
        return {"mean": round(self.mean, 2), "low": round(self.low, 2), "high": round(self.high, 2)}


def interval(by_clip: Mapping[str, float], frames: Mapping[str, int]) -> Interval:
    """The mean over frames, by bootstrap over clips: frames of one clip are not independent of each other.

    Args:
        by_clip: the mean of each clip.
        frames: how many frames each has.
    """
    names = sorted(by_clip)
    if not names:
        raise UsageError("an interval over no clips", expected="at least one clip")
    values, weights = np.array([by_clip[name] for name in names]), np.array([frames[name] for name in names], np.float64)
    drawn = np.random.default_rng(SEED).integers(len(names), size=(DRAWS, len(names)))
    means = (values * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(np.average(values, weights=weights)), float(low), float(high))


def paired_interval(ours: Mapping[str, float], theirs: Mapping[str, float], frames: Mapping[str, int]) -> Interval:
    """The mean of ours minus theirs, clip by clip: what two models find hard alike cancels.

    Raises:
        UsageError: the two are of different clips.
    """
    if set(ours) != set(theirs):
        raise UsageError("two models on different clips", expected="the same clips, cameras and noise for both")
    return interval({name: ours[name] - theirs[name] for name in ours}, frames)


def crossed_interval(table: F64) -> Interval:
    """The mean of a table, by bootstrap over its rows and its columns, as of cameras that film the same moments.

    Cells of a row have the camera in common, those of a column the moment. Both are drawn with replacement, each by itself, and
    the mean is over the cells where they meet (Owen's pigeonhole bootstrap, which errs to the wide side).

    Args:
        table: (rows, columns); not a number where nothing was measured.
    """
    measured = np.isfinite(table)
    if not measured.any():
        raise UsageError("an interval over nothing", expected="at least one cell that was measured")
    rng, (rows, columns) = np.random.default_rng(SEED), table.shape
    of_rows = rng.multinomial(rows, np.full(rows, 1 / rows), size=DRAWS).astype(np.float64)  # how often each is drawn
    of_columns = rng.multinomial(columns, np.full(columns, 1 / columns), size=DRAWS).astype(np.float64)
    sums, counts = (
        np.einsum("dr,rc,dc->d", of_rows, cells, of_columns, optimize=True)
        for cells in (np.where(measured, table, 0.0), measured.astype(np.float64))
    )
    low, high = np.percentile(sums[counts > 0] / counts[counts > 0], (2.5, 97.5))
    return Interval(float(table[measured].mean()), float(low), float(high))
