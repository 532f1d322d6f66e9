"""Clock offset between images and ground truth, and a check that the two overlap in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_estimation_ros.bags.messages import stamp_of
from depth_estimation_ros.bags.reader import BagReader

_WINDOWS, _TRUTHS_A_WINDOW = 5, 20  # parts of the recording from which the offset is estimated
_OTHER_CLOCK = 500_000_000  # ns: larger than any difference in driver latency, so the clocks must differ


@dataclass(frozen=True)
class Window:
    """Stamps and times of receipt (int64 [n], ns) of images and ground truth in a part of a recording."""

    images: np.ndarray
    images_received: np.ndarray
    truths: np.ndarray
    truths_received: np.ndarray


def estimate_offset(windows: list[Window], tolerance: int) -> tuple[int, str]:
    """
    Estimate by how much the clock of the ground truth is ahead of the clock of the images.

    Stamps that agree are not corrected. An offset is estimated only if one of these conditions holds:

    - less than half of the frames have a partner within the tolerance;
    - stamps and times of receipt show that the clocks differ by more than half a second;
    - one of the two streams was received before it was stamped.

    The difference of (stamp - receipt) of the two streams gives a first estimate, which the nearest stamps refine. The
    offset is applied only if it is constant: equal within the tolerance in all windows, and with a partner for at least
    80 % of the frames.

    The estimate may be wrong by the difference in latency of the two drivers, and by one image period. A clock that is
    less than half a second behind cannot be told from a slow driver; it is not detected if the stamps have partners.

    Parameters
    ----------
    windows : list of Window
        Parts spread over the recording.
    tolerance : int
        Maximum difference of the stamps of partners, nanoseconds.

    Returns
    -------
    offset : int
        Nanoseconds to subtract from the stamps of the ground truth; 0 if no offset is needed or none is certain.
    sentence : str
        Explanation for the user; empty if there is nothing to explain.
    """
    windows = [w for w in windows if len(w.images) and len(w.truths)]
    if not windows:
        return 0, ""
    differences = np.concatenate([_differences(w, 0) for w in windows])
    estimates = np.array([_offset(w, tolerance) for w in windows])
    agree = np.mean(np.abs(differences) <= tolerance) >= 0.5
    apart = abs(np.median([_first_offset(w) for w in windows]))
    if agree and apart <= (tolerance if _is_early(windows, tolerance) else _OTHER_CLOCK):
        return 0, ""
    offset = int(np.median(estimates))
    paired = np.mean(np.abs(np.concatenate([_differences(w, offset) for w in windows])) <= tolerance)
    spread = int(np.ptp(estimates))
    if spread <= tolerance and paired >= 0.8 and len(differences) >= 5:
        side = "ahead of" if offset > 0 else "behind"
        return offset, (
            f"the clock of the ground truth is {_seconds(abs(offset))} s {side} the clock of the images: its stamps "
            f"are corrected, and {100 * paired:.0f} % of the frames then have a partner (the offset varies by "
            f"{spread / 1e6:.1f} ms over {len(windows)} parts of the recording; it may be wrong by the difference in "
            "latency of the two drivers)"
        )
    if agree:
        return 0, (
            f"the stamps of images and ground truth agree, but their times of receipt differ by {_seconds(offset)} s: "
            "no clock offset is applied"
        )
    return 0, (
        f"the stamps of images and ground truth differ by {_seconds(estimates.min())} to {_seconds(estimates.max())} "
        "s, which is not a constant clock offset: no offset is applied; set --clock-offset if you know it"
    )


class Clocks:
    """
    Clocks of the image topic and the ground truth topic of a bag.

    Parameters
    ----------
    reader : BagReader
        The bag.
    image, truth : str
        Topics of the images and the ground truth.
    """

    def __init__(self, reader: BagReader, image: str, truth: str):
        self._reader, self._image, self._truth = reader, image, truth

    def offset(self, tolerance: int) -> tuple[int, str]:
        """Estimate the clock offset from parts of the bag; tolerance and result are those of `estimate_offset`."""
        truths, images = self._reader.times(self._truth), self._reader.times(self._image)
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
            rows: dict[str, list[tuple[int, int]]] = {self._image: [], self._truth: []}
            for topic, received, message in self._reader.messages(rows, span[0], span[1] + 1):
                if message is not None:
                    rows[topic].append((stamp_of(message), received))
            (a, b), (c, d) = (np.array(rows[topic], np.int64).reshape(-1, 2).T for topic in (self._image, self._truth))
            windows.append(Window(a, b, c, d))
        return estimate_offset(windows, tolerance)

    def check_overlap(self, stamp: Callable[[Any, int], int], offset: int, tolerance: int) -> None:
        """
        Check that images and ground truth overlap in time.

        Parameters
        ----------
        stamp : callable
            Returns the stamp of a message, given the message and its time of receipt.
        offset, tolerance : int
            Nanoseconds: clock offset of the ground truth, and maximum difference of the stamps of partners.

        Raises
        ------
        ValueError
            If they do not overlap; the message has the begin and end of each.
        """
        ends = [self._reader.first_and_last(topic) for topic in (self._image, self._truth)]
        known = [[stamp(message, received) for received, message in pair] for pair in ends if pair is not None]
        if len(known) < 2:
            return
        images, truths = known
        if truths[0] - offset > images[1] + tolerance or truths[1] - offset < images[0] - tolerance:
            spans = [f"from {first / 1e9:.3f} to {last / 1e9:.3f} s" for first, last in (images, truths)]
            raise ValueError(
                f"images and ground truth of '{self._reader.path}' do not overlap in time: {self._image} is "
                f"{spans[0]}, {self._truth} {spans[1]}; if their clocks differ, set the difference with --clock-offset"
            )


def _differences(window: Window, offset: int) -> np.ndarray:
    """Return truth - image - offset (ns) for each message of the rarer stream and its nearest partner."""
    images, truths = window.images, window.truths - offset
    if len(images) < len(truths):
        return -_nearest(images, truths)
    return _nearest(truths, images)


def _nearest(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the difference of each `of` and its nearest value in `among`."""
    among = np.sort(among)
    k = np.searchsorted(among, of)
    below, above = of - among[np.maximum(k - 1, 0)], of - among[np.minimum(k, len(among) - 1)]
    return np.where(np.abs(below) <= np.abs(above), below, above)


def _first_offset(window: Window) -> float:
    """Return the offset from stamps and times of receipt; wrong by the difference in latency of the streams."""
    truths, images = window.truths - window.truths_received, window.images - window.images_received
    return float(np.median(truths) - np.median(images))


def _offset(window: Window, tolerance: int) -> int:
    first = int(_first_offset(window))
    rest = _differences(window, first)
    steady = np.median(np.abs(rest - np.median(rest))) <= tolerance / 2
    return first + (int(np.median(rest)) if steady else 0)


def _is_early(windows: list[Window], tolerance: int) -> bool:
    """Whether a stream was received before it was stamped, so its clock is not that of the recorder."""
    images = np.median([np.median(w.images_received - w.images) for w in windows])
    truths = np.median([np.median(w.truths_received - w.truths) for w in windows])
    return abs(min(images, 0) - min(truths, 0)) > tolerance


def _seconds(offset: int) -> str:
    return f"{offset / 1e9:.3f}"
