"""TensorRT and TensorRT for RTX: the plans, their builder, and the engine that runs them."""
