"""
Decoding of messages of the types that are read here.

The types are known by their names: definitions in a bag, which may be missing, of another language or damaged, are not
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from depth_estimation_ros.bags.messages import CLOUD, COMPRESSED, IMAGE, INFO, POSES, SCAN, TRANSFORMS
from depth_estimation_ros.support.installing import how_to_install

_KINDS = {IMAGE, COMPRESSED, INFO, CLOUD, SCAN, *POSES, *TRANSFORMS}


def decoder(kind: str, encoding: str) -> Callable[[bytes], object] | None:
    """
    Return what decodes messages of a type.

    Parameters
    ----------
    kind : str
        The type in the manner of ROS 2.
    encoding : str
        ``cdr`` or ``ros1``.

    Returns
    -------
    callable or None
        Raises whatever wrong bytes lead to. None if the type or the encoding is not read here.

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
        raise ValueError(f"bags are read with the package rosbags; install it: {how_to_install('rosbags')}") from None
    store = get_typestore(Stores.ROS2_JAZZY if encoding == "cdr" else Stores.ROS1_NOETIC)
    for kind in TRANSFORMS:
        if kind not in store.types:
            store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", kind))
    return store
