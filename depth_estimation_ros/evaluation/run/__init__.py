"""Run of an evaluation: slices of work, worker processes and checkpoints."""
