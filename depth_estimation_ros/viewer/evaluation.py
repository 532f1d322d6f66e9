"""Recording of an evaluation: image, truth, estimate and error, frame by frame, the worst frames first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from depth_estimation_ros.conversions import image_to_depth, image_to_rgb
from depth_estimation_ros.evaluation.result.frame_table import Tables
from depth_estimation_ros.viewer.layout import evaluation_layout
from depth_estimation_ros.viewer.scene import IMAGE, TRUTH, Scene, depth_of, error_of

MOST_FRAMES = 200
"""Number of frames in the recording."""

FAR = 10.0
"""Far end of the colour scale in metres, as in the node by default."""


def record_frames(path: Path, tables: Tables, bags: Path, topics: Mapping[str, str]) -> int:
    """
    Write a recording (.rrd) of the frames with the largest AbsRel of the first model.

    Parameters
    ----------
    path : pathlib.Path
        The recording.
    tables : dict
        Results by recording and model.
    bags : pathlib.Path
        Folder with the output bag of each recording.
    topics : mapping of str to str
        Topics of each model in these bags, without ``/image`` and ``/error``.

    Returns
    -------
    int
        Number of frames.
    """
    models = list(topics)
    worst = sorted(_errors(tables, models[0]), reverse=True)[:MOST_FRAMES]
    ranks = {(recording, stamp): rank for rank, (_, recording, stamp, _) in enumerate(worst, start=1)}
    scene = Scene(FAR, depth_width=320)
    scene.show(evaluation_layout(models))
    scene.save(path)
    try:
        # The viewer sorts by rank, so that each bag is read once, from beginning to end.
        for recording in dict.fromkeys(recording for recording, _ in ranks):
            of_bag = {stamp: rank for (name, stamp), rank in ranks.items() if name == recording}
            _record_bag(scene, bags / recording.replace("/", "_"), topics, of_bag)
        for rank, (error, recording, _, index) in enumerate(worst, start=1):
            scene.at_frame(rank)
            scene.text(f"**{rank} of {len(worst)}**\n\n{recording}\n\nimage {index}\n\nAbsRel {error:.3f}")
    finally:
        scene.close()
    return len(worst)


def _errors(tables: Tables, model: str) -> list[tuple[float, str, int, int]]:
    """Return AbsRel, recording, stamp and index of each frame with an estimate."""
    found = []
    for recording, of_models in tables.items():
        if model in of_models:
            for rows in of_models[model].chunks():
                known = rows[np.isfinite(rows["abs_rel"])]
                found += [(float(row["abs_rel"]), recording, int(row["stamp"]), int(row["index"])) for row in known]
    return found


def _record_bag(scene: Scene, bag: Path, topics: Mapping[str, str], ranks: Mapping[int, int]) -> None:
    shown = {"/image": _image(IMAGE), "/ground_truth/depth": _depth(TRUTH)}
    for model, topic in topics.items():
        shown |= {f"{topic}/image": _depth(depth_of(model)), f"{topic}/error": _image(error_of(model))}
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        connections = [connection for connection in reader.connections if connection.topic in shown]
        for connection, stamp, raw in reader.messages(connections):
            if stamp in ranks:
                scene.at_frame(ranks[stamp])
                shown[connection.topic](scene, reader.deserialize(raw, connection.msgtype))


def _image(entity: str) -> Callable[[Scene, object], None]:
    return lambda scene, message: scene.image(entity, image_to_rgb(message))


def _depth(entity: str) -> Callable[[Scene, object], None]:
    return lambda scene, message: scene.depth(entity, image_to_depth(message))
