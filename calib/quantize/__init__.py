"""INT8: ranges, quantised weights, Q/DQ nodes, and which layers may be INT8 within a budget."""
