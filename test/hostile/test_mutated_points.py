"""Clouds, scans, range readings and transforms with wrong numbers are used, or refused in one line."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from strategies import clouds, mutated, references, setting, transforms

from depth_estimation_ros import PinholeCamera
from depth_estimation_ros.bags.messages import points_of
from depth_estimation_ros.bags.transforms import TransformTree
from depth_estimation_ros.conversions import message_to_cloud, message_to_points
from depth_estimation_ros.estimator import DepthMap
from depth_estimation_ros.geometry.pose import pose_from_transform
from depth_estimation_ros.pipeline.anchoring import REFERENCE_TYPES, Anchoring
from depth_estimation_ros.pipeline.navigation import Navigation
from depth_estimation_ros.settings import AnchorSettings, Settings

CAMERA = PinholeCamera(80, 64, 65.0, 65.0, 39.5, 31.5)
DEPTH = DepthMap(np.linspace(0.5, 9.0, 80 * 64, dtype=np.float32).reshape(64, 80), CAMERA)
LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]])
FROM_LIDAR = np.linalg.inv(LEVEL)


def parts(transform) -> tuple[tuple[float, ...], tuple[float, ...]]:
    t, r = transform.transform.translation, transform.transform.rotation
    return (t.x, t.y, t.z), (r.x, r.y, r.z, r.w)


@given(mutated(clouds()))
def test_a_mutated_cloud_gives_its_points_or_is_refused(message):
    points = survive(message_to_points, message, weight=len(message.data))
    assert points is None or points.shape == (message.height, message.width, 3)
    coloured = survive(message_to_cloud, message, weight=len(message.data))
    assert coloured is None or coloured[0].shape == coloured[1].shape == (message.height, message.width, 3)
    found = survive(points_of, message, weight=len(message.data))
    assert found is None or np.isfinite(found).all()


@given(st.sampled_from(sorted(references)).flatmap(lambda kind: st.tuples(st.just(kind), mutated(references[kind]))))
def test_depth_anchored_to_a_mutated_message_stays_depth(reference):
    kind, message = reference
    anchoring = Anchoring()

    def anchor():
        settings = AnchorSettings(reference=kind)
        return anchoring(DEPTH, message.header, settings, lambda: message, lambda _: FROM_LIDAR, lambda: LEVEL)

    depth = survive(anchor, errors=(), weight=DEPTH.depth.nbytes).depth
    valid = depth[np.isfinite(depth)]
    assert depth.shape == DEPTH.depth.shape and valid.size and (valid > 0).all()
    trouble = anchoring.trouble
    assert len(trouble.splitlines()) <= 1 and trouble.isprintable() and len(trouble) < 600, trouble
    assert all(value.isprintable() for value in anchoring.describe().values())


@given(mutated(transforms(), 4))
def test_a_mutated_transform_gives_a_rotation_or_is_refused(transform):
    pose = survive(pose_from_transform, *parts(transform))
    if pose is not None:
        assert np.isfinite(pose).all()
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)


@given(st.lists(st.tuples(mutated(transforms()), st.booleans()), max_size=6))
def test_a_tree_of_mutated_transforms_answers(sent):
    tree = TransformTree()

    def build():
        for transform, static in sent:
            tree.add(SimpleNamespace(transforms=[transform]), static)
        return [tree.between(a, b, 100 * 10**9) for a in tree.names() for b in tree.names()]

    found = survive(build, errors=())
    assert all(pose is None or np.isfinite(pose).all() for pose in found)


scan_settings = st.fixed_dictionaries(
    {name: setting(name) for name in ("scan_range_max", "scan_angle_increment", "scan_min_height", "edge_angle")}
)


@given(mutated(transforms()), scan_settings)
def test_a_scan_seen_from_any_pose_with_any_limits_is_made_or_refused(transform, values):
    pose = survive(pose_from_transform, *parts(transform))
    settings = survive(lambda: Settings().having(values))
    if pose is None or settings is None:
        return
    made = survive(Navigation().scan, DEPTH, pose, settings.scan, settings.filter, weight=DEPTH.depth.nbytes)
    if made is not None:
        scanner, found = made
        assert len(found) == scanner.size <= 100_000
        assert not (found[np.isfinite(found)] < 0).any()


def test_every_reference_has_a_strategy():
    assert references.keys() == REFERENCE_TYPES.keys()
