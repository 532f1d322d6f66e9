"""Ground truth depth in the view of the image."""
