"""Published weights: download, read, and write as a model."""
