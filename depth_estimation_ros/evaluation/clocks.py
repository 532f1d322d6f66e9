"""The clocks of images and truth: whether they run apart, by how much, and whether the recordings overlap at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_estimation_ros.sources.bag_messages import stamp_of
from depth_estimation_ros.sources.bag_reader import BagReader

_WINDOWS, _TRUTHS_A_WINDOW = 5, 20  # parts of the recording from which an offset is estimated
_OTHER_CLOCK = 500_000_000  # ns: no driver is that much later than another, so the clocks differ


@dataclass(frozen=True)
class Window:
    """Stamps and times of receipt (int64 [n], ns) of images and truths in a part of a recording."""

    images: np.ndarray
    images_received: np.ndarray
    truths: np.ndarray
    truths_received: np.ndarray


def estimate_offset(windows: list[Window], tolerance: int) -> tuple[int, str]:
    """
    Estimate by how much the truth's clock is ahead of the images'.

    Stamps that agree are left alone: an offset is looked for only if less than half of the frames have a partner
    within the tolerance, or if stamps and times of receipt say that the clocks differ by more than half a second. Then
    the difference of (stamp - receipt) of the two streams gives a first estimate, which the nearest stamps refine; it
    is applied only if it is constant: the same within the tolerance in all windows, and leaving at least four of five
    frames with a partner. It may be off by what the latencies of the two drivers differ, and by which of two images a
    truth belongs to.

    Parameters
    ----------
    windows : list of Window
        Parts of the recording, spread over it.
    tolerance : int
        Nanoseconds by which partners may differ.

    Returns
    -------
    offset : int
        Nanoseconds to subtract from the truth's stamps; 0 where none is needed, or none is certain.
    sentence : str
        How it was decided; empty where there is nothing to say.
    """
    windows = [w for w in windows if len(w.images) and len(w.truths)]
    if not windows:
        return 0, ""
    differences = np.concatenate([_differences(w, 0) for w in windows])
    estimates = np.array([_offset(w, tolerance) for w in windows])
    agree = np.mean(np.abs(differences) <= tolerance) >= 0.5
    if agree and abs(np.median([_first_offset(w) for w in windows])) <= _OTHER_CLOCK:
        return 0, ""
    offset = int(np.median(estimates))
    paired = np.mean(np.abs(np.concatenate([_differences(w, offset) for w in windows])) <= tolerance)
    spread = int(np.ptp(estimates))
    if spread <= tolerance and paired >= 0.8 and len(differences) >= 5:
        return offset, (
            f"the truth's clock is {_seconds(offset)} s ahead of the images' (the same within {spread / 1e6:.1f} ms "
            f"in {len(windows)} parts of the recording; {100 * paired:.0f} % of the frames have a partner then): "
            "its stamps are corrected by that; by what the latencies of the two drivers differ, it may be off"
        )
    if agree:
        return 0, (
            f"stamps of images and truth agree, but not with the times of receipt, which differ by "
            f"{_seconds(offset)} s: no clock offset is applied"
        )
    return 0, (
        f"the stamps of images and truth differ by {_seconds(estimates.min())} to {_seconds(estimates.max())} s, which "
        "is not a constant offset of their clocks: none is applied; give one with --clock-offset if you know it"
    )


def find_offset(reader: BagReader, image: str, truth: str, tolerance: int) -> tuple[int, str]:
    """
    Estimate the clock offset of two topics of a bag from some parts of it.

    Parameters
    ----------
    reader : BagReader
        The bag.
    image, truth : str
        Topics.
    tolerance : int
        Nanoseconds.

    Returns
    -------
    offset, sentence :
        As from `estimate_offset`.
    """
    truths, images = reader.times(truth), reader.times(image)
    begin, end = int(max(truths[0], images[0])), int(min(truths[-1], images[-1]))
    if begin > end:
        return 0, ""
    between = float(np.median(np.diff(truths))) if len(truths) > 1 else 0.0
    length = int(np.clip(_TRUTHS_A_WINDOW * between, 0.5e9, 5e9))
    if end - begin <= _WINDOWS * length:
        spans = [(begin, end)]
    else:
        spans = [(int(t), int(t) + length) for t in np.linspace(begin, end - length, _WINDOWS)]
    windows = []
    for span in spans:
        rows = {image: [], truth: []}
        for topic, received, message in reader.messages(rows, span[0], span[1] + 1):
            if message is not None:
                rows[topic].append((stamp_of(message), received))
        (a, b), (c, d) = (np.array(rows[topic], np.int64).reshape(-1, 2).T for topic in (image, truth))
        windows.append(Window(a, b, c, d))
    return estimate_offset(windows, tolerance)


def check_overlap(
    reader: BagReader, image: str, truth: str, stamp: Callable[[Any, int], int], offset: int, tolerance: int
) -> None:
    """
    Check that images and truth are of the same time at all.

    Parameters
    ----------
    reader : BagReader
        The bag.
    image, truth : str
        Topics.
    stamp : callable
        Gives the stamp of a message and its time of receipt.
    offset, tolerance : int
        Nanoseconds: by which the truth's clock is ahead, and by which partners may differ.

    Raises
    ------
    ValueError
        If they do not; says when each begins and ends.
    """
    ends = [reader.first_and_last(topic) for topic in (image, truth)]
    if None in ends:
        return
    images, truths = ([stamp(message, received) for received, message in pair] for pair in ends)
    if truths[0] - offset > images[1] + tolerance or truths[1] - offset < images[0] - tolerance:
        spans = [f"from {first / 1e9:.3f} to {last / 1e9:.3f} s" for first, last in (images, truths)]
        raise ValueError(
            f"images and truth of '{reader.path}' do not overlap in time: {image} is {spans[0]}, {truth} {spans[1]}; "
            "if their clocks differ, say by how much with --clock-offset"
        )


def _differences(window: Window, offset: int) -> np.ndarray:
    """For each of the rarer stream, the nearest of the other: truth - image - offset, ns."""
    images, truths = window.images, window.truths - offset
    if len(images) < len(truths):
        return -_nearest(images, truths)
    return _nearest(truths, images)


def _nearest(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return `of` less the nearest `among`."""
    among = np.sort(among)
    k = np.searchsorted(among, of)
    below, above = of - among[np.maximum(k - 1, 0)], of - among[np.minimum(k, len(among) - 1)]
    return np.where(np.abs(below) <= np.abs(above), below, above)


def _first_offset(window: Window) -> float:
    """Return the offset by stamps and times of receipt; off by what the streams' latencies differ."""
    truths, images = window.truths - window.truths_received, window.images - window.images_received
    return float(np.median(truths) - np.median(images))


def _offset(window: Window, tolerance: int) -> int:
    first = int(_first_offset(window))
    rest = _differences(window, first)
    steady = np.median(np.abs(rest - np.median(rest))) <= tolerance / 2
    return first + (int(np.median(rest)) if steady else 0)


def _seconds(offset: int) -> str:
    return f"{offset / 1e9:.3f}"
