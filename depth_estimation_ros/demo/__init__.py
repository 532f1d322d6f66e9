"""Demo: runs a camera and the node as separate processes, and records, measures and draws their output."""
