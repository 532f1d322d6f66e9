"""Image sources: folders, videos, webcams and bags as iterables of frames. Only bags need ROS messages."""

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
    Open an image source by its name.

    Parameters
    ----------
    source : str
        An image, a folder of images, a video, a bag (``.bag``, ``.mcap``, ``.db3``, or a folder of those), or the
        number of a webcam.
    depth_scale : float
        Metres per unit of the depth PNGs that belong to the images of a folder.
    image_topic, camera_info_topic, depth_topic : str
        Topics of a bag; if empty, the one that fits best is used. If camera_info_topic is None, no camera_info is read.

    Raises
    ------
    ValueError
        If the source does not exist or has no images.
    """
    if webcam := re.fullmatch(r"(?:/dev/video)?(\d+)", source):
        return Webcam(int(webcam[1]))
    if not source:
        raise ValueError("no source given; name an image, folder, video, bag or the number of a webcam")
    try:
        path = Path(source).expanduser()
        if not path.exists():
            raise ValueError(f"source '{source}' does not exist")
        bag = is_bag(path)
    except (OSError, RuntimeError) as error:  # a name that is too long, an unknown home folder, or no permission
        raise ValueError(f"source '{source}' cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if bag:
        from depth_estimation_ros.sources.bag import Bag

        return Bag(path, image_topic, camera_info_topic, depth_topic)
    if path.is_dir():
        return Folder(path, depth_scale)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SingleImage(path)
    return Video(path)
