"""Results of compared frames and their summary."""
