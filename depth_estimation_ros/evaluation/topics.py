"""Which topics of a bag are the image, its intrinsics and the truth: as asked for, or guessed where that is certain."""

from __future__ import annotations

from dataclasses import dataclass

from depth_estimation_ros.sources.bag_messages import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    INFO,
    POSES,
    SCAN,
    TRANSFORMS,
    frame_of,
    is_depth,
)
from depth_estimation_ros.sources.bag_reader import BagReader
from depth_estimation_ros.sources.topics import camera_info_beside, camera_rank, node_outputs, without_twins


@dataclass(frozen=True)
class Topics:
    """
    Topics of a recording; an empty one is guessed.

    Parameters
    ----------
    image : str
        Image or CompressedImage.
    depth : str
        The truth: Image or CompressedImage with depth, PointCloud2 or LaserScan; or the poses of the camera: Odometry,
        PoseStamped (also with covariance), or TFMessage.
    camera_info : str
        Of the image.
    depth_camera_info : str
        Of a depth camera that has its own.
    """

    image: str = ""
    depth: str = ""
    camera_info: str = ""
    depth_camera_info: str = ""


def choose_topics(reader: BagReader, wanted: Topics) -> tuple[Topics, list[str]]:
    """
    Choose the topics of a bag.

    Parameters
    ----------
    reader : BagReader
        The bag.
    wanted : Topics
        As asked for.

    Returns
    -------
    topics : Topics
        Those of camera_info may be empty.
    notes : list of str
        Choices that could have been others.

    Raises
    ------
    ValueError
        If one does not exist, is of another type, or several fit.
    """
    return _Choice(reader).all(wanted)


class _Choice:
    def __init__(self, reader: BagReader):
        self._reader, self._notes = reader, []
        firsts = {topic: reader.first(topic) for topic in reader.of_kind(IMAGE, COMPRESSED)}
        self._firsts = {topic: message for topic, message in firsts.items() if message is not None}
        self._depths = [topic for topic, message in self._firsts.items() if is_depth(message, topic)]
        self._colours = [topic for topic in self._firsts if topic not in self._depths]
        self._clouds, self._scans = reader.of_kind(CLOUD), reader.of_kind(SCAN)
        self._poses = reader.of_kind(*POSES)
        self._transforms = [topic for topic in reader.of_kind(*TRANSFORMS) if "static" not in topic]
        self._infos = reader.of_kind(INFO)
        self._own = node_outputs(reader.topics)

    def all(self, wanted: Topics) -> tuple[Topics, list[str]]:
        image = self._take("--image", wanted.image, self._colours) or self._image()
        truths = self._depths + self._clouds + self._scans + self._poses + self._transforms
        depth = self._take("--depth", wanted.depth, truths) or self._depth()
        info = self._take("--camera-info", wanted.camera_info, self._infos) or self._info(image, depth)
        own = self._take("--depth-camera-info", wanted.depth_camera_info, self._infos)
        if not own and depth in self._depths:
            own = self._depth_info(image, depth, info)
        return Topics(image, depth, info, "" if own == info else own), self._notes

    def _take(self, option: str, topic: str, fitting: list[str]) -> str:
        if topic and topic not in self._reader.topics:
            raise ValueError(
                f"'{self._reader.path}' has no messages of {topic} ({option}); {option} can be "
                f"{', '.join(fitting) or 'none of its topics: ' + self._reader.listing()}"
            )
        if topic and topic not in fitting:
            raise ValueError(
                f"{topic} of '{self._reader.path}' ({self._reader.topics[topic].kind}) cannot be {option}; "
                f"there are {', '.join(fitting) or 'none'}"
            )
        return topic

    def _image(self) -> str:
        topics = self._foreign(without_twins(self._colours))
        ranks = {topic: camera_rank(topic, self._firsts[topic], self._infos) for topic in topics}
        best = [topic for topic in topics if ranks[topic] == min(ranks.values())]
        if len(topics) > 1 and len(best) == 1:
            self._notes.append(f"{best[0]} is the image; --image chooses among {', '.join(topics)}")
            topics = best
        if not topics:
            raise ValueError(
                f"'{self._reader.path}' has no image topic{self._besides()}; its topics are {self._reader.listing()}"
            )
        return self._only("--image", "images", topics)

    def _depth(self) -> str:
        kinds = (without_twins(self._depths), self._clouds, self._scans, self._poses, self._transforms)
        topics = next(filter(None, map(self._foreign, kinds)), [])
        named = [topic for topic in topics if "truth" in topic]
        topics = named if len(named) == 1 else topics
        if not topics:
            raise ValueError(
                f"'{self._reader.path}' has no depth images, point clouds, laser scans or poses to compare with"
                f"{self._besides()}; its topics are {self._reader.listing()}"
            )
        depth = self._only("--depth", "topics with truth", topics)
        others = self._foreign(without_twins(self._depths) + self._clouds + self._scans)
        if len(others) > 1:
            self._notes.append(f"{depth} is the truth; --depth chooses among {', '.join(others)}")
        return depth

    def _foreign(self, topics: list[str]) -> list[str]:
        """Leave out what this package's node has published: its own estimate must not pass for the truth."""
        return [topic for topic in topics if topic not in self._own]

    def _besides(self) -> str:
        return " besides what depth_estimation_node published" if self._own else ""

    def _info(self, image: str, depth: str) -> str:
        if (beside := camera_info_beside(image)) in self._infos:
            return beside
        others = [topic for topic in self._foreign(self._infos) if topic != camera_info_beside(depth)]
        frame = frame_of(self._firsts[image])
        same_frame = [topic for topic in others if frame and self._frame(topic) == frame]
        others = same_frame or others
        if not others:
            return ""
        info = self._only("--camera-info", f"camera_info topics, none beside {image}", others)
        self._notes.append(f"{info} is taken as the camera_info of {image}")
        return info

    def _depth_info(self, image: str, depth: str, info: str) -> str:
        if (beside := camera_info_beside(depth)) in self._infos:
            return beside
        frame = frame_of(self._firsts[depth])
        if frame == frame_of(self._firsts[image]):
            return ""
        same_frame = [topic for topic in self._infos if topic != info and self._frame(topic) == frame]
        return same_frame[0] if len(same_frame) == 1 else ""

    def _frame(self, info: str) -> str:
        message = self._reader.first(info)
        return "" if message is None else frame_of(message)

    def _only(self, option: str, what: str, topics: list[str]) -> str:
        if len(topics) > 1:
            raise ValueError(
                f"'{self._reader.path}' has {len(topics)} {what}; choose one with {option}: {', '.join(topics)}"
            )
        return topics[0]
