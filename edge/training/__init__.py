"""Training of lifters on motion capture and recorded sequences."""
