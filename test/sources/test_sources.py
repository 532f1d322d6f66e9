"""Readers of folders, videos and bags, without a node."""

import subprocess

import cv2
import numpy as np
import pytest
from bags import BagWriter

from depth_estimation_ros.camera import PinholeCamera
from depth_estimation_ros.sources import open_source


def picture(value, size=(24, 32)):
    """Make a plain picture whose red channel tells which one it is."""
    return np.dstack([np.full(size, c, np.uint8) for c in (value, 100, 200)])


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def reds(source):
    return [int(frame.rgb[0, 0, 0]) for frame in source]


def test_a_folder_is_read_in_natural_order_again_and_again(tmp_path):
    for number in (10, 2, 1):
        save(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(str(tmp_path))
    assert reds(source) == [1, 2, 10]
    assert reds(source) == [1, 2, 10]
    assert next(iter(source)).rgb[0, 0].tolist() == [1, 100, 200]  # RGB, not BGR


def test_a_single_image_is_one_frame(tmp_path):
    save(tmp_path / "a.png", picture(7))
    frames = list(open_source(str(tmp_path / "a.png")))
    assert len(frames) == 1 and frames[0].depth is None and frames[0].camera is None


@pytest.mark.parametrize(("colour", "depth"), [("rgb/{}.png", "depth/{}.png"), ("{}.color.png", "{}.depth.png")])
def test_depth_beside_the_images_is_read_in_metres(tmp_path, colour, depth):
    for number in (1, 2):
        save(tmp_path / colour.format(number), picture(number))
    stored = np.full((24, 32), 3000, np.uint16)
    stored[0, 0], stored[0, 1] = 0, 65535
    (tmp_path / depth.format(1)).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / depth.format(1)), stored)
    first, second = open_source(str(tmp_path), depth_scale=0.0002)
    assert np.isnan(first.depth[0, :2]).all()
    assert first.depth[0, 2:] == pytest.approx(0.6)
    assert first.depth.dtype == np.float32
    assert second.depth is None


def test_a_video_gives_its_frames_and_its_rate(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (64, 48))
    for value in (20, 90, 160):
        writer.write(picture(value, (48, 64))[..., ::-1].copy())
    writer.release()
    source = open_source(str(path))
    assert source.rate == pytest.approx(12.5)
    assert reds(source) == pytest.approx([20, 90, 160], abs=6)  # JPEG


def test_a_damaged_video_gives_the_frames_before_the_damage(tmp_path):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (64, 48))
    for value in (20, 90, 160):
        writer.write(picture(value, (48, 64))[..., ::-1].copy())
    writer.release()
    content = bytearray(path.read_bytes())
    # The place of the second frame in the index, and the largest size of a frame: OpenCV raises cv2.error.
    second = content.index(b"idx1") + 8 + 16
    content[second + 5 : second + 9] = bytes(4)
    content[185:189] = b"\xff" * 4
    path.write_bytes(content)
    source = open_source(str(path))
    assert reds(source) == pytest.approx([20], abs=6)
    (sentence,) = source.losses.sentences()
    assert "images left out: 1 (the first: the rest of the video is damaged: " in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: p / "missing.mp4", "does not exist"),
        (lambda p: p, "holds no images"),
        (
            lambda p: (p / "broken.mp4", (p / "broken.mp4").write_bytes(b"no video" * 100))[0],
            "neither a readable",
        ),
        (
            lambda p: (p / "broken.png", (p / "broken.png").write_bytes(b"no image"))[0],
            "not a readable image",
        ),
        (lambda p: (p / "broken.bag", (p / "broken.bag").write_bytes(b"no bag"))[0], "not a readable bag"),
        (lambda p: (p / "broken.mcap", (p / "broken.mcap").write_bytes(b"no bag"))[0], "not a readable bag"),
        (lambda p: "", "no source given"),
        (lambda p: "97", "webcam 97 cannot be opened"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, make, sentence):
    with pytest.raises(ValueError, match=sentence):
        open_source(str(make(tmp_path)))


def test_a_depth_scale_of_zero_is_refused(tmp_path):
    save(tmp_path / "a.png", picture(1))
    with pytest.raises(ValueError, match="depth_scale"):
        open_source(str(tmp_path), depth_scale=0.0)


