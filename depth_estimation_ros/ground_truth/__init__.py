"""Ground truth depth, transformed into the view of the image."""
