"""Evaluation of depth maps: accuracy metrics and reports."""
