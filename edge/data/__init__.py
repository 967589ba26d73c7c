"""Training data: motion-capture clips, virtual cameras, and the takes that a lifter is trained and judged on."""
