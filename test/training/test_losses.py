import math

import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training.losses import LOSSES, berhu, bin_cross_entropy, l1, laplace_nll, log_gradient, log_l1, mse, silog  # noqa: E402
from training.weights import log_bins  # noqa: E402


def maps(*rows):
    return [torch.tensor(row, dtype=torch.float32).view(1, 1, 1, -1) for row in rows]


def test_berhu_worked_out_by_hand():
    depth, target = maps([1.1, 2.0, 3.0], [1.0, 1.0, 1.0])
    # Errors 0.1, 1, 2; c = 0.4; (1 + 0.16) / 0.8 = 1.45, (4 + 0.16) / 0.8 = 5.2.
    assert berhu({"depth": depth}, target).item() == pytest.approx((0.1 + 1.45 + 5.2) / 3, rel=1e-5)


def test_mse_and_l1_worked_out_by_hand():
    depth, target = maps([1.5, 2.0, 9.0], [1.0, 4.0, 0.0])
    assert mse({"depth": depth}, target).item() == pytest.approx((0.25 + 4) / 2)
    assert l1({"depth": depth}, target).item() == pytest.approx((0.5 + 2) / 2)


def test_silog_worked_out_by_hand():
    depth, target = maps([math.e, math.e**3, 5.0], [1.0, 1.0, 0.0])
    # Differences 1 and 3: mean square 5, mean 2.
    assert silog({"depth": depth}, target).item() == pytest.approx(5 - 0.5 * 4, rel=1e-5)
    assert silog({"depth": depth}, target, weight=1.0).item() == pytest.approx(1.0, rel=1e-4)
    # Means are an image's own: with a second image that is right everywhere, half of it.
    both = torch.cat([depth, torch.ones_like(depth)]), torch.cat([target, torch.ones_like(target)])
    assert silog({"depth": both[0]}, both[1]).item() == pytest.approx(1.5, rel=1e-5)


def test_laplace_nll_worked_out_by_hand():
    depth, target, log_variance = maps([1.0, 3.0], [1.0, 1.0], [0.0, math.log(8.0)])
    # Variance 1 is b = 0.7071, variance 8 is b = 2: ln 2b + |e| / b.
    expected = (math.log(math.sqrt(2)) + (math.log(4) + 2 / 2)) / 2
    assert laplace_nll({"depth": depth, "log_variance": log_variance}, target).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="needs a network with log_variance: true"):
        laplace_nll({"depth": depth}, target)


def test_laplace_nll_is_least_where_the_variance_is_that_of_the_errors():
    error = torch.distributions.Laplace(0.0, 0.5).sample((1, 1, 200, 200))
    output = {"depth": 3 + error}
    target = torch.full_like(error, 3.0)
    costs = [
        laplace_nll({**output, "log_variance": torch.full_like(error, math.log(v))}, target) for v in (0.25, 0.5, 1)
    ]
    assert min(costs) == costs[1]


def test_log_l1_worked_out_by_hand():
    depth, target = maps([2.0, 1.0, 5.0], [1.0, 1.0, 0.0])
    assert log_l1({"depth": depth}, target).item() == pytest.approx(math.log(2) / 2, rel=1e-5)


def test_the_gradient_loss_is_blind_to_scale_and_sees_edges():
    target = torch.rand(1, 1, 16, 16) + 1
    assert log_gradient({"depth": 3 * target}, target).item() == pytest.approx(0, abs=1e-5)
    assert log_gradient({"depth": torch.ones_like(target)}, target).item() > 0.05


def test_bin_cross_entropy_is_least_where_the_scores_are_the_soft_target():
    target = torch.full((1, 1, 4, 4), 2.0)
    for bins in (log_bins((0.6, 10.5)), log_bins((0.25, 20.0))):
        sigma = 2 * (bins[:, 1] - bins[:, 0]).item()
        right = (-0.5 * ((math.log(2.0) - bins) / sigma) ** 2).expand(1, -1, 4, 4)
        losses = [
            bin_cross_entropy({"bin_scores": right.roll(shift, 1), "log_bins": bins}, target).item()
            for shift in (0, 1, 8)
        ]
        assert losses == sorted(losses) and losses[2] > 2 * losses[0]
    with pytest.raises(ValueError, match="needs a network with output: bins"):
        bin_cross_entropy({"depth": target}, target)


@pytest.fixture
def output():
    """Return what a network with everything gives, wrong everywhere by a different amount."""
    torch.manual_seed(0)
    maps = {"depth": torch.rand(2, 1, 16, 16) + 2, "log_variance": torch.randn(2, 1, 16, 16)}
    maps["bin_scores"] = torch.randn(2, 64, 16, 16)
    maps = {name: value.requires_grad_() for name, value in maps.items()}
    return {**maps, "log_bins": log_bins((0.6, 10.5)).expand(2, -1, -1, -1)}


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_pixels_have_no_say_and_no_gradient(name, output):
    target = torch.rand(2, 1, 16, 16) + 1
    target[:, :, :, :8] = 0
    LOSSES[name](output, target).backward()
    used = [value for value in output.values() if value.grad is not None]
    assert used
    for value in used:
        assert torch.isfinite(value.grad).all() and (value.grad != 0).any()
        assert (value.grad[..., :8] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_any_truth_costs_nothing(name, output):
    loss = LOSSES[name](output, torch.zeros(2, 1, 16, 16))
    loss.backward()
    assert loss.item() == 0
    assert all((value.grad == 0).all() for value in output.values() if value.grad is not None)
