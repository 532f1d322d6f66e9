"""Which topics of a bag are images and truth, whether they are of one time, and which files are bags: or a sentence."""

import os

import bags
import pytest
from bag_writer import BagWriter
from small_bags import CAMERA, depth, picture, read, write

from depth_estimation_ros.evaluation.recording.recording import Recording, Topics, find_recordings


def test_depth_of_another_frame_without_camera_info_of_its_own_is_taken_as_registered_and_told(tmp_path):
    recording = Recording(write(tmp_path / "run", truth_frame="elsewhere"))
    assert recording.kind == "depth image"
    assert any("assumed to be registered" in note for note in recording.notes)


def test_topics_that_are_not_certain_are_listed(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for topic in ("/left/image", "/right/image"):
            bag.image(topic, 1.0, picture(1), "rgb8")
            bag.info(topic.replace("image", "camera_info"), 1.0, CAMERA)
        bag.image("/infra", 1.0, picture(1)[..., 0], "mono8")
        for topic in ("/depth/a", "/depth/b"):
            bag.image(topic, 1.0, depth(1.0), "32FC1")
    with pytest.raises(ValueError, match=r"3 images; choose one with --image: /left/image, /right/image, /infra"):
        Recording(tmp_path / "run")
    with pytest.raises(ValueError, match=r"2 topics with ground truth; choose one with --depth: /depth/a, /depth/b"):
        Recording(tmp_path / "run", Topics(image="/left/image"))
    with pytest.raises(ValueError, match=r"no messages of /up \(--image\).*/left/image, /right/image, /infra"):
        Recording(tmp_path / "run", Topics(image="/up"))
    with pytest.raises(ValueError, match=r"/infra of .* cannot be --depth; there are /depth/a, /depth/b"):
        Recording(tmp_path / "run", Topics(image="/left/image", depth="/infra"))
    chosen = Recording(tmp_path / "run", Topics(image="/right/image", depth="/depth/b"))
    assert chosen.topics.camera_info == "/right/camera_info"


def test_one_image_in_colour_is_taken_before_grey_ones_and_a_raw_one_before_its_compressed_twin(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.image("/infra", 1.0, picture(1)[..., 0], "mono8")
        bag.image("/rgb", 1.0, picture(1), "bgr8")
        bag.compressed("/rgb/compressed", 1.0, b"-", "bgr8; jpeg compressed bgr8")
        bag.image("/depth", 1.0, depth(1.0), "32FC1")
    recording = Recording(tmp_path / "run")
    assert recording.topics.image == "/rgb"
    assert any("--image selects one of /infra, /rgb" in note for note in recording.notes)


def test_the_one_image_with_camera_info_beside_it_is_taken_before_an_overlay(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for topic in ("/overlay", "/camera/image"):
            bag.image(topic, 1.0, picture(1), "bgr8")
        bag.info("/camera/camera_info", 1.0, CAMERA)
        bag.image("/depth", 1.0, depth(1.0), "32FC1")
    assert Recording(tmp_path / "run").topics.image == "/camera/image"


def test_what_the_depth_node_has_published_passes_neither_for_the_image_nor_for_the_truth(tmp_path):
    for name in ("all", "own"):
        with BagWriter(tmp_path / name, "mcap") as bag:
            bag.image("/front/depth/preview", 1.0, picture(1), "rgb8")
            bag.image("/front/depth/image", 1.0, depth(1.0), "32FC1")
            if name == "all":
                bag.image("/front/image", 1.0, picture(1), "rgb8")
                bag.image("/sensor/depth/image", 1.0, depth(2.0), "32FC1")
    chosen = Recording(tmp_path / "all").topics
    assert (chosen.image, chosen.depth) == ("/front/image", "/sensor/depth/image")
    # Who asks for it gets it.
    asked = Recording(tmp_path / "all", Topics(depth="/front/depth/image")).topics
    assert asked.depth == "/front/depth/image"
    with pytest.raises(ValueError, match="no image topic besides what depth_estimation_node published"):
        Recording(tmp_path / "own")


@pytest.mark.parametrize(("missing", "sentence"), [("image", "no image topic"), ("depth", "no depth images, point")])
def test_a_bag_without_images_or_truth_names_its_topics(tmp_path, missing, sentence):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        if missing == "image":
            bag.image("/depth", 1.0, depth(1.0), "32FC1")
        else:
            bag.image("/image", 1.0, picture(1), "rgb8")
    with pytest.raises(ValueError, match=rf"{sentence}.*its topics are /\w+ \(sensor_msgs/msg/Image\)"):
        Recording(tmp_path / "run")


def test_no_overlap_in_time_is_told_with_both_spans(tmp_path):
    with BagWriter(tmp_path / "run", "sqlite3") as bag:
        for k in range(10):
            bag.image("/image", 100 + k, picture(k), "rgb8")
            bag.image("/depth", 200 + k, depth(1.0), "32FC1")
    with pytest.raises(
        ValueError, match=r"do not overlap.*/image is from 100\.000 to 109\.000 s, /depth from 200\.000"
    ):
        Recording(tmp_path / "run")
    assert read(Recording(tmp_path / "run", clock_offset=100.0)) == []  # received 100 s apart: not one moment
    with pytest.raises(ValueError, match="tolerance"):
        Recording(tmp_path / "run", tolerance=-1)


@pytest.mark.parametrize("offset", [7.25, -0.75])
def test_a_clock_that_is_ahead_is_estimated_told_and_corrected(tmp_path, offset):
    recording = Recording(write(tmp_path / "run", count=200, late=offset))
    assert recording.clock_offset == pytest.approx(offset, abs=1e-3)
    assert any("clock" in note for note in recording.notes)
    assert len(read(recording)) == 200
    assert all(abs(sample.delay) < 2e6 for sample in recording.samples(0, 5))
    given = Recording(tmp_path / "run", recording.topics, clock_offset=offset)
    assert given.clock_offset == offset and not given.notes
    assert read(given, 190) == read(recording)[190:]


@pytest.mark.parametrize("offset", [0.05, 0.4, -0.7])
def test_a_depth_camera_by_another_clock_is_corrected_although_its_stamps_are_near_those_of_other_images(
    tmp_path, rendered_data, offset
):
    recording = Recording(bags.red_kitchen(tmp_path / "run", rendered_data, count=20, clock_offset=offset))
    assert recording.clock_offset == pytest.approx(offset, abs=1e-3)
    side = "ahead of" if offset > 0 else "behind"
    assert any(f"{abs(offset):.3f} s {side}" in note for note in recording.notes)
    assert all(sample.delay == pytest.approx(0, abs=1000) for sample in recording.samples(0, 20, 5))


def test_a_clock_a_little_behind_looks_as_a_slow_driver_and_is_left_alone(tmp_path, rendered_data):
    # The limit of what stamps and times of receipt can tell; --clock-offset is for who knows.
    recording = Recording(bags.red_kitchen(tmp_path / "run", rendered_data, count=20, clock_offset=-0.05))
    assert recording.clock_offset == 0.0


def test_what_lies_beside_recordings_costs_none_of_them(tmp_path):
    (tmp_path / "a.mcap").touch()
    (tmp_path / "gone.mcap").symlink_to("nowhere.mcap")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.mcap")
    assert [path.name for path in find_recordings([str(tmp_path)])] == ["a.mcap"]


def test_recordings_are_found_by_names_folders_and_patterns(tmp_path, monkeypatch):
    for name in ("run2", "run10", "other"):
        write(tmp_path / name, count=1)
    write(tmp_path / "old.bag", "bag", count=1)
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "down", count=1)
    (tmp_path / "run10" / "metadata.yaml").unlink()
    (tmp_path / "notes.txt").write_text("no bag")
    names = [p.relative_to(tmp_path).as_posix() for p in find_recordings([str(tmp_path)])]
    assert sorted(names) == ["deep/down", "old.bag", "other", "run10", "run2"]
    assert [p.name for p in find_recordings([f"{tmp_path}/run*"])] == ["run2", "run10"]
    assert len(find_recordings([f"{tmp_path}/run*", str(tmp_path / "run2")])) == 2
    assert [p.name for p in find_recordings([f"{tmp_path}/**/*.mcap"])] == [
        "down.mcap",
        "other.mcap",
        "run2.mcap",
        "run10.mcap",
    ]
    monkeypatch.chdir(tmp_path)
    assert [str(p) for p in find_recordings(["old.bag"])] == ["old.bag"]
    for pattern, sentence in (
        ("missing.bag", "does not exist"),
        ("no*", "no recording"),
        ("notes.txt", "no recording"),
        ("x" * 300, "'x+' (cannot be read|does not exist)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            find_recordings([pattern])
