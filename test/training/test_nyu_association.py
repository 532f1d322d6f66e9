import numpy as np
import pytest

from training.data.association import find_scenes, nearest_in_time, sample_evenly, scene_pairs
from training.data.colorization import fill_depth


def nearest(depths, colours, max_gap=0.05):
    return nearest_in_time(np.array(depths, float), np.array(colours, float), max_gap).tolist()


def test_every_depth_takes_the_nearest_colour():
    assert nearest([0.01, 0.12, 0.29], [0.0, 0.1, 0.2, 0.3]) == [[0, 0], [1, 1], [2, 3]]
    assert nearest([1.0], [1.02]) == [[0, 0]]
    assert nearest([1.0, 2.0], [2.01]) == [[1, 0]]


def test_a_gap_too_wide_is_no_pair():
    assert nearest([0.0, 1.0], [0.04, 1.06]) == [[0, 0]]
    assert nearest([], [1.0]) == nearest([1.0], []) == []


def test_depths_that_would_share_a_colour_are_dropped():
    assert nearest([0.0, 0.02, 0.1], [0.01, 0.1]) == [[2, 1]]
    # One too far away to be served takes nothing from the other.
    assert nearest([0.0, 0.2], [0.19], 0.05) == [[1, 0]]


def test_sampling_is_even():
    assert sample_evenly(list(range(101)), 5) == [0, 25, 50, 75, 100]
    assert sample_evenly([1, 2], 5) == sample_evenly([1, 2], 0) == [1, 2]


def raw_names(*times):
    return [
        f"{kind}-{1294886360 + t + (0.004 if kind == 'r' else 0):.6f}-{i}.{suffix}"
        for kind, suffix in (("d", "pgm"), ("r", "ppm"), ("a", "dump"))
        for i, t in enumerate(times)
    ]


def test_scenes_are_read_from_an_index_or_a_listing(tmp_path):
    listed, indexed = tmp_path / "part1" / "kitchen_0001", tmp_path / "office_0002"
    for folder in (listed, indexed):
        folder.mkdir(parents=True)
    for name in raw_names(0.0, 0.1):
        (listed / name).touch()
    (indexed / "INDEX.txt").write_text("\n".join(reversed(raw_names(5.0, 5.1, 5.2))))
    scenes = find_scenes(tmp_path)
    assert scenes == {"kitchen_0001": listed, "office_0002": indexed}
    pairs = scene_pairs(listed, 0.01)
    assert [p.depth.name for p in pairs] == raw_names(0.0, 0.1)[:2]
    assert [p.colour.name for p in pairs] == raw_names(0.0, 0.1)[2:4]
    assert [p.time for p in scene_pairs(indexed, 0.01)] == pytest.approx([1294886365.0, 1294886365.1, 1294886365.2])
    assert find_scenes(listed) == {"kitchen_0001": listed}


def test_a_folder_without_scenes_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no scene"):
        find_scenes(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        find_scenes(tmp_path / "none")
    for part in ("a", "b"):
        (tmp_path / part / "kitchen_0001").mkdir(parents=True)
        (tmp_path / part / "kitchen_0001" / "INDEX.txt").touch()
    with pytest.raises(ValueError, match="one scene twice"):
        find_scenes(tmp_path)


def solve_densely(grey, depth):
    """Solve the toolbox's equations, written out pixel by pixel, with measured depths as they are."""
    h, w = depth.shape
    matrix, right = np.eye(h * w), depth.ravel().astype(float)
    for y in range(h):
        for x in range(w):
            if depth[y, x]:
                continue
            around = [(j, i) for j in range(max(0, y - 1), min(h, y + 2)) for i in range(max(0, x - 1), min(w, x + 2))]
            values = np.array([grey[p] for p in around])
            others = [p for p in around if p != (y, x)]
            squares = np.array([(grey[p] - grey[y, x]) ** 2 for p in others])
            sigma2 = max(0.6 * np.mean((values - values.mean()) ** 2), -squares.min() / np.log(0.01), 2e-6)
            weights = np.exp(-squares / sigma2)
            for p, weight in zip(others, weights / weights.sum(), strict=True):
                matrix[y * w + x, p[0] * w + p[1]] = -weight
    return np.linalg.solve(matrix, right).reshape(h, w)


def test_filling_solves_the_toolboxs_equations():
    rng = np.random.default_rng(1)
    grey = rng.random((9, 11))
    depth = np.where(rng.random((9, 11)) < 0.4, rng.uniform(1, 9, (9, 11)), 0).astype(np.float32)
    filled = fill_depth(grey, depth)
    np.testing.assert_allclose(filled, solve_densely(grey, depth), rtol=1e-5)
    np.testing.assert_array_equal(filled[depth > 0], depth[depth > 0])


def test_filling_stops_at_edges_of_colour():
    grey = np.zeros((20, 20), np.uint8)
    grey[:, 10:] = 200
    depth = np.zeros((20, 20), np.float32)
    depth[10, 2], depth[10, 17] = 2, 5
    filled = fill_depth(grey, depth)
    np.testing.assert_allclose(filled[:, :10], 2, atol=0.1)
    np.testing.assert_allclose(filled[:, 10:], 5, atol=0.1)


def test_an_island_of_another_colour_is_filled_too():
    grey = np.zeros((12, 12), np.uint8)
    grey[4:8, 4:8] = 255
    depth = np.full((12, 12), 3, np.float32)
    depth[3:9, 3:9] = 0
    np.testing.assert_allclose(fill_depth(grey, depth), 3, rtol=1e-4)
    with pytest.raises(ValueError, match="no depth is known"):
        fill_depth(grey, np.zeros_like(depth))
