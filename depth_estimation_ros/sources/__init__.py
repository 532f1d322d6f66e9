"""Where images come from: folders, videos, webcams and bags, as iterables of frames. Only bags need ROS."""

from __future__ import annotations

import re
from pathlib import Path

from depth_estimation_ros.bags.storage import is_bag
from depth_estimation_ros.sources.files import IMAGE_SUFFIXES, Folder, SingleImage, Video, Webcam
from depth_estimation_ros.sources.frame import Frame, Source

__all__ = ["Frame", "Source", "open_source"]


def open_source(
    source: str,
    *,
    depth_scale: float = 0.001,
    image_topic: str = "",
    camera_info_topic: str | None = "",
    depth_topic: str = "",
) -> Source:
    """
    Open whatever a name stands for.

    Parameters
    ----------
    source : str
        An image, a folder of images, a video, a bag (``.bag``, ``.mcap``, ``.db3``, or a folder of those), or the
        number of a webcam.
    depth_scale : float
        Metres per unit of depth PNGs beside a folder's images.
    image_topic, camera_info_topic, depth_topic : str
        Topics of a bag; empty takes the first that fits. A camera_info_topic of None: the camera is known otherwise.

    Raises
    ------
    ValueError
        If there is no such thing, or it holds no images.
    """
    if re.fullmatch(r"\d+|/dev/video\d+", source):
        return Webcam(int(re.search(r"\d+", source).group()))
    if not source:
        raise ValueError("no source given; name an image, folder, video, bag or the number of a webcam")
    try:
        path = Path(source).expanduser()
        if not path.exists():
            raise ValueError(f"source '{source}' does not exist")
        bag = is_bag(path)
    except (OSError, RuntimeError) as error:  # a name that is too long, of nobody's home, or may not be looked into
        raise ValueError(f"source '{source}' cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if bag:
        from depth_estimation_ros.sources.bag import Bag

        return Bag(path, image_topic, camera_info_topic, depth_topic)
    if path.is_dir():
        return Folder(path, depth_scale)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SingleImage(path)
    return Video(path)
