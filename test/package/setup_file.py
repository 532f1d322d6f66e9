"""What setup.py says."""

from conftest import REPOSITORY


def distribution():
    """Return the distribution that setup.py describes, as the environment is now."""
    from distutils.core import run_setup

    import setuptools  # noqa: F401 which makes distutils its own

    return run_setup(str(REPOSITORY / "setup.py"), stop_after="init")


def install_requires() -> list[str]:
    """Return what pip installs with the package; older setuptools keeps lines with a marker among the extras."""
    found = distribution()
    of_markers = {extra[1:]: lines for extra, lines in found.extras_require.items() if extra.startswith(":")}
    return [*found.install_requires, *(f"{line}; {marker}" for marker, lines in of_markers.items() for line in lines)]
