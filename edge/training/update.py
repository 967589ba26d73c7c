"""One update of a lifter by a batch, operation by operation or replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..models.lifter import Lifter
from ..models.losses import LOSSES, sigma_loss, velocity_loss
from ..models.mixer import Mixer
from ..scenes.scenes import SceneBatch
from .recipe import Recipe

SIGMA_WEIGHT = 0.01  # its gradient reaches the head of sigma alone; small, so that it does not count when gradients are clipped
WARM_UP = 3  # updates before one is captured: they allocate the optimizers' states and the libraries' workspaces


class Update:
    """The loss of a batch, its gradient, and a step of the optimizers.

    Args:
        lift: the lifter behind Human3.6M's joints, as ``SkeletonAdapter`` gives it, possibly compiled or distributed.
        model: the lifter itself.
        optimizers: of its weights.
        recipe: the loss, how gradients are clipped, and whether matrix products are computed in bfloat16.
    """

    def __init__(
        self,
        lift: nn.Module,
        model: Lifter,
        optimizers: Sequence[torch.optim.Optimizer],
        recipe: Recipe,
    ) -> None:
        self.lift, self.model, self.optimizers, self.recipe = lift, model, optimizers, recipe
        self._bfloat16 = recipe.half and _has_fast_bfloat16(next(model.parameters()).device)

    def __call__(self, state: Tensor | None, batch: SceneBatch, single: SceneBatch | None) -> tuple[Tensor, Tensor | None]:
        """The loss of the batch, and the state after it, both detached from the gradient.

        Args:
            state: before the batch; without one its rows are windows.
            single: single frames, whose loss is added, but not returned.
        """
        recipe, target, reset = self.recipe, batch.pose_m, batch.reset
        with torch.autocast(target.device.type, torch.bfloat16, enabled=self._bfloat16):
            # All windows of a batch have one rate, so one row of dt is enough.
            timing = (None, batch.dt_s[:1], None) if state is None else (state, batch.dt_s, reset)
            predicted, state = self.lift(batch.keypoints, *timing)
        predicted = predicted.float()
        if predicted.shape[1] < target.shape[1]:  # seq2frame
            target, reset = target[:, target.shape[1] // 2, None], reset[:, :1]
        pose = predicted[..., :3]
        loss = LOSSES[recipe.loss](pose, target, reset) + recipe.velocity * velocity_loss(pose, target, reset)
        reported = loss.detach()
        if self.model.config.sigma:
            loss = loss + SIGMA_WEIGHT * sigma_loss(predicted[..., 3], pose, target)
        if single is not None:
            with torch.autocast(target.device.type, torch.bfloat16, enabled=self._bfloat16):
                lifted, _ = self.lift(single.keypoints, None, single.dt_s[:1])
            loss = loss + LOSSES[recipe.loss](lifted.float()[..., :3], single.pose_m, single.reset)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return reported, None if state is None else state.detach()


@dataclass(frozen=True, eq=False)
class CapturedUpdate:
    """A captured update: a replay reads ``inputs`` and writes the others, always at the same addresses."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    loss: Tensor
    state: Tensor | None


class GraphedUpdate:
    """An update that is captured as a CUDA graph and replayed.

    Small networks leave a GPU idle: starting an operation takes the processor longer than the operation itself. A replay
    starts all of them at once. Batches of one shape share a capture.
    """

    def __init__(self, update: Update) -> None:
        self.update = update
        self._stream = torch.cuda.Stream()
        self._calls: dict[tuple[object, ...], int] = {}
        self._captured: dict[tuple[object, ...], CapturedUpdate] = {}

    def __call__(self, state: Tensor | None, batch: SceneBatch, single: SceneBatch | None) -> tuple[Tensor, Tensor | None]:
        """As ``Update`` gives them, until the next call: a replay writes them where the last one did."""
        inputs = (*_tensors(batch), *(() if single is None else _tensors(single)), *(() if state is None else (state,)))
        key = (state is None, single is None, *(tensor.shape for tensor in inputs))
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if calls <= WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self.update(state, batch, single)
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if key not in self._captured:
            self._captured[key] = self._capture(state, batch, single)
        captured = self._captured[key]
        for buffer, given in zip(captured.inputs, inputs, strict=True):
            buffer.copy_(given)
        captured.graph.replay()
        return captured.loss, captured.state

    def _capture(self, state: Tensor | None, batch: SceneBatch, single: SceneBatch | None) -> CapturedUpdate:
        state = None if state is None else state.clone()
        batch = SceneBatch(*(tensor.clone() for tensor in _tensors(batch)))
        single = None if single is None else SceneBatch(*(tensor.clone() for tensor in _tensors(single)))
        inputs = (*_tensors(batch), *(() if single is None else _tensors(single)), *(() if state is None else (state,)))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss, after = self.update(state, batch, single)
        return CapturedUpdate(graph, inputs, loss, after)


def can_be_graphed(model: Lifter, recipe: Recipe) -> bool:
    """Whether updates of a lifter on its device can be captured.

    Not those of Muon, whose rates are numbers of the host, nor those of several processes, which talk to one another.
    """
    on_gpu = next(model.parameters()).is_cuda
    mixers_allow = all(module.capturable for module in model.modules() if isinstance(module, Mixer))
    return on_gpu and mixers_allow and not (recipe.muon or recipe.compiled or dist.is_initialized())


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 in hardware; a processor that does not is many times slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _tensors(batch: SceneBatch) -> tuple[Tensor, ...]:
    return batch.keypoints, batch.pose_m, batch.dt_s, batch.reset
