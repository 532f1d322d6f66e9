"""CONTRIBUTING.md says where to find what."""

from __future__ import annotations

import re

from conftest import REPOSITORY

PACKAGE = REPOSITORY / "depth_estimation_ros"


def test_the_map_of_the_code_names_every_package_and_no_other():
    named = set(re.findall(r"`([a-z_/]+)/`", (REPOSITORY / "CONTRIBUTING.md").read_text().split("## Rules")[0]))
    packages = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py")} - {"."}
    assert packages
    assert packages - named == set()
    assert [
        name for name in named - packages if not (PACKAGE / name).is_dir() and not (REPOSITORY / name).is_dir()
    ] == []
