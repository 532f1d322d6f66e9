"""What setup.py says."""

from conftest import REPOSITORY


def distribution():
    """Return the distribution that setup.py describes, as the environment is now."""
    from distutils.core import run_setup

    import setuptools  # noqa: F401 which makes distutils its own

    return run_setup(str(REPOSITORY / "setup.py"), stop_after="init")
