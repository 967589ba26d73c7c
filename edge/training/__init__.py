"""Training on real motion."""
