"""Serving an artefact with NVIDIA's Triton, and lifting people on such a server. Nothing here is a server of our own."""

from .config import ServingLimits
from .repository import ModelFolder, write_repository

__all__ = ["ModelFolder", "ServingLimits", "write_repository"]
