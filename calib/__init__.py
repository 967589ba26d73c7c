"""What a graph does over time: closed-loop rollouts, true half rounding, drift and its budget."""
