"""Recordings as sequences of images with ground truth."""
