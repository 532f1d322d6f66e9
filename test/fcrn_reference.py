"""
Weights of the layout of Laina's released file, made from a seed, and what the original network computes with them.

``test/data/fcrn_reference.npz`` holds the depth map that the original graph definition (irolaina/FCRN-DepthPrediction,
run unchanged by TensorFlow 2 in its version 1 mode, at 228x304) computes with these weights for this image, and the
sha256 of the weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

SEED = 2016
REFERENCE = Path(__file__).resolve().parent / "data" / "fcrn_reference.npz"


def layout() -> dict[str, tuple[tuple[int, ...], bool] | int]:
    """Return the file's layers: of a convolution its kernel (HWIO) and whether it has biases, of a norm its width."""
    layers = {"conv1": ((7, 7, 3, 64), True), "bn_conv1": 64}
    before = 64
    for stage, (letters, width) in enumerate([("abc", 64), ("abcd", 128), ("abcdef", 256), ("abc", 512)], start=2):
        for letter in letters:
            block, after = f"{stage}{letter}", 4 * width
            kernels = {"branch2a": (1, 1, before, width), "branch2b": (3, 3, width, width)}
            kernels["branch2c"] = (1, 1, width, after)
            if letter == "a":
                kernels["branch1"] = (1, 1, before, after)
            for name, kernel in kernels.items():
                layers[f"res{block}_{name}"] = (kernel, False)
                layers[f"bn{block}_{name}"] = kernel[-1]
            before = after
    layers["layer1"], layers["layer1_BN"] = ((1, 1, 2048, 1024), True), 1024
    for block, before in [("2x", 1024), ("4x", 512), ("8x", 256), ("16x", 128)]:
        after = before // 2
        for branch in ("br1", "br2"):
            for phase, size in [("A", (3, 3)), ("B", (2, 3)), ("C", (3, 2)), ("D", (2, 2))]:
                layers[f"layer{block}_{branch}_Conv{phase}"] = ((*size, before, after), True)
            layers[f"layer{block}_{branch}_BN"] = after
        layers[f"layer{block}_Conv"], layers[f"layer{block}_BN"] = ((3, 3, after, after), True), after
    layers["ConvPred"] = ((3, 3, 64, 1), True)
    return layers


def make_weights() -> dict[str, dict[str, np.ndarray]]:
    """
    Return random weights that keep activations near one and the output a room's depths.

    Variances are small, so that the constant added to them matters. `RandomState`, because numpy promises that it
    never changes.
    """
    random = np.random.RandomState(SEED)

    def uniform(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        return random.uniform(low, high, shape).astype(np.float32)

    weights = {}
    for name, layer in layout().items():
        if isinstance(layer, int):
            # The last norm of a residual branch is weaker, as activations would grow from block to block.
            strength = 0.3 if name.endswith("branch2c") else 1.0
            weights[name] = {
                "mean": uniform(-0.2, 0.2, (layer,)),
                "variance": uniform(0.02, 0.5, (layer,)),
                "scale": uniform(0.5 * strength, 1.5 * strength, (layer,)),
                "offset": uniform(-0.3, 0.3, (layer,)),
            }
            continue
        kernel, biased = layer
        limit = float(np.sqrt(0.5 / np.prod(kernel[:3]))) * (1 / 147 if name == "conv1" else 1.0)
        weights[name] = {"weights": uniform(-limit, limit, kernel)}
        if biased:
            weights[name]["biases"] = uniform(-0.3, 0.3, kernel[-1:])
    weights["ConvPred"]["biases"] += np.float32(3.0)
    return weights


def make_image() -> np.ndarray:
    """Return the input: uint8 [228, 304, 3], patches with noise on them."""
    random = np.random.RandomState(SEED + 1)
    patches = np.kron(random.randint(0, 200, (12, 16, 3)), np.ones((19, 19, 1), int))
    return (patches + random.randint(0, 56, (228, 304, 3))).astype(np.uint8)


def checksum(weights: dict[str, dict[str, np.ndarray]]) -> str:
    """Return the sha256 of all weights, in the order of the layout."""
    digest = hashlib.sha256()
    for entries in weights.values():
        for array in entries.values():
            digest.update(array.tobytes())
    return digest.hexdigest()


def depth(weights: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """Return what the original network computed with these weights for `make_image`, float32 [128, 160], metres."""
    with np.load(REFERENCE) as stored:
        assert str(stored["weights_sha256"]) == checksum(weights), "numpy made other weights of the seed"
        return stored["depth"]
