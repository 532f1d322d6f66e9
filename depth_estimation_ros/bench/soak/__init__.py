"""Soak test of camera and node: checks whether memory, handles or latency grow in a long run."""
