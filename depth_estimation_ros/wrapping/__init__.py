"""Make a model of a network that was published elsewhere. The command is ``wrap_model``."""
