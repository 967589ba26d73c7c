"""Two graphs side by side: where, layer by layer, they begin to differ in the middle of a stream."""
