from __future__ import annotations

import torch
from posemoe_edge.edge.training.optimizers import Muon, orthogonal

SHAPES = ((64, 64), (64, 64), (16, 64), (64, 16))


def test_muon_steps_as_torchs_own() -> None:
    torch.manual_seed(0)
    theirs = [torch.randn(shape).requires_grad_() for shape in SHAPES]
    ours = [p.detach().clone().requires_grad_() for p in theirs]
    a = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    b = Muon(ours, lr=0.01, weight_decay=0.1)
    start = [p.detach().clone() for p in ours]
    for _ in range(5):
        for p, q in zip(theirs, ours, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q, before in zip(theirs, ours, start, strict=True):
        torch.testing.assert_close(q, p, atol=1e-3, rtol=0)  # theirs rounds to bfloat16
        assert (q - before).abs().mean() > 0.005


def test_a_step_is_nearly_orthogonal_whatever_the_shape() -> None:
    torch.manual_seed(0)
    for rows, columns in ((32, 32), (16, 64), (64, 16)):
        orthogonalised = orthogonal(torch.randn(3, rows, columns))
        sizes = torch.linalg.svdvals(orthogonalised)
        assert orthogonalised.shape == (3, rows, columns) and sizes.min() > 0.2 and sizes.max() < 1.4
    assert torch.equal(orthogonal(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_a_matrix_without_a_gradient_does_not_change() -> None:
    p, q = (torch.ones(4, 4).requires_grad_() for _ in range(2))
    optimizer = Muon([p, q], lr=0.1, weight_decay=0.0)
    p.grad = torch.eye(4)
    optimizer.step()
    assert not torch.equal(p, torch.ones(4, 4)) and torch.equal(q, torch.ones(4, 4))
    assert set(optimizer.state[p]) == {"momentum_buffer"} and not optimizer.state[q]
