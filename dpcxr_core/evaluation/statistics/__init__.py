"""Numbers from labels, scores and weights, and nothing else."""
