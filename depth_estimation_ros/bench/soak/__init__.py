"""Long runs of camera and node: whether memory, handles or latency grow."""
