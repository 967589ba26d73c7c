"""posemoe-edge: a 3D human pose model, trained in PyTorch, becomes a certified, stateful, real-time component of a robot."""

from __future__ import annotations
