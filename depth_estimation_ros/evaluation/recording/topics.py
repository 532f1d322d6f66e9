"""Choice of the topics of a bag: the image, its intrinsics and the ground truth."""

from __future__ import annotations

from depth_estimation_ros.bags.compressed_depth import may_be_depth
from depth_estimation_ros.bags.messages import (
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
from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.bags.topics import (
    Topics,
    camera_info_beside,
    camera_infos,
    camera_rank,
    depth_camera_info,
    node_outputs,
    only_depth,
    without_twins,
)
from depth_estimation_ros.ground_truth.choice import standing
from depth_estimation_ros.ground_truth.reader import REGISTERED
from depth_estimation_ros.support.sentences import choices


def choose_topics(reader: BagReader, wanted: Topics) -> tuple[Topics, list[str]]:
    """
    Choose the topics of a bag, as requested or automatically where the choice is certain.

    Parameters
    ----------
    reader : BagReader
        The bag.
    wanted : Topics
        Requested topics; empty ones are chosen automatically.

    Returns
    -------
    topics : Topics
        Chosen topics. Those of camera_info may be empty.
    notes : list of str
        Sentences about choices that had alternatives.

    Raises
    ------
    ValueError
        If a topic does not exist or has a wrong type, or several topics fit.
    """
    return _Choice(reader).all(wanted)


class _Choice:
    def __init__(self, reader: BagReader):
        self._reader = reader
        self._notes: list[str] = []
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
        # A 16-bit picture can be depth, but only the user can know.
        packed = [topic for topic in self._colours if may_be_depth(self._firsts[topic])]
        truths = self._depths + packed + self._clouds + self._scans + self._poses + self._transforms
        depth = self._take("--depth", wanted.depth, truths) or self._depth(image)
        info = self._take("--camera-info", wanted.camera_info, self._infos) or self._info(image, depth)
        own = self._take("--depth-camera-info", wanted.depth_camera_info, self._infos)
        if not own and depth in self._depths + packed:
            own = depth_camera_info(self._reader, image, depth, info)
        return Topics(image, depth, info, "" if own == info else own), self._notes

    def _take(self, option: str, topic: str, fitting: list[str]) -> str:
        if topic and topic not in self._reader.topics:
            raise ValueError(
                f"'{self._reader.path}' has no messages of {topic} ({option}); {option} can be "
                f"{choices(fitting, topic) if fitting else 'none of its topics: ' + self._reader.listing()}"
            )
        if topic and topic not in fitting:
            raise ValueError(
                f"{topic} of '{self._reader.path}' ({self._reader.topics[topic].kind}) cannot be {option}; "
                f"there are {choices(fitting, topic)}"
            )
        return topic

    def _image(self) -> str:
        topics = self._foreign(without_twins(self._colours))
        ranks = {topic: camera_rank(topic, self._firsts[topic], self._infos) for topic in topics}
        best = [topic for topic in topics if ranks[topic] == min(ranks.values())]
        if len(topics) > 1 and len(best) == 1:
            self._notes.append(f"{best[0]} is used as image; --image selects one of {choices(topics)}")
            topics = best
        if not topics:
            raise ValueError(
                f"'{self._reader.path}' has no image topic{self._besides()}; its topics are {self._reader.listing()}"
            )
        return self._only("--image", "images", topics)

    def _depth(self, image: str) -> str:
        kinds = (without_twins(only_depth(self._depths)), self._clouds, self._scans, self._poses, self._transforms)
        topics = next(filter(None, map(self._foreign, kinds)), [])
        named = [topic for topic in topics if "truth" in topic]
        topics = named if len(named) == 1 else topics
        if len(topics) > 1 and set(topics) <= set(self._depths):
            aligned = [topic for topic in topics if self._is_aligned(image, topic)]
            topics = aligned if len(aligned) == 1 else topics
        if not topics:
            raise ValueError(
                f"'{self._reader.path}' has no depth images, point clouds, laser scans or poses to compare with"
                f"{self._besides()}; its topics are {self._reader.listing()}"
            )
        depth = self._only("--depth", "topics with ground truth", topics)
        others = self._foreign(without_twins(only_depth(self._depths)) + self._clouds + self._scans)
        if len(others) > 1:
            self._notes.append(f"{depth} is used as ground truth; --depth selects one of {choices(others)}")
        return depth

    def _is_aligned(self, image: str, depth: str) -> bool:
        """Whether a depth image is registered to the image; drivers publish such a one beside the raw depth."""
        info = next(iter(camera_infos(self._reader, image, self._depths)), "")
        return standing(self._reader, image, info, depth) == REGISTERED

    def _foreign(self, topics: list[str]) -> list[str]:
        """Remove topics published by this package's node: its estimate must not be used as ground truth."""
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
        self._notes.append(f"{info} is used as camera_info of {image}")
        return info

    def _frame(self, info: str) -> str:
        message = self._reader.first(info)
        return "" if message is None else frame_of(message)

    def _only(self, option: str, what: str, topics: list[str]) -> str:
        if len(topics) > 1:
            raise ValueError(
                f"'{self._reader.path}' has {len(topics)} {what}; choose one with {option}: {choices(topics)}"
            )
        return topics[0]
