"""A recording as images with their ground truth."""
