"""Accuracy gained by scale anchoring: ``python -m training.anchor_study --data FOLDER``."""
