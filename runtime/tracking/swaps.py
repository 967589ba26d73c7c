"""Left and right that a detector exchanges, noticed because no limb jumps to the other side of the body, and undone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..pose.skeleton import Skeleton

_GROUPS = {"arms": ("shoulder", "elbow", "wrist"), "legs": ("hip", "knee", "ankle")}
_STATES = ((), ("arms",), ("legs",), ("arms", "legs", "face"))  # what the detector exchanges
_LEAST = 1e-9

# How fast the way from a right joint to its left one changes, in square roots of the person's area (about 0.9 m) per second:
# that of wrists and ankles in brisk walking. Without a speed here a joint moves like the trunk.
_SPEED = {"wrist": 3.0, "ankle": 3.0, "elbow": 1.5, "knee": 1.5}
_TRUNK_SPEED = 0.7


@dataclass(frozen=True)
class SwapRules:
    """How a detector exchanges left and right, and how well it sees.

    Args:
        begin_per_s: rate at which it starts to exchange the arms, the legs, or the whole body.
        end_per_s: rate at which it ends that; higher, since it is right for most of the time.
        change_per_s: rate at which it goes on to exchange something else.
        error: standard deviation of a joint, in square roots of the person's area.
        most: the most that one pair of joints counts against a labelling, in nats, so that one error of the detector decides
            nothing.
    """

    begin_per_s: float = 0.1
    end_per_s: float = 6.0
    change_per_s: float = 0.5
    error: float = 0.03
    most: float = 6.0


class SwapFilter:
    """Follows what a detector exchanges of one person: nothing, the arms, the legs, or left and right altogether.

    For each of these four it keeps the most likely history that ends there (Viterbi's method): where the way from each right
    joint to its left one then is, and the history's log likelihood. A history is likely if these ways go on steadily and
    little is exchanged. Near the moment at which left and right pass each other both labellings are steady, and the frame
    decides nothing; so a person who turns around is left as is. The face is too small to say much. It is taken to be
    exchanged with the whole body only.

    Which of two steady labellings is right cannot be seen in the motion: it is the one in which less time is exchanged. A
    detector that is wrong in the first frames is believed until it has been right for as long as it was wrong.

    Args:
        skeleton: of the detections.
        rules: None takes the defaults.
    """

    def __init__(self, skeleton: Skeleton, rules: SwapRules | None = None) -> None:
        self.rules = rules or SwapRules()
        self._left, self._right = np.array(skeleton.left, np.intp), np.array(skeleton.right, np.intp)
        names = [skeleton.joints[i].rpartition("_")[2] for i in skeleton.left]
        group_of = {name: group for group, members in _GROUPS.items() for name in members}
        exchanged = np.array([[group_of.get(name, "face") in state for name in names] for state in _STATES])
        self._sign = np.where(exchanged, -1.0, 1.0)  # (4, P) of a pair's way, in each state
        self._heard = np.array([float(name in group_of) for name in names])  # (P,) without the face
        self._speed = np.array([_SPEED.get(name, _TRUNK_SPEED) for name in names])
        self._orders = [_order(len(skeleton), self._left[pairs], self._right[pairs]) for pairs in exchanged]
        self._likelihood: F64 | None = None  # (4,) logarithms, the best is 0
        self._way_px = np.zeros((len(_STATES), len(names), 2))
        self._spread_px = np.full((len(_STATES), len(names)), np.inf)  # standard deviations of the ways

    def update(self, points_px: F64, *, size_px: float, elapsed_s: float) -> NDArray[np.intp] | None:
        """(J,) the order of the joints that undoes what this detection most likely exchanges; None if that is nothing.

        Args:
            points_px: (J, 3) x, y, score, finite.
            size_px: square root of the person's area.
            elapsed_s: since the last detection; of no account in the first one.
        """
        rules = self.rules
        way_px = points_px[self._left, :2] - points_px[self._right, :2]
        ways_px = self._sign[:, :, None] * way_px  # (4, P, 2) in each state
        weight = np.minimum(points_px[self._left, 2], points_px[self._right, 2]) * self._heard  # (P,)
        error_px = math.sqrt(2) * rules.error * size_px
        if self._likelihood is None:
            rarity = math.log(rules.begin_per_s / (rules.end_per_s + rules.begin_per_s))
            self._likelihood = np.array([0.0] + [rarity] * (len(_STATES) - 1))
            self._way_px = ways_px
            self._spread_px = np.where(weight > _LEAST, error_px, np.inf) * np.ones((len(_STATES), 1))
            return None

        spread_px = self._spread_px + self._speed * size_px * elapsed_s
        known = np.isfinite(spread_px)
        variance = np.where(known, spread_px, 0.0) ** 2
        off2 = ((ways_px[None] - self._way_px[:, None]) ** 2).sum(axis=-1)  # (4 before, 4 now, P)
        misfit = off2 / (2 * (variance + error_px**2))[:, None]
        cost = np.where(known[:, None], weight * misfit / (1 + misfit / rules.most), 0.0)
        reached = self._likelihood[:, None] + _log_chances(rules, elapsed_s) - cost.sum(axis=-1)
        before = reached.argmax(axis=0)
        now = np.arange(len(_STATES))
        self._likelihood = reached[before, now] - reached.max()

        # Kalman's gain; a way that fits badly, such as that of a joint between both sides, takes a small part of the step.
        gain = weight * variance[before] / (variance[before] + error_px**2) / (1 + misfit[before, now] / rules.most) ** 2
        new = ~known[before] & (weight > _LEAST)
        gain = np.where(new, 1.0, np.where(known[before], gain, 0.0))
        start_px = self._way_px[before]
        self._way_px = start_px + gain[..., None] * (ways_px - start_px)
        after = np.where(new, error_px**2, (1 - gain) * variance[before])
        self._spread_px = np.where(known[before] | new, np.sqrt(after), np.inf)
        best = int(self._likelihood.argmax())
        return self._orders[best] if best else None


def _log_chances(rules: SwapRules, elapsed_s: float) -> F64:
    """(4 before, 4 now) logarithms of the chances to pass from state to state, nothing exchanged first."""
    count = len(_STATES)
    rates = np.full((count, count), rules.change_per_s, np.float64)
    rates[0], rates[:, 0] = rules.begin_per_s, rules.end_per_s
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    # The matrix exponential of a short time, by one implicit step: rows stay positive and sum to 1.
    return np.asarray(np.log(np.linalg.inv(np.eye(count) - rates * max(elapsed_s, 1e-3))))


def _order(joints: int, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.intp]:
    """(J,) the joints in their order, with these pairs exchanged."""
    order = np.arange(joints)
    order[left], order[right] = right, left
    return order
