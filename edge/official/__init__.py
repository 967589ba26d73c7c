"""Official checkpoints of the published systems, read into networks of ours."""
