"""What export asks of a network: its forms, its shape, its weights. Any module that answers can be exported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from torch import Tensor
from torch.nn import Parameter


class LifterConfig(Protocol):
    """The part of a lifter's configuration that a graph's interface follows from; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def mixer(self) -> str: ...
    @property
    def window(self) -> int | None: ...
    @property
    def channels(self) -> int: ...
    @property
    def joints(self) -> int: ...
    @property
    def fps(self) -> float: ...


class Lifter(Protocol):
    """A network with ``forward`` for windows or with ``chunk`` and ``step`` for streams: see edge.models.posemoe.PoseMoE.

    Its modules that must stay float32 in a half-precision copy carry the attribute ``island = True``.
    """

    @property
    def config(self) -> LifterConfig: ...
    @property
    def state_shape(self) -> tuple[int, ...] | None: ...

    def initial_state(self, batch: int) -> Tensor: ...
    def __call__(self, x: Tensor) -> Tensor: ...
    def chunk(self, x: Tensor, state: Tensor, dt: Tensor | None, reset: Tensor | None) -> tuple[Tensor, Tensor]: ...
    def step(self, x: Tensor, state: Tensor, dt: Tensor | None, reset: Tensor | None) -> tuple[Tensor, Tensor]: ...
    def parameters(self) -> Iterator[Parameter]: ...
    def state_dict(self) -> dict[str, Any]: ...
