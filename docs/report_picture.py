"""
Makes docs/report.jpg: the report of `evaluate_bag` on a walk through a synthetic room, on a computer and on a phone.

    python docs/report_picture.py    # from the repository's root; needs Chromium
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "test")]

import bags  # noqa: E402

from depth_estimation_ros.tools.evaluate_bag import main as evaluate_bag  # noqa: E402

WIDE, NARROW = 1100, 390  # pixels
HEIGHT = 1960


def screenshot(page: Path, width: int, height: int) -> np.ndarray:
    """Return what a browser window shows of a page, uint8 [height, width, 3] BGR."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("the picture is taken by Chromium: sudo apt install chromium")
    picture = page.with_suffix(".png")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
    subprocess.run([browser, *options, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True)
    return cv2.imread(str(picture))


def main() -> int:
    """Make the bag, its report, and the picture."""
    with tempfile.TemporaryDirectory() as folder:
        bag = bags.synthetic_room(Path(folder) / "synthetic_room", count=200, rate=5.0)
        if code := evaluate_bag([str(bag), "--output", f"{folder}/report", "--no-bag-output"]):
            return code
        page = Path(folder) / "report" / "report.html"
        wide = screenshot(page, WIDE, HEIGHT)
        # The phone shows the page from where the computer's window ends.
        narrow = screenshot(page, NARROW, 3 * HEIGHT)[2 * HEIGHT :]
    gap = np.full((HEIGHT, 24, 3), 200, np.uint8)
    both = np.hstack([wide, gap, narrow[:HEIGHT]])
    small = cv2.resize(both, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(REPOSITORY / "docs" / "report.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 72])
    return 0


if __name__ == "__main__":
    sys.exit(main())
