"""The gap policy: its decision for every elapsed time."""

from __future__ import annotations

import math

import pytest
from posemoe_edge.runtime import GapPolicy, UsageError

POLICY = GapPolicy(decay_after_s=0.2, reset_after_s=2.0)


@pytest.mark.parametrize(
    ("dt_s", "seen", "action"),
    [
        (0.02, True, "none"),
        (0.1999, True, "none"),
        (0.2, True, "decay"),  # the limit itself
        (1.9999, True, "decay"),
        (2.0, True, "reset"),
        (1e6, True, "reset"),
        (0.02, False, "hold"),
        (0.5, False, "hold"),
        (5.0, False, "hold"),  # nobody is seen: nothing is fed, however long it lasts
    ],
)
def test_the_action_depends_on_the_length_and_on_whether_anybody_is_seen(dt_s: float, seen: bool, action: str) -> None:
    assert POLICY.decide(dt_s, seen=seen) == action


def test_nobody_is_lost_before_a_time_above_zero() -> None:
    assert GapPolicy(reset_after_s=0.5).lost_after_s > 0.5  # a person who comes back has the same id, and a new state
    for lost in (0.0, -1.0, math.nan):
        with pytest.raises(UsageError, match="lost_after_s > 0"):
            GapPolicy(lost_after_s=lost)


def test_a_policy_may_reset_at_once_and_never_decay() -> None:
    policy = GapPolicy(decay_after_s=0.5, reset_after_s=0.5)
    assert [policy.decide(dt, seen=True) for dt in (0.4, 0.5, 0.6)] == ["none", "reset", "reset"]
    assert GapPolicy(reset_after_s=math.inf).decide(1e9, seen=True) == "decay"


@pytest.mark.parametrize(("decay", "reset"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.5), (math.nan, 1.0), (0.2, math.nan)])
def test_a_policy_with_limits_in_the_wrong_order_is_refused(decay: float, reset: float) -> None:
    with pytest.raises(UsageError, match="0 < decay_after_s <= reset_after_s"):
        GapPolicy(decay_after_s=decay, reset_after_s=reset)
