"""
Decoding of the supported message types.

Types are identified by name. The message definitions in a bag are not used, because they may be missing or damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from depth_estimation_ros.bags.messages import CLOUD, COMPRESSED, IMAGE, INFO, POSES, SCAN, TRANSFORMS
from depth_estimation_ros.support.installing import how_to_install

_KINDS = {IMAGE, COMPRESSED, INFO, CLOUD, SCAN, *POSES, *TRANSFORMS}


def decoder(kind: str, encoding: str) -> Callable[[bytes], object] | None:
    """
    Return the function that decodes messages of a type.

    Parameters
    ----------
    kind : str
        Message type in the notation of ROS 2.
    encoding : str
        ``cdr`` or ``ros1``.

    Returns
    -------
    callable or None
        Function of the serialised message (bytes), which may raise any exception on damaged data. None if the type or
        the encoding is not supported.

    Raises
    ------
    ValueError
        If rosbags is not installed.
    """
    if kind not in _KINDS or encoding not in ("cdr", "ros1"):
        return None
    store = _store(encoding)
    decode = store.deserialize_cdr if encoding == "cdr" else store.deserialize_ros1
    return lambda raw: decode(raw, kind)


@cache
def _store(encoding: str):
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError:
        raise ValueError(f"reading bags needs the package rosbags: {how_to_install('rosbags')}") from None
    store = get_typestore(Stores.ROS2_JAZZY if encoding == "cdr" else Stores.ROS1_NOETIC)
    for kind in TRANSFORMS:
        if kind not in store.types:
            store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", kind))
    return store
