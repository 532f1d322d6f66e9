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

from training.data.augment import blur_radius
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
        height, width = t.output_size
        drawn = {
            "place": np.array([self.number, index]),
            "image_matrix": view.matrix(*t.seen_size, (t.viewed.width, t.viewed.height)),
            "depth_matrix": view.matrix(width, height, t.stored_size),
            "depth_factor": view.factor_plane(width, height),
            "gain": colours.gain,
            "tone": np.array([colours.contrast, colours.saturation, colours.exponent, colours.blur, colours.noise]),
            "covered": np.array(colours.covered),
            "shade": colours.shade,
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
        self.input_size, self.output_size = sets[0].transform.input_size, sets[0].transform.output_size
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
            seen = _bytes(_warped(images, part["image_matrix"], self.sizes[i][::-1], "bilinear", "reflection"))
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


def recoloured(image: torch.Tensor, drawn: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Change the colours of images as `training.data.augment.Colours.apply` does.

    Parameters
    ----------
    image : torch.Tensor
        float32 [N, 3, h, w], grey levels.
    drawn : dict
        ``gain`` [N, 3], ``tone`` [N, 5] (contrast, saturation, exponent, blur, noise), ``covered`` int [N, 4] and
        ``shade`` [N, 3], as the attributes of `Colours`.

    Returns
    -------
    torch.Tensor
        float32 [N, 3, h, w], whole grey levels.
    """
    contrast, saturation, exponent, blur, noise = drawn["tone"].view(-1, 5, 1, 1, 1).unbind(1)
    if (most := blur.max().item()) > 0:
        image = _bytes(_blurred(image, blur, blur_radius(most)))
    image = image * drawn["gain"][..., None, None]
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * contrast + mean
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * saturation
    image = torch.where(exponent == 1, image, 255 * (image.clamp(0, 255) / 255) ** exponent)
    image = _bytes(image + torch.randn_like(image) * noise)
    top, left, height, width = drawn["covered"].view(-1, 4, 1, 1, 1).unbind(1)
    y = torch.arange(image.shape[2], device=image.device).view(-1, 1)
    x = torch.arange(image.shape[3], device=image.device)
    covered = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    return torch.where(covered, _bytes(drawn["shade"])[..., None, None], image)


def _blurred(image: torch.Tensor, deviation: torch.Tensor, radius: int) -> torch.Tensor:
    """Blur each image with its own Gaussian, cut off at three standard deviations as in `blur_radius`."""
    count, channels, height, width = image.shape
    deviation = deviation.view(-1, 1)
    offset = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offset / deviation.clamp(min=1e-6)) ** 2) * (offset.abs() <= torch.ceil(3 * deviation))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(image, (radius,) * 4, mode="reflect").view(1, -1, height + 2 * radius, width + 2 * radius)
    flat = F.conv2d(flat, kernel[:, :, None], groups=count * channels)
    return F.conv2d(flat, kernel[..., None], groups=count * channels).view(count, channels, height, width)


def _shrunk(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Halve [N, 3, h, w] grey levels down to a size, as `depth_estimation_ros.imaging.resample.shrink` does."""
    for _ in range(round(math.log2(image.shape[2] / size[0]))):
        image = _bytes(F.avg_pool2d(image, 2))
    return image


def _bytes(value: torch.Tensor) -> torch.Tensor:
    return (value + 0.5).clamp(0, 255).floor()
