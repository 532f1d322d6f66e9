"""
Choose the pages of the documentation site.

Each page keeps its path in the repository, so that relative links between pages work on the site as they do on GitHub.
MkDocs calls `on_files` (`mkdocs.yml`).
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/**/*.md",
    "docs/*.jpg",
    "docs/*.css",
    "depth_estimation_ros/weights/*.md",
    "training/results/**/README.md",
    # Not of their folders `pictures`, which may show frames of a data set.
    "training/results/*/*.png",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the theme and the pages of the repository."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({path.relative_to(REPOSITORY).as_posix() for pattern in PAGES for path in REPOSITORY.glob(pattern)})
    pages = [File(path, str(REPOSITORY), config.site_dir, config.use_directory_urls) for path in paths]
    return Files(kept + pages)