def test_what_is_no_picture_in_a_folder_costs_itself_only_and_is_counted(tmp_path):
    for number in (1, 2):
        save(tmp_path / f"{number}.png", picture(number))
    (tmp_path / "\u00b23.png").write_bytes(b"no image")  # a superscript digit is no number
    (tmp_path / "9.jpg").write_bytes(b"")
    for hidden in ("._1.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / hidden).write_bytes(b"\0\5\x16\7")
    (tmp_path / "metadata.yaml").write_text("author: nobody\n")
    source = open_source(str(tmp_path))
    assert reds(source) == [1, 2] and source.losses.counts == {"images": 2}
    assert reds(source) == [1, 2] and source.losses.counts == {"images": 2}  # of this turn, not of both
    (sentence,) = source.losses.news()
    assert "9.jpg' is not a readable image" in sentence
    assert not source.losses.news()


def test_the_frames_of_a_video_have_its_own_times(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="makes the video").get_ffmpeg_exe()
    path = tmp_path / "phone.mp4"
    times = "if(lt(N,5),N*0.1,0.5+(N-5)*0.5)/TB"
    line = [ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1"]
    subprocess.run([*line, "-vf", f"setpts='{times}'", "-fps_mode", "vfr", str(path)], check=True)
    moments = [frame.time_ns for frame in open_source(str(path))]
    assert np.diff(moments) / 1e9 == pytest.approx([0.1] * 5 + [0.5] * 4, abs=0.01)


def test_a_sequence_as_of_7_scenes_is_read_in_pairs(rendered_data):
    frames = list(open_source(str(rendered_data / "red_kitchen_sequence")))
    assert len(frames) == 40
    assert all(frame.rgb.shape == (480, 640, 3) and frame.depth.shape == (480, 640) for frame in frames)
    assert 1.0 < np.nanmedian(frames[0].depth) < 6.0


CAMERA = PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5)


@pytest.mark.parametrize("kind", ["sqlite3", "mcap", "bag"])
def test_a_bag_gives_images_intrinsics_and_the_depth_of_the_same_moment(tmp_path, kind):
    path = tmp_path / ("run.bag" if kind == "bag" else "run")
    with BagWriter(path, kind) as bag:
        for index in range(5):
            time = 100.0 + 0.1 * index
            bag.image("/camera/color", time, picture(10 + index), "rgb8")
            bag.info("/camera/camera_info", time, CAMERA)
            if index != 2:  # the depth camera missed one, and is 8 ms late
                depth = np.full((24, 32), 1000 + index, np.uint16)
                bag.image("/camera/depth", time + 0.008, depth, "16UC1")
    frames = list(open_source(str(path)))
    assert reds(frames) == [10, 11, 12, 13, 14]
    assert [frame.time_ns for frame in frames] == pytest.approx([int(1e11 + 1e8 * i) for i in range(5)], abs=10)
    assert all(frame.camera == CAMERA for frame in frames)
    assert frames[2].depth is None
    assert [float(frames[i].depth[0, 0]) for i in (0, 1, 3, 4)] == pytest.approx([1.0, 1.001, 1.003, 1.004])


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
def test_the_file_inside_a_rosbag2_folder_can_be_named_itself(tmp_path, suffix):
    with BagWriter(tmp_path / "run", "mcap" if suffix == "mcap" else "sqlite3") as bag:
        bag.image("/image", 1.0, picture(5), "rgb8")
    file = next((tmp_path / "run").glob(f"*.{suffix}"))
    assert reds(open_source(str(file))) == [5]


def test_compressed_colour_and_depth_of_a_bag_are_read(tmp_path):
    import struct

    rgb = picture(60)
    png = cv2.imencode(".png", np.full((24, 32), 2500, np.uint16))[1].tobytes()
    # compressed_depth_image_transport stores 32FC1 as value = a / z + b.
    quantized = cv2.imencode(".png", np.full((24, 32), 150, np.uint16))[1].tobytes()
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.compressed("/image/compressed", 1.0, cv2.imencode(".png", rgb[..., ::-1])[1].tobytes(), "rgb8; png")
        bag.compressed("/mm/compressedDepth", 1.0, bytes(12) + png, "16UC1; compressedDepth png")
        header = struct.pack("<iff", 0, 200.0, 50.0)
        bag.compressed("/inv/compressedDepth", 1.0, header + quantized, "32FC1; compressedDepth png")
    for topic, metres in (("/mm/compressedDepth", 2.5), ("/inv/compressedDepth", 2.0)):
        (frame,) = open_source(str(tmp_path / "run"), depth_topic=topic)
        assert frame.rgb.tolist() == rgb.tolist()
        assert frame.depth == pytest.approx(np.full((24, 32), metres))


def test_of_several_topics_the_choice_is_told_and_can_be_made(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for value, topic in ((1, "/depth/preview"), (2, "/left/image"), (3, "/right/image")):
            bag.image(topic, 1.0, picture(value), "rgb8")
        bag.info("/right/camera_info", 1.0, PinholeCamera(32, 24, 40.0, 41.0, 15.5, 11.5))
        bag.info("/left/camera_info", 1.0, CAMERA)
        bag.image("/stereo/depth", 1.0, np.full((24, 32), 9, np.float32), "32FC1")
        bag.image("/ground_truth/depth", 1.0, np.full((24, 32), 2, np.float32), "32FC1")
    source = open_source(str(tmp_path / "run"))
    (frame,) = source
    assert frame.rgb[0, 0, 0] == 2 and frame.camera == CAMERA and frame.depth[0, 0] == 2.0
    told = " ".join(source.notes)
    assert "took /left/image as image" in told and "took /ground_truth/depth as depth" in told
    (frame,) = open_source(str(tmp_path / "run"), image_topic="/right/image")
    assert frame.rgb[0, 0, 0] == 3 and frame.camera.fx == 40.0
    with pytest.raises(ValueError, match=r"no image topic '/up'; there are .*/right/image"):
        open_source(str(tmp_path / "run"), image_topic="/up")


def test_what_the_depth_node_has_published_is_neither_image_nor_camera_info_nor_depth(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for topic, encoding, value in (("preview", "rgb8", 1), ("image", "32FC1", 9)):
            pixels = picture(value) if encoding == "rgb8" else np.full((24, 32), value, np.float32)
            bag.image(f"/depth/{topic}", 1.0, pixels, encoding)
        bag.info("/depth/camera_info", 1.0, CAMERA.resized(64, 48))
    with pytest.raises(ValueError, match="no image topic besides what depth_estimation_node published"):
        open_source(str(tmp_path / "run"))
    asked = open_source(str(tmp_path / "run"), image_topic="/depth/preview", depth_topic="/depth/image")
    assert next(iter(asked)).depth[0, 0] == 9


def test_of_several_images_the_camera_is_the_one_with_camera_info_and_colours(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.image("/overlay", 1.0, picture(1, (48, 64)), "rgb8")
        bag.image("/infra/image", 1.0, picture(2)[..., 0], "mono8")
        bag.image("/colour/image", 1.0, picture(3), "bgr8")
        for name, camera in (("infra", CAMERA.resized(64, 48)), ("colour", CAMERA)):
            bag.info(f"/{name}/camera_info", 1.0, camera)
    source = open_source(str(tmp_path / "run"))
    assert (source.image_topic, source.camera_info_topic) == ("/colour/image", "/colour/camera_info")
    assert any("took /colour/image as image" in note for note in source.notes)


def test_a_bag_without_images_is_refused_and_its_topics_are_named(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.info("/camera_info", 1.0, CAMERA)
    with pytest.raises(ValueError, match="no image topic; its topics are /camera_info"):
        open_source(str(tmp_path / "run"))


BARREL = (-0.36, 0.16, 0.0, 0.0, 0.0)
RAW = PinholeCamera(160, 120, 107.0, 107.0, 79.5, 59.5)
RECTIFIED = PinholeCamera(160, 120, 80.0, 80.0, 79.5, 59.5)


def write_distorted(path, kind="mcap", topic="/camera/image_raw"):
    """Record a spot, seen in the direction (0.5, 0.3), at 2 m, by a lens that distorts."""
    at = cv2.projectPoints(np.array([[[0.5, 0.3, 1.0]]]), np.zeros(3), np.zeros(3), RAW.k, np.array(BARREL))[0].ravel()
    image, depth = np.zeros((120, 160, 3), np.uint8), np.full((120, 160), 4, np.float32)
    cv2.circle(image, np.rint(at).astype(int).tolist(), 2, (255, 255, 255), -1)
    depth[image[..., 0] > 0] = 2.0
    with BagWriter(path, kind) as bag:
        for k in range(3):
            bag.image(topic, 100 + k / 10, image, "rgb8", "lens")
            bag.info("/camera/camera_info", 100 + k / 10, RAW, "lens", distortion=BARREL, projection=RECTIFIED)
            bag.image("/camera/depth", 100 + k / 10, depth, "32FC1", "lens")
    return image, depth


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_images_and_depth_of_a_lens_that_distorts_are_rectified_and_the_image_is_kept_as_it_was(tmp_path, kind):
    path = tmp_path / ("run.bag" if kind == "bag" else "run")
    image, _ = write_distorted(path, kind)
    source = open_source(str(path))
    frame = next(iter(source))
    assert frame.camera == RECTIFIED and "has a lens with distortion (plumb_bob)" in " ".join(source.notes)
    for bright in (frame.rgb[..., 0] > 128, frame.depth < 3):
        rows, columns = np.nonzero(bright)
        x, y = (columns.mean() - RECTIFIED.cx) / RECTIFIED.fx, (rows.mean() - RECTIFIED.cy) / RECTIFIED.fy
        assert (x, y) == pytest.approx((0.5, 0.3), abs=0.01)
    assert (frame.image == image).all() and frame.lens.coefficients == BARREL and frame.frame_id == "lens"
    assert tuple(frame.info.D if kind == "bag" else frame.info.d) == BARREL


def test_images_that_are_rectified_by_the_name_of_their_topic_are_not_rectified_again(tmp_path):
    image, depth = write_distorted(tmp_path / "run", topic="/camera/image_rect_color")
    frame = next(iter(open_source(str(tmp_path / "run"))))
    assert frame.camera == RECTIFIED and frame.lens is None and frame.info is None
    assert (frame.rgb == image).all() and (frame.depth == depth).all()


def test_intrinsics_of_an_uncalibrated_camera_are_not_used_and_that_is_told(tmp_path):
    from types import SimpleNamespace

    zero = SimpleNamespace(width=32, height=24, k=np.zeros((3, 3)))
    with BagWriter(tmp_path / "run", "mcap") as bag:
        bag.info("/camera_info", 1.0, zero)
        bag.image("/image", 1.0, picture(1), "rgb8")
    source = open_source(str(tmp_path / "run"))
    assert [frame.camera for frame in source] == [None]
    assert any("camera_info is not used" in note for note in source.notes)


def test_a_message_that_cannot_be_read_costs_itself_only_and_is_counted(tmp_path):
    from types import SimpleNamespace

    nobody = SimpleNamespace(width=32, height=24, k=np.zeros((3, 3)))
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(12):
            time = 100 + k / 10
            jpeg = cv2.imencode(".jpg", np.ascontiguousarray(picture(20 * k)[..., ::-1]))[1].tobytes()
            bag.compressed("/image/compressed", time, jpeg[: 300 if k == 3 else 0 if k == 0 else None], "jpeg")
            bag.info("/camera_info", time - 0.01, nobody if k in (0, 5) else CAMERA)
            depth = np.full((24, 32), 1000 + k, np.uint16)
            png = cv2.imencode(".png", depth)[1].tobytes()
            bag.compressed(
                "/depth/compressedDepth", time, bytes(12) + png[: 40 if k == 7 else None], "16UC1; compressedDepth"
            )
    source = open_source(str(tmp_path / "run"))
    frames = list(source)
    assert [round(frame.rgb[0, 0, 0] / 20) for frame in frames] == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert all(frame.camera == CAMERA for frame in frames)
    assert [frame.depth is None for frame in frames] == [k == 7 for k in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11)]
    assert source.losses.counts == {
        "images of /image/compressed": 2,
        "messages of /camera_info": 2,
        "depth images of /depth/compressedDepth": 1,
    }


def test_where_nobody_filled_the_stamps_the_times_of_receipt_give_pace_and_pairs(tmp_path):
    with BagWriter(tmp_path / "run", "mcap") as bag:
        for k in range(20):
            bag.at(100 + k / 10).image("/image", 0, picture(k), "rgb8")
            if k != 9:
                bag.at(100 + k / 10 + 0.003).image("/depth", 0, np.full((24, 32), 1000 + 10 * k, np.uint16), "16UC1")
    frames = list(open_source(str(tmp_path / "run")))
    assert np.diff([frame.time_ns for frame in frames]) == pytest.approx(1e8, abs=100)
    assert frames[9].depth is None
    metres = [float(frame.depth[0, 0]) for frame in frames if frame.depth is not None]
    assert metres == pytest.approx([1 + 0.01 * k for k in range(20) if k != 9])
