"""
Frames that are kept in the memory of the training device and augmented there.

The augmentation is that of `training.data.augment` with the same random numbers. A batch equals the batch of the
loader's processes, except for rounding and pixel noise. The loader only draws the augmentations; it decodes and moves
no images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from training.data.colours_on_device import packed, recoloured, to_bytes
from training.data.folder import PreparedFolder
from training.data.frames import FrameTransform

if TYPE_CHECKING:
    from training.data.nyu_labelled import NyuLabelled

    Frames = PreparedFolder | NyuLabelled

_HEADROOM = 0.8  # fraction of the free memory that frames may take; the network needs the rest


class Draws(Dataset):
    """
    Dataset of the augmentations drawn for the frames of a set, as input of `DeviceFrames`.

    Parameters
    ----------
    frames : PreparedFolder or NyuLabelled
        The set. Its transform has an augmentation and sizes.
    number : int
        Index of the set in `DeviceFrames`.
    """

    def __init__(self, frames: Frames, number: int):
        self.frames, self.number = frames, number

    @property
    def transform(self) -> FrameTransform:
        """Transform of the set; its ``epoch`` can be set."""
        return self.frames.transform

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return the matrices and colours drawn for a frame, float32, and its place in `DeviceFrames`."""
        t = self.transform
        view, colours, _ = t.draw(index)
        height, width = t.output_size or t.stored_size[::-1]
        drawn = {
            "place": np.array([self.number, index]),
            "image_matrix": view.matrix(*t.seen_size, (t.viewed.width, t.viewed.height)),
            "depth_matrix": view.matrix(width, height, t.stored_size),
            "depth_factor": view.factor_plane(width, height),
            **packed(colours),
        }
        return {k: torch.from_numpy(v if v.dtype == np.int64 else v.astype(np.float32)) for k, v in drawn.items()}


class DeviceFrames(nn.Module):
    """
    Sets of frames on a device, from which augmented batches are made.

    Parameters
    ----------
    sets : list of PreparedFolder or NyuLabelled
        Sets with an augmentation and with the same input and output size.
    device : torch.device
        Device that stores the frames: colours as uint8, depth as half-precision metres (accurate to 0.05 %).

    Raises
    ------
    ValueError
        If the frames do not fit into the memory of the GPU.
    """

    def __init__(self, sets: list[Frames], device: torch.device):
        super().__init__()
        self.sizes = [frames.transform.seen_size for frames in sets]
        first = sets[0].transform
        self.input_size = first.input_size or first.stored_size[::-1]
        self.output_size = first.output_size or first.stored_size[::-1]
        if device.type == "cuda":
            sizes = [(len(f), f.transform.viewed, f.transform.stored_size) for f in sets]
            needed = sum(n * (3 * c.width * c.height + 2 * math.prod(stored)) for n, c, stored in sizes)
            free = torch.cuda.mem_get_info(device)[0]
            if needed > _HEADROOM * free:
                raise ValueError(
                    f"the frames need {needed / 1e9:.1f} GB of the GPU's memory, of which {free / 1e9:.1f} GB are free "
                    "and the network needs some: set data.device to cpu"
                )
        self.kept = [self._load(frames, device) for frames in sets]

    @staticmethod
    def _load(frames: Frames, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        t = frames.transform
        images = torch.empty(len(frames), 3, t.viewed.height, t.viewed.width, dtype=torch.uint8)
        depths = torch.empty(len(frames), 1, *t.stored_size[::-1], dtype=torch.float16)
        for i in range(len(frames)):
            image, stored = t.prepared(*frames.pair(i))
            images[i] = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            depths[i, 0] = torch.from_numpy(t.metres(stored, frames.depth_scale))
        return images.to(device), depths.to(device)

    @torch.no_grad()
    def forward(self, drawn: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """
        Make an augmented batch.

        Parameters
        ----------
        drawn : dict
            Collated items of `Draws`, on the device.

        Returns
        -------
        dict
            ``image`` uint8 [N, h, w, 3] RGB and ``depth`` float32 [N, 1, h', w'], metres, 0 where unknown.
        """
        count, device = len(drawn["place"]), drawn["place"].device
        image = torch.empty(count, 3, *self.input_size, dtype=torch.uint8, device=device)
        depth = torch.empty(count, 1, *self.output_size, device=device)
        number, index = drawn["place"].unbind(1)
        for i in number.unique().tolist():
            here = (number == i).nonzero()[:, 0]
            images, depths = (kept[index[here]].float() for kept in self.kept[i])
            part = {name: value[here] for name, value in drawn.items()}
            seen = to_bytes(_warped(images, part["image_matrix"], self.sizes[i][::-1], "bilinear", "reflection"))
            image[here] = _shrunk(recoloured(seen, part), self.input_size).byte()
            seen = _warped(depths, part["depth_matrix"], self.output_size, "nearest", "zeros")
            a, b, c = part["depth_factor"].view(-1, 3, 1, 1, 1).unbind(1)
            y, x = (torch.arange(n, device=device) for n in self.output_size)
            y = y.view(-1, 1)
            depth[here] = seen / (a * x + b * y + c)
        return {"image": image.permute(0, 2, 3, 1).contiguous(), "depth": depth}


def _warped(stored: torch.Tensor, matrix: torch.Tensor, size: tuple[int, int], mode: str, beyond: str) -> torch.Tensor:
    """Warp [N, C, H, W] images to (height, width); matrices [N, 3, 3] map new pixels to old ones."""
    height, width = size
    y, x = torch.meshgrid(*(torch.arange(n, device=stored.device, dtype=torch.float32) for n in size), indexing="ij")
    new = torch.stack([x, y, torch.ones_like(x)]).flatten(1)  # [3, h w]
    old = matrix @ new
    place = (old[:, :2] / old[:, 2:] + 0.5).transpose(1, 2).view(-1, height, width, 2)
    grid = 2 * place / torch.tensor(stored.shape[:1:-1], device=stored.device) - 1
    return F.grid_sample(stored, grid, mode, beyond, align_corners=False)


def _shrunk(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Halve [N, 3, h, w] grey levels down to a size, as `depth_estimation_ros.imaging.resample.shrink` does."""
    for _ in range(round(math.log2(image.shape[2] / size[0]))):
        image = to_bytes(F.avg_pool2d(image, 2))
    return image
