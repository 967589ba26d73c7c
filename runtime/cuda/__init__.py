"""CUDA for the engines: a device, its memory, captured graphs. Nothing here imports an engine."""
