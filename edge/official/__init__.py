"""Official checkpoints of the published systems, converted to the networks of this package."""
