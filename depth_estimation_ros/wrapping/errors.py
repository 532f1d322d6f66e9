"""What goes wrong when a network is wrapped."""


class WrapError(ValueError):
    """A network that cannot be wrapped; the message says why and what to do."""
