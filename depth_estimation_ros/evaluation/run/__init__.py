"""A run over bags: work in slices, processes, checkpoints."""
