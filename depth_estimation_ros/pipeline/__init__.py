"""Processing of one frame, from the image message to the output messages."""
