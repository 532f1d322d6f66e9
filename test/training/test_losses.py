import math

import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.losses import LOSSES, berhu, log_gradient, log_l1  # noqa: E402


def maps(*rows):
    return [torch.tensor(row, dtype=torch.float32).view(1, 1, 1, -1) for row in rows]


def test_berhu_worked_out_by_hand():
    depth, target = maps([1.1, 2.0, 3.0], [1.0, 1.0, 1.0])
    # Errors 0.1, 1, 2; c = 0.4; (1 + 0.16) / 0.8 = 1.45, (4 + 0.16) / 0.8 = 5.2.
    assert berhu(depth, target).item() == pytest.approx((0.1 + 1.45 + 5.2) / 3, rel=1e-5)


def test_log_l1_worked_out_by_hand():
    depth, target = maps([2.0, 1.0, 5.0], [1.0, 1.0, 0.0])
    assert log_l1(depth, target).item() == pytest.approx(math.log(2) / 2, rel=1e-5)


def test_the_gradient_loss_is_blind_to_scale_and_sees_edges():
    target = torch.rand(1, 1, 16, 16) + 1
    assert log_gradient(3 * target, target).item() == pytest.approx(0, abs=1e-5)
    assert log_gradient(torch.ones_like(target), target).item() > 0.05


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_have_no_say_and_no_gradient(name):
    target = torch.rand(2, 1, 16, 16) + 1
    target[:, :, :, :8] = 0
    depth = (target + 1).requires_grad_()
    LOSSES[name](depth, target).backward()
    assert torch.isfinite(depth.grad).all()
    assert (depth.grad[..., :8] == 0).all()
