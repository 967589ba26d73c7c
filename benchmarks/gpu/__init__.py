"""Everything that docs/results/performance.md measures on a machine with a GPU: ``python benchmarks/gpu``."""
