"""Parts of ``benchmarks/real.py``: real clips with a truth, what is run on them, and how it is scored."""
