"""PyTorch as an engine of the runtime, and as the reference of a shadow."""
