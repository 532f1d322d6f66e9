"""What several tests share: where real frames lie, and small models that keep the contract or break it."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def rgbd_data() -> Path:
    """Folder of real RGB-D frames, which may not be distributed with the package."""
    if not DATA.is_dir():
        pytest.skip(f"needs real RGB-D frames in {DATA}")
    return DATA
