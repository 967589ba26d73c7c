"""Training data: motion-capture clips, virtual cameras, and the pose sequences that lifters are trained and evaluated on."""
