"""Errors of backends."""


class BackendError(RuntimeError):
    """Error for a backend that is not available or has failed; the message says why and what to do."""


class EngineLostError(BackendError):
    """Error for a device that this process can no longer use."""
