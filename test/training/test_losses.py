import math

import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.losses import LOSSES, berhu, bin_cross_entropy, log_gradient, log_l1  # noqa: E402
from training.models.residual import LOG_BINS  # noqa: E402


def maps(*rows):
    return [torch.tensor(row, dtype=torch.float32).view(1, 1, 1, -1) for row in rows]


def test_berhu_worked_out_by_hand():
    depth, target = maps([1.1, 2.0, 3.0], [1.0, 1.0, 1.0])
    # Errors 0.1, 1, 2; c = 0.4; (1 + 0.16) / 0.8 = 1.45, (4 + 0.16) / 0.8 = 5.2.
    assert berhu({"depth": depth}, target).item() == pytest.approx((0.1 + 1.45 + 5.2) / 3, rel=1e-5)


def test_log_l1_worked_out_by_hand():
    depth, target = maps([2.0, 1.0, 5.0], [1.0, 1.0, 0.0])
    assert log_l1({"depth": depth}, target).item() == pytest.approx(math.log(2) / 2, rel=1e-5)


def test_the_gradient_loss_is_blind_to_scale_and_sees_edges():
    target = torch.rand(1, 1, 16, 16) + 1
    assert log_gradient({"depth": 3 * target}, target).item() == pytest.approx(0, abs=1e-5)
    assert log_gradient({"depth": torch.ones_like(target)}, target).item() > 0.05


def test_bin_cross_entropy_is_least_where_the_scores_are_the_soft_target():
    target = torch.full((1, 1, 4, 4), 2.0)
    sigma = 2 * (LOG_BINS[1] - LOG_BINS[0])
    right = (-0.5 * ((math.log(2.0) - LOG_BINS) / sigma) ** 2).view(1, -1, 1, 1).expand(1, 64, 4, 4)
    losses = [bin_cross_entropy({"bin_scores": right.roll(shift, 1)}, target).item() for shift in (0, 1, 8)]
    assert losses == sorted(losses) and losses[2] > 2 * losses[0]
    with pytest.raises(ValueError, match="needs a network with output: bins"):
        bin_cross_entropy({"depth": target}, target)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_have_no_say_and_no_gradient(name):
    target = torch.rand(2, 1, 16, 16) + 1
    target[:, :, :, :8] = 0
    output = {"depth": (target + 1).requires_grad_(), "bin_scores": torch.randn(2, 64, 16, 16, requires_grad=True)}
    LOSSES[name](output, target).backward()
    (used,) = (value for value in output.values() if value.grad is not None)
    assert torch.isfinite(used.grad).all() and (used.grad != 0).any()
    assert (used.grad[..., :8] == 0).all()
