"""What scale anchoring gains: ``python -m training.anchor_study --data FOLDER``."""
