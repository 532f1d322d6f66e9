"""How good a depth map is: the metrics, and reports made of them."""
