"""The view shows the newest frame, with everything of the same stamp, and never queues."""

from depth_estimation_ros.viewer.frames import Frames

IMAGE, DEPTH, CLOUD = "image", "depth/image", "depth/points"
SECOND = 10**9


def frames():
    return Frames(IMAGE, DEPTH)


def test_an_image_waits_for_its_depth():
    buffer = frames()
    buffer.put(DEPTH, 1, b"d1")
    buffer.take()
    buffer.put(IMAGE, 2, b"i2")
    assert buffer.take() == ([], {})
    buffer.put(DEPTH, 2, b"d2")
    assert buffer.take() == ([(2, {IMAGE: b"i2", DEPTH: b"d2"})], {})
    assert buffer.take() == ([], {})


def test_only_the_newest_frame_is_shown():
    buffer = frames()
    for stamp in range(1, 6):
        for topic in (IMAGE, DEPTH):
            buffer.put(topic, stamp, b"%d" % stamp)
    assert buffer.take()[0] == [(5, {IMAGE: b"5", DEPTH: b"5"})]
    assert buffer.take()[0] == []


def test_what_follows_the_depth_is_shown_with_its_frame_and_what_belongs_to_no_shown_frame_is_not():
    buffer = frames()
    buffer.put(DEPTH, 3, b"d3")
    buffer.take()
    buffer.put(CLOUD, 3, b"c3")
    buffer.put(CLOUD, 2, b"c2")
    assert buffer.take()[0] == [(3, {CLOUD: b"c3"})]


def test_images_are_shown_while_there_is_no_depth():
    buffer = frames()
    buffer.put(IMAGE, 1, b"i1")
    buffer.put(IMAGE, 2, b"i2")
    assert buffer.take()[0] == [(2, {IMAGE: b"i2"})]


def test_images_that_nobody_takes_do_not_pile_up():
    buffer = frames()
    buffer.put(DEPTH, 0, b"")
    for stamp in range(1, 1000):
        buffer.put(IMAGE, stamp, bytes(10))
    assert len(buffer._frames) < 20


def test_a_jump_back_in_time_begins_anew():
    buffer = frames()
    buffer.put(DEPTH, 100 * SECOND, b"late")
    buffer.take()
    buffer.put(DEPTH, 5 * SECOND, b"early")
    assert buffer.take()[0] == [(5 * SECOND, {DEPTH: b"early"})]


def test_the_newest_message_of_another_topic_is_given_out_once():
    buffer = frames()
    buffer.put_latest("depth/scale", b"1")
    buffer.put_latest("depth/scale", b"2")
    assert buffer.take() == ([], {"depth/scale": b"2"})
    assert buffer.take() == ([], {})
