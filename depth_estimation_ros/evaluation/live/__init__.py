"""A bag played through the real node."""
