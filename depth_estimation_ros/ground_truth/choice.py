"""Choice of the depth image that belongs to an image."""

from __future__ import annotations

import re
from collections.abc import Iterable

from depth_estimation_ros.bags.messages import COMPRESSED
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.topics import Topics, depth_camera_info
from depth_estimation_ros.ground_truth.reader import ASSUMED, PROJECTED, REGISTERED, TruthReader

_STANDINGS = (REGISTERED, PROJECTED, ASSUMED)  # best first
_ALIGNED = re.compile(r"align|regist|to_rgb|to_color")


def standing(reader: BagReader, image: str, info: str, depth: str) -> str | None:
    """Return `TruthReader.standing` of a depth image; None if it cannot be transformed into the view of the image."""
    try:
        return TruthReader(reader, Topics(image, depth, info, depth_camera_info(reader, image, depth, info))).standing
    except ValueError:
        return None


def best_depth(reader: BagReader, image: str, info: str, depths: Iterable[str]) -> tuple[TruthReader | None, list[str]]:
    """
    Choose the depth image that most likely belongs to an image.

    Registered depth images are preferred to those that must be projected; then names decide.

    Parameters
    ----------
    reader : BagReader
        The bag.
    image, info : str
        Topics of the image and of its camera_info; the latter may be empty.
    depths : iterable of str
        Topics of depth images.

    Returns
    -------
    truth : TruthReader or None
        Reader of the chosen depth image; None if none can be used.
    problems : list of str
        A sentence for each depth image that cannot be used.
    """
    found, problems = [], []
    for depth in depths:
        topics = Topics(image, depth, info, depth_camera_info(reader, image, depth, info))
        try:
            found.append(TruthReader(reader, topics))
        except ValueError as error:
            problems.append(str(error))

    def rank(truth: TruthReader) -> tuple:
        name = truth.topics.depth
        compressed = reader.topics[name].kind == COMPRESSED
        return _STANDINGS.index(truth.standing), "truth" not in name, not _ALIGNED.search(name), compressed

    return min(found, key=rank, default=None), problems
