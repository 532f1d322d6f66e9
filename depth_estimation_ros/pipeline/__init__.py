"""One frame, from the image message to the messages that are made of it."""
