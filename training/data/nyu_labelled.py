"""
Labelled set of NYU Depth v2, read from ``nyu_depth_v2_labeled.mat`` frame by frame.

``python -m training.data.nyu_labelled MAT --split-file splits.mat`` prints the scenes of the training frames, one per
line. These are the scenes of the raw dataset that may be used for training.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from depth_estimation_ros.camera import PinholeCamera
from training.data.augment import Augmentation
from training.data.folder import split_names
from training.data.frames import FrameTransform


class NyuLabelled(Dataset):
    """
    RGB-D pairs of the labelled set, as network input and target.

    Only requested frames are read. Each process opens the file again, because HDF5 handles do not survive a fork.

    Parameters
    ----------
    path : path
        ``nyu_depth_v2_labeled.mat``, or a file of its layout (HDF5, MATLAB 7.3): ``images`` uint8 [H, W, 3, N],
        ``depths`` and ``rawDepths`` single [H, W, N], ``scenes`` cell [N, 1], in MATLAB's order of axes.
    names : list of str, optional
        Frame numbers from 1, e.g. from `training.data.folder.split_names`; by default all frames.
    depth : {"depths", "rawDepths"}
        Depth with filled holes, or depth as measured with 0 in the holes.
    depth_limit, camera, input_size, output_size, augmentation, seed
        See `training.data.frames.FrameTransform`.

    Raises
    ------
    ValueError
        If the file has another layout, or no frame with one of these numbers.
    """

    depth_scale = 1.0

    def __init__(
        self,
        path: str | Path,
        names: list[str] | None = None,
        depth: str = "depths",
        depth_limit: float = 10.0,
        camera: PinholeCamera | None = None,
        input_size: tuple[int, int] | None = None,
        output_size: tuple[int, int] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ):
        self.transform = FrameTransform(depth_limit, camera, input_size, output_size, augmentation, seed)
        self.path, self.depth = Path(path), depth
        self._open: tuple[int, h5py.File] | None = None
        with _open(self.path) as file:
            missing = [name for name in ("images", depth) if name not in file]
            if missing:
                raise ValueError(
                    f"{path} has no {' and no '.join(missing)}; is it nyu_depth_v2_labeled.mat, fully downloaded?"
                )
            # HDF5 lists the axes of a MATLAB array in reverse: [N, 3, W, H] and [N, W, H].
            images, depths = file["images"].shape, file[depth].shape
            if len(images) != 4 or images[1] != 3 or depths != (images[0], *images[2:]):
                raise ValueError(f"{path} holds images {list(images)} and {depth} {list(depths)}, not NYU's layout")
        count = images[0]
        self.names = [f"{i + 1:04d}" for i in range(count)] if names is None else list(names)
        wrong = [n for n in self.names if not (n.isdigit() and 1 <= int(n) <= count)]
        if wrong:
            raise ValueError(f"{path} has the frames 1 to {count}, not '{wrong[0]}'; is the split file its own?")

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return ``image`` uint8 [h, w, 3] RGB and ``depth`` float32 [1, h', w'], metres, 0 where unknown."""
        return self.transform(*self.pair(index), self.depth_scale, index)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a pair as stored: uint8 RGB [H, W, 3], and depth [H, W] in metres."""
        number = int(self.names[index]) - 1
        file = self._file()
        # [3, W, H] to [H, W, 3], and [W, H] to [H, W].
        image = np.ascontiguousarray(file["images"][number].transpose(2, 1, 0))
        return image, np.ascontiguousarray(file[self.depth][number].T)

    def scenes(self) -> list[str]:
        """Return the scene of each pair, e.g. ``kitchen_0004``."""
        with _open(self.path) as file:
            if "scenes" not in file:
                raise ValueError(f"{self.path} names no scenes")
            references = file["scenes"][()].ravel()
            cells = (file[references[int(name) - 1]][()].ravel() for name in self.names)
            return ["".join(map(chr, letters)) for letters in cells]

    def _file(self) -> h5py.File:
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), _open(self.path)
        return self._open[1]

    def __getstate__(self):
        return {**self.__dict__, "_open": None}


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; download nyu_depth_v2_labeled.mat from the dataset's page") from None
    except OSError as error:
        raise ValueError(f"{path} is not a readable MATLAB 7.3 file ({error}); download it again") from None


def main() -> None:
    """Run the command line; a mistake of the user ends with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m training.data.nyu_labelled", description=__doc__)
    parser.add_argument("mat", type=Path, help="nyu_depth_v2_labeled.mat")
    parser.add_argument("--split-file", type=Path, required=True, help="the official splits.mat")
    parser.add_argument("--split", default="train", choices=("train", "test"))
    arguments = parser.parse_args()
    try:
        frames = NyuLabelled(arguments.mat, split_names(arguments.split_file, arguments.split))
        print("\n".join(sorted(set(frames.scenes()))))
    except ValueError as error:
        sys.exit(f"nyu_labelled: {error}")


if __name__ == "__main__":
    main()
