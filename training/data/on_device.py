"""
Frames kept in the memory of the training's device, and augmented there.

The augmentation of `training.data.augment`, drawn by the same numbers: a batch is what the loader's processes would
make of the same frames, to rounding and to the noise of the pixels. A loader only draws; nothing is decoded or moved.
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

_HEADROOM = 0.8  # of the free memory: the network needs some


class Draws(Dataset):
    """
    What is drawn for each frame of a set, for `DeviceFrames`.

    Parameters
    ----------
    frames : PreparedFolder or NyuLabelled
        The set; its transform has an augmentation and sizes.
    number : int
        The set's, in `DeviceFrames`.
    """

    def __init__(self, frames: Frames, number: int):
        self.frames, self.number = frames, number

    @property
    def transform(self) -> FrameTransform:
        """The set's, whose epoch is set."""
        return self.frames.transform

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return matrices and colours of a frame, float32, and where it is kept."""
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
    Sets of frames on a device, from which batches of augmented ones are made.

    Parameters
    ----------
    sets : list of PreparedFolder or NyuLabelled
        With an augmentation, and of one input and output size.
    device : torch.device
        Where to keep them: bytes for the colours, half-precision metres (to 0.05 %) for the depth.

    Raises
    ------
    ValueError
        If they do not fit a GPU's memory.
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
        Make a batch.

        Parameters
        ----------
        drawn : dict
            Items of `Draws` put together, on the device.

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
    """Sample [N, C, H, W] images where matrices [N, 3, 3] take the pixels of a (height, width)."""
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
    """Blur each image by its own Gaussian, cut off at three deviations as the kernels of OpenCV are made."""
    count, channels, height, width = image.shape
    deviation = deviation.view(-1, 1)
    offset = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offset / deviation.clamp(min=1e-6)) ** 2) * (offset.abs() <= torch.ceil(3 * deviation))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(image, (radius,) * 4, mode="reflect").view(1, -1, height + 2 * radius, width + 2 * radius)
    flat = F.conv2d(flat, kernel[:, :, None], groups=count * channels)
    return F.conv2d(flat, kernel[..., None], groups=count * channels).view(count, channels, height, width)


def _shrunk(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Halve [N, 3, h, w] grey levels to a size, as `depth_estimation_ros.imaging.resample.shrink` does."""
    for _ in range(round(math.log2(image.shape[2] / size[0]))):
        image = _bytes(F.avg_pool2d(image, 2))
    return image


def _bytes(value: torch.Tensor) -> torch.Tensor:
    return (value + 0.5).clamp(0, 255).floor()
