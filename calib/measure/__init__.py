"""Closed-loop rollouts, and what is measured on them: drift, accuracy, recovery, the statistics of tensors."""
