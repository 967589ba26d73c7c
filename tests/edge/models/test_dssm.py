"""Both ways in which DSSM weights pairs of frames, and when each is used."""

from __future__ import annotations

import pytest
import torch
from posemoe_edge.edge.models.dssm import DSSM
from posemoe_edge.edge.models.timing import Timing
from torch import Tensor

FRAMES = 30


def stepped(dssm: DSSM, u: Tensor, state: Tensor, timing: Timing) -> Tensor:
    """(B, T, J, C), frame by frame."""
    answers = []
    for t in range(u.shape[1]):
        now = Timing(
            timing.elapsed[:, t : t + 1].expand(len(u), 1), None if timing.reset is None else timing.reset[:, t : t + 1]
        )
        y, state = dssm.step(torch.ones_like(u[:, t]), torch.ones_like(u[:, t]), u[:, t], state, now)
        answers.append(y)
    return torch.stack(answers, dim=1)


@pytest.mark.parametrize("decays_fast", [False, True], ids=["slow decay", "decay within a call"])
@pytest.mark.parametrize("one_timing", [False, True], ids=["a timing each", "one timing"])
def test_a_call_equals_its_steps_however_fast_it_decays(decays_fast: bool, one_timing: bool) -> None:
    torch.manual_seed(0)
    dssm = DSSM(4, joints=3, size=4).double()
    if decays_fast:
        with torch.no_grad():
            dssm.log_rate[:] = torch.tensor([6.0, -1.0])  # e^6 a step: its inverse over a call is beyond any float
    u, state = torch.randn(2, FRAMES, 3, 4).double(), torch.randn(2, *dssm.state_shape).double()
    elapsed = torch.rand(1 if one_timing else 2, FRAMES).double() * 3 + 0.1
    reset = None if one_timing else torch.rand(2, FRAMES) < 0.1
    timing = Timing(elapsed, reset)
    assert dssm._invertible(timing) != decays_fast
    ones = torch.ones_like(u)
    torch.testing.assert_close(dssm.chunk(ones, ones, u, state, timing)[0], stepped(dssm, u, state, timing), atol=1e-9, rtol=0)


def test_gradients_stay_finite_up_to_the_limit_of_invertible_decays() -> None:
    dssm = DSSM(4, joints=3, size=4)
    fastest = 59.0 / (FRAMES - 1) / dssm.log_step.detach().exp().max()
    with torch.no_grad():
        dssm.log_rate[:] = torch.log(fastest)
    timing = Timing(torch.ones(2, FRAMES))
    assert dssm._invertible(timing)
    u = torch.randn(2, FRAMES, 3, 4)
    y, _ = dssm.chunk(torch.ones_like(u), torch.ones_like(u), u, torch.randn(2, *dssm.state_shape), timing)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in dssm.parameters())
    exact = DSSM(4, joints=3, size=4).double()
    exact.load_state_dict(dssm.state_dict())
    ones = torch.ones_like(u).double()
    expected = exact.forward(ones, ones, u.double(), Timing(torch.ones(2, FRAMES).double()))
    got = dssm.forward(torch.ones_like(u), torch.ones_like(u), u, timing)
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-3)
