"""ONNX graphs: their layers, how they are edited, and what half precision makes of them."""
