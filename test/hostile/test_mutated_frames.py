"""A frame's whole way with mutated images, calibrations, references, transforms and settings: messages, or one line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import survive
from painted_depth import write_model
from strategies import (
    COLOUR_LAYOUTS,
    camera_infos,
    compressed_images,
    images,
    mutated,
    references,
    transforms,
    values_of_settings,
)

from depth_estimation_ros.estimator import DepthEstimator
from depth_estimation_ros.geometry.pose import pose_from_transform
from depth_estimation_ros.parameters.declaration import Effect
from depth_estimation_ros.pipeline.frame import OUTPUT_TYPES, Frame, FrameError, Surroundings
from depth_estimation_ros.pipeline.pipeline import Pipeline
from depth_estimation_ros.pipeline.stopwatch import Stopwatch
from depth_estimation_ros.settings import Settings

SIZE = (64, 48)
some_images = images(st.just(SIZE), COLOUR_LAYOUTS) | compressed_images(st.just(SIZE))
other_settings = values_of_settings((Effect.FRAME, Effect.ACTIVATE), most=2)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    model = write_model(tmp_path_factory.mktemp("model") / "painted.onnx")
    return DepthEstimator.load(model, "cpu", threads=1)


@pytest.fixture(scope="module")
def pipeline(estimator):
    return Pipeline(estimator)


@given(
    mutated(some_images, 1),
    mutated(camera_infos(st.just(SIZE)), 1),
    mutated(transforms(), 1),
    st.sampled_from(sorted(references)).flatmap(lambda kind: mutated(references[kind], 1)),
    other_settings,
)
def test_a_mutated_frame_is_published_or_refused(pipeline, image, info, transform, reference, values):
    try:
        settings = Settings().having(values)
    except ValueError:
        return

    def pose(*_):
        t, r = transform.transform.translation, transform.transform.rotation
        return pose_from_transform((t.x, t.y, t.z), (r.x, r.y, r.z, r.w))

    surroundings, sent = Surroundings(lambda _: info, pose, lambda _: reference), {}

    def publish():
        for topic, message in pipeline.outputs(Frame(image), surroundings, settings, Stopwatch()):
            sent[topic] = message

    survive(publish, errors=FrameError, weight=10 * len(image.data), largest_ms=np.inf)
    assert all(isinstance(message, OUTPUT_TYPES[topic]) for topic, message in sent.items())
