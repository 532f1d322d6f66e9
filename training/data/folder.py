"""Prepared folders: colour and depth images with the same names, a depth scale and a split file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import scipy.io
import torch
from torch.utils.data import Dataset

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.imaging import read_file
from training.data.augment import Augmentation
from training.data.frames import FrameTransform
from training.data.shared import SharedPairs

CACHE_LIMIT = 4 << 30  # bytes


class PreparedFolder(Dataset):
    """
    RGB-D pairs from ``<root>/rgb`` and ``<root>/depth``, as network input and target.

    Parameters
    ----------
    root : path
        Prepared folder.
    names : sequence of str
        File names without suffix, e.g. from `split_names`.
    depth_scale : float
        Metres per unit of the depth images (0.001 for millimetres).
    depth_limit, camera, input_size, output_size, augmentation, seed, focal_length, aspect
        See `training.data.frames.FrameTransform`.
    cache : bool
        Keep the decoded images in memory, which worker processes share, if together they take at most `CACHE_LIMIT`.

    Raises
    ------
    FileNotFoundError
        If an image of a pair is missing; the message names it.
    """

    def __init__(
        self,
        root: str | Path,
        names: list[str],
        depth_scale: float,
        depth_limit: float = 10.0,
        camera: PinholeCamera | None = None,
        input_size: tuple[int, int] | None = None,
        output_size: tuple[int, int] | None = None,
        augmentation: Augmentation | None = None,
        cache: bool = True,
        seed: int = 0,
        focal_length: float | None = None,
        aspect: float | None = None,
    ):
        self.transform = FrameTransform(
            depth_limit, camera, input_size, output_size, augmentation, seed, focal_length=focal_length, aspect=aspect
        )
        root = Path(root)
        self.pairs = [(_find(root / "rgb", name), _find(root / "depth", name)) for name in names]
        self.depth_scale = depth_scale
        fits = cache and self.pairs and len(self.pairs) * sum(a.nbytes for a in self.decode(0)) <= CACHE_LIMIT
        self._cached = SharedPairs(map(self.decode, range(len(self.pairs)))) if fits else None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return ``image`` uint8 [H, W, 3] RGB and ``depth`` float32 [1, h, w], metres, 0 where unknown."""
        return self.transform(*self.pair(index), self.depth_scale, index)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair as `decode` does, from memory if it is cached."""
        return self._cached[index] if self._cached else self.decode(index)

    def decode(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read uint8 RGB [H, W, 3] (or half the size) and depth as stored; raise ValueError for a damaged file."""
        rgb, depth = self.pairs[index]
        found = []
        for path, flag in ((rgb, self.transform.colour_flag), (depth, cv2.IMREAD_UNCHANGED)):
            try:
                found.append(read_file(path, flag))
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"{path} is not an image that can be read ({error}); remove it or prepare the folder again"
                ) from None
        return cv2.cvtColor(found[0], cv2.COLOR_BGR2RGB), found[1]


def split_names(split_file: str | Path, split: str) -> list[str]:
    """
    Read the frame names of one split of a dataset.

    Parameters
    ----------
    split_file : path
        The official ``splits.mat`` of NYU Depth v2 (``trainNdxs``, ``testNdxs``), or a text file with lines
        ``<split> <name>``.
    split : {"train", "test"}
        Name of the split.

    Raises
    ------
    ValueError
        If the file does not exist or names no frame of this split.
    """
    split_file = Path(split_file)
    if not split_file.is_file():
        raise ValueError(f"split file {split_file} does not exist; name the dataset's own in the recipe")
    if split_file.suffix == ".mat":
        content = scipy.io.loadmat(str(split_file))
        names = [f"{i:04d}" for i in content.get(f"{split}Ndxs", np.empty(0, int)).ravel()]
    else:
        lines = (line.split(maxsplit=1) for line in split_file.read_text().splitlines() if line.strip())
        names = [name.strip() for part, name in lines if part == split]
    if not names:
        raise ValueError(f"{split_file} names no frame of the split {split!r}")
    return names


def _find(folder: Path, name: str) -> Path:
    for suffix in (".jpg", ".png", ".jpeg"):
        if (path := folder / (name + suffix)).is_file():
            return path
    raise FileNotFoundError(f"{folder / name} has neither a .jpg nor a .png; is the folder complete?")
