"""ONNX graphs: their linear layers, how they are edited, and how half precision rounds them."""
