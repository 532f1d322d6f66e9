"""Training of a network on a site within a budget of time, with the weights that are best on held-out frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.adapt.frames import Frame
from training.adapt.graph import GraphNetwork
from training.adapt.replay import Replay
from training.losses import laplace_nll, log_gradient, log_l1

SITE_BATCH, REPLAY_BATCH = 4, 4
RATE = 3e-4
ENCODER_RATE = 0.3
"""Learning rate of the decoder, and that of the encoder as a factor of it."""

DECODER_ALONE = 0.15
"""Share of the budget in which the weights of the encoder do not change."""

CHECKS = 20
"""Number of times that the held-out frames are looked at."""

PATIENCE = 6
"""Number of looks without an improvement after which the training stops."""

_WARM_UP = 0.05
_DECAY = 0.97  # of the average of the weights, which takes the noise of the small batches out


@dataclass
class Tuned:
    """
    Result of a training.

    Parameters
    ----------
    before, best : float
        AbsRel on the held-out frames at the network's output size, before the training and of the weights kept.
    weights : list of torch.Tensor
        Weights of `GraphNetwork.weights` with ``best``; those of the beginning if none was better.
    steps, at : int
        Number of steps done, and the step of these weights.
    ended : str
        Why the training ended.
    """

    before: float
    best: float
    weights: list[Tensor] = field(repr=False)
    steps: int = 0
    at: int = 0
    ended: str = "its time is used up"


class Budget:
    """
    Budget of processor time: with time of the wall, a busy machine would give a worse model.

    Parameters
    ----------
    minutes : float
        Minutes of each of the cores.
    cores : int
        Number of cores.
    """

    def __init__(self, minutes: float, cores: int):
        self._seconds, self._start = 60 * minutes * cores, time.process_time()

    @property
    def used(self) -> float:
        """Share of the budget that is used, at most 1."""
        return min(1.0, (time.process_time() - self._start) / self._seconds)


def tune(
    network: GraphNetwork,
    trained: Sequence[Frame],
    held_out: Sequence[Frame],
    replay: Sequence[Frame] | Replay,
    budget: Budget,
    tell: Callable[[float, float, float], bool] = lambda used, now, best: False,
    seed: int = 0,
) -> Tuned:
    """
    Train a network on a site.

    Parameters
    ----------
    network : GraphNetwork
        The network; its weights are those of the end afterwards.
    trained, held_out : sequence of Frame
        Frames of the site.
    replay : sequence of Frame, or Replay
        Frames of other rooms.
    budget : Budget
        Time that it may take.
    tell : callable
        Called in every step with the share of the budget that is used, and the present and best AbsRel on the held-out
        frames. The training ends if it returns True.
    seed : int
        Seed of all random numbers.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = _optimizer(network)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_DECAY))
    before = now = abs_rel(network, held_out)
    result = Tuned(before, before, _copy(network))
    looks, since = 0, 0
    batches = zip(_views(trained, network, rng, SITE_BATCH), _views(replay, network, rng, REPLAY_BATCH), strict=True)
    while (used := budget.used) < 1:
        if tell(used, now, result.best):
            result.ended = "it was interrupted"
            break
        _set_rates(optimizer, used)
        optimizer.zero_grad(set_to_none=True)
        _loss(network, *next(batches)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        result.steps += 1
        if budget.used >= (looks + 1) / CHECKS:
            looks, since = int(budget.used * CHECKS), since + 1
            now = abs_rel(average.module, held_out)
            if now < result.best:
                result.best, result.at, result.weights, since = now, result.steps, _copy(average.module), 0
            if since >= PATIENCE:
                result.ended = f"the held-out frames did not get better in {PATIENCE} looks"
                break
    return result


def abs_rel(network: GraphNetwork, frames: Sequence[Frame]) -> float:
    """Return the mean over frames of AbsRel at the network's output size."""
    errors = []
    with torch.inference_mode():
        for frame in frames:
            depth = network(torch.from_numpy(frame.plain(network.info))[None])["depth"][0, 0].numpy()
            known = frame.truth > 0
            errors.append(np.abs(depth[known] / frame.truth[known] - 1).mean())
    return float(np.mean(errors))


def _optimizer(network: GraphNetwork) -> torch.optim.Optimizer:
    """Return the optimiser; the offsets of the encoder, in which batch normalisation is folded, go with the decoder."""
    weights = list(network.weights)
    encoder = [weights[i] for i in network.encoder if weights[i].ndim > 1]
    own = set(map(id, encoder))
    groups = [
        {"params": [w for w in weights if id(w) not in own], "rate": 1.0, "from": 0.0},
        {"params": encoder, "rate": ENCODER_RATE, "from": DECODER_ALONE},
    ]
    # A network without a part that enlarges is trained as a whole.
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=RATE, weight_decay=0.0)


def _set_rates(optimizer: torch.optim.Optimizer, used: float) -> None:
    """Set the learning rates: warm-up, then a cosine to zero."""
    for group in optimizer.param_groups:
        warm = min(1.0, max(used - group["from"], 0.0) / _WARM_UP)
        group["lr"] = RATE * group["rate"] * warm * 0.5 * (1 + math.cos(math.pi * used))


def _loss(network: GraphNetwork, site: tuple[Tensor, ...], replay: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of a batch of the site and a batch of other rooms, each (image, truth, earlier depth)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        output = network(torch.cat([site[0], replay[0]]))
    count = len(site[0])
    here = {name: value[:count] for name, value in output.items()}
    elsewhere = {name: value[count:] for name, value in output.items()}
    _, truth, before = site
    # Where the site has no ground truth, the shape of the earlier estimate remains, not its scale.
    kept = log_gradient(here, torch.where(truth > 0, torch.zeros_like(truth), before))
    return _depth_loss(here, truth) + 0.5 * kept + _depth_loss(elsewhere, replay[1])


def _depth_loss(output: dict[str, Tensor], truth: Tensor) -> Tensor:
    loss = log_l1(output, truth) + 0.5 * log_gradient(output, truth)
    if "log_variance" in output:
        loss = loss + 0.1 * laplace_nll({**output, "depth": output["depth"].detach()}, truth)
    return loss


def _views(
    frames: Sequence[Frame] | Replay, network: GraphNetwork, rng: np.random.Generator, size: int
) -> Iterator[tuple]:
    """Yield batches of random views of the frames, each frame once before any is repeated."""
    indices = chain.from_iterable(iter(lambda: rng.permutation(len(frames)).tolist(), None))
    while True:
        views = [frames[next(indices)].view(network.info, rng) for _ in range(size)]
        yield tuple(torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))


def _copy(network: GraphNetwork) -> list[Tensor]:
    return [weight.detach().clone() for weight in network.weights]


@cache
def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; others emulate it slowly."""
    try:
        words = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(words)
