"""Start and stop the nodes of this package as processes."""
