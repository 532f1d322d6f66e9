"""The colours of `training.data.colours` for batches on the training's device, with the same mathematics."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from training.data.colours import SUNLIGHT, Colours, blur_radius, reduced


def packed(colours: Colours) -> dict[str, np.ndarray]:
    """
    Return the change of one image as arrays, which a loader collates for `recoloured`.

    Returns
    -------
    dict
        ``gain`` [3], ``tone`` [4] (contrast, saturation, exponent, noise), ``covered`` int [4], ``shade`` [3],
        ``sharpness`` [3] (sharpening, its radius, coarse), ``light`` [2] (exposure, grey as 0 or 1), ``sun`` [9]
        (planes, penumbra, bar, gain; gain 0 without a patch).
    """
    c, sun = colours, colours.sun
    patch = np.zeros(9) if sun is None else np.append(sun.planes(), (sun.penumbra, sun.bar, sun.gain))
    return {
        "gain": c.gain,
        "tone": np.array([c.contrast, c.saturation, c.exponent, c.noise]),
        "covered": np.array(c.covered),
        "shade": c.shade,
        "sharpness": np.array([c.sharpening, c.sharpening_radius, c.coarse]),
        "light": np.array([c.exposure, float(c.grey)]),
        "sun": patch,
    }


def recoloured(image: torch.Tensor, drawn: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Change the colours of images as `training.data.colours.Colours.apply` does.

    Parameters
    ----------
    image : torch.Tensor
        float32 [N, 3, h, w], grey levels.
    drawn : dict
        Collated arrays of `packed`.

    Returns
    -------
    torch.Tensor
        float32 [N, 3, h, w], whole grey levels.
    """
    image = _recorded(image, drawn)
    contrast, saturation, exponent, noise = _each(drawn["tone"])
    image = image * drawn["gain"][..., None, None]
    mean = image.mean((1, 2, 3), keepdim=True)
    image = (image - mean) * contrast + mean
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * saturation
    image = torch.where(exponent == 1, image, 255 * (image.clamp(0, 255) / 255) ** exponent)
    image = to_bytes(image + torch.randn_like(image) * noise)
    top, left, height, width = _each(drawn["covered"])
    y, x = _pixels(image)
    covered = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    return torch.where(covered, to_bytes(drawn["shade"])[..., None, None], image)


def to_bytes(value: torch.Tensor) -> torch.Tensor:
    """Round grey levels to whole ones from 0 to 255."""
    return (value + 0.5).clamp(0, 255).floor()


def _recorded(image: torch.Tensor, drawn: dict[str, torch.Tensor]) -> torch.Tensor:
    sharpening, radius, coarse = drawn["sharpness"].unbind(1)
    if sharpening.any():
        blurred = _blurred(image, torch.where(sharpening == 0, 0, radius))
        image = image + sharpening.view(-1, 1, 1, 1) * (image - blurred)
    for i in (coarse != 1).nonzero()[:, 0].tolist():  # each has its own size
        image = image.index_copy(0, torch.tensor([i], device=image.device), _coarse(image[i : i + 1], coarse[i].item()))
    exposure, grey = _each(drawn["light"])
    image = image * exposure
    if (gain := drawn["sun"][:, 8]).any():
        light = torch.from_numpy(SUNLIGHT).to(image.device)
        lit = _sunlit(image, drawn["sun"]) * gain.view(-1, 1, 1, 1)
        image = image * (1 + lit * light.view(1, 3, 1, 1))
    image = torch.where(grey == 1, image.mean(1, keepdim=True), image)
    return to_bytes(image)


def _blurred(image: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Blur each image with its own Gaussian, cut off at three standard deviations as in `blur_radius`; 0 does not."""
    count, channels, height, width = image.shape
    radius = blur_radius(deviation.max().item())
    deviation = deviation.view(-1, 1)
    offset = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offset / deviation.clamp(min=1e-6)) ** 2) * (offset.abs() <= torch.ceil(3 * deviation))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(image, (radius,) * 4, mode="reflect").view(1, -1, height + 2 * radius, width + 2 * radius)
    flat = F.conv2d(flat, kernel[:, :, None], groups=count * channels)
    return F.conv2d(flat, kernel[..., None], groups=count * channels).view(count, channels, height, width)


def _coarse(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Reduce and enlarge [1, 3, h, w], as OpenCV does with INTER_AREA and INTER_LINEAR."""
    height, width = image.shape[2:]
    columns, rows = reduced(width, height, factor)
    small = _averaging(height, rows, image.device) @ image @ _averaging(width, columns, image.device).T
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def _averaging(size: int, cells: int, device: torch.device) -> torch.Tensor:
    """Return the matrix [cells, size] that averages pixels over equal cells, weighted by their overlap."""
    side = size / cells
    start = side * torch.arange(cells, device=device)[:, None]
    pixel = torch.arange(size, device=device)
    overlap = torch.minimum(start + side, pixel + 1) - torch.maximum(start, pixel)
    return overlap.clamp(min=0) / side


def _sunlit(image: torch.Tensor, sun: torch.Tensor) -> torch.Tensor:
    """Return the share of the sun at each pixel, [N, 1, h, w], as `training.data.colours.SunPatch.mask`."""
    penumbra, bar = _each(sun[:, 6:8])
    penumbra = penumbra.clamp(min=1e-6)  # images without a patch have zeros
    y, x = _pixels(image)
    lit = torch.ones_like(image[:, :1])
    for i in range(2):
        a, b, c = _each(sun[:, 3 * i : 3 * i + 3])
        by_pixel = torch.hypot(a, b).clamp(min=1e-9)
        coordinate = (a * x + (b * y + c)).abs()
        lit = lit * ((1 - coordinate) / (by_pixel * penumbra)).clamp(0, 1)
        if i == 0:
            shaded = ((coordinate / by_pixel - bar) / penumbra).clamp(0, 1)
            lit = lit * torch.where(bar > 0, shaded, 1)
    return lit


def _each(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the columns of [N, k] as k tensors [N, 1, 1, 1]."""
    return values.view(len(values), -1, 1, 1, 1).unbind(1)


def _pixels(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows [h, 1] and columns [w] of an image."""
    return (
        torch.arange(image.shape[2], device=image.device).view(-1, 1),
        torch.arange(image.shape[3], device=image.device),
    )
