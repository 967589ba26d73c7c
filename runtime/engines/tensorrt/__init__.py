"""TensorRT: plans, their builder, and the engine that runs them."""
