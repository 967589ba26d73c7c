"""Ours beside other ways to lift a live stream, on one processor thread: ``python benchmarks/peers``."""
