"""Bags are read whatever wrote, packed, renamed or damaged them: the storage counts, not what is said of it."""

import shutil
import sqlite3

import pytest
import yaml
from bag_mutations import mutated, packed_ros1, read_all, rewritten
from bag_mutations import small_bags as bags_of_all_kinds
from bag_writer import BagWriter
from small_bags import CAMERA, EXPECTED, depth, picture, read, storage, write, write_noise

from depth_estimation_ros.bags.reader import BagReader
from depth_estimation_ros.evaluation.recording.recording import Recording, find_recordings
from depth_estimation_ros.sources import open_source

LINE = b"=" * 80


def is_whole(path):
    """Read a bag of `small_bags.write` both ways, and by an index, which must agree."""
    assert [int(frame.rgb[0, 0, 0]) for frame in open_source(str(path))] == list(range(20))
    assert read(Recording(path)) == EXPECTED
    with BagReader(path) as reader:
        received = [moment for _, moment, _ in reader.messages(["/camera/depth"])]
        assert reader.times("/camera/depth").tolist() == received and len(received) == 20
        assert reader.topics["/camera/depth"].count == 20
        assert not reader.notes
    return True


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return storage(write(tmp_path_factory.mktemp("plain") / "run", "mcap"))


def others():
    try:
        from mcap.writer import CompressionType, IndexType
    except ImportError:
        return {"skipped": {}}
    small = {"chunk_size": 3000}
    return {
        "lz4": {**small, "compression": CompressionType.LZ4},
        "zstd": {**small, "compression": CompressionType.ZSTD},
        "uncompressed": {**small, "compression": CompressionType.NONE},
        "without checksums": {**small, "enable_crcs": False},
        "unchunked": {"use_chunking": False},
        "unchunked, without summary": {
            "use_chunking": False,
            "index_types": IndexType.NONE,
            "use_statistics": False,
            "repeat_channels": False,
            "repeat_schemas": False,
            "use_summary_offsets": False,
        },
        "without index of messages": {**small, "index_types": IndexType.CHUNK},
        "without index of chunks": {**small, "index_types": IndexType.MESSAGE},
        "without any index": {**small, "index_types": IndexType.NONE},
        "without statistics": {**small, "use_statistics": False},
        "channels in the chunks only": {**small, "repeat_channels": False, "repeat_schemas": False},
        "without definitions": {**small, "definitions": False},
        "of no profile": {**small, "profile": ""},
        "with attachments and metadata": {**small, "attachments": True},
    }


@pytest.mark.parametrize("name", others())
def test_mcaps_of_other_writers_are_read(tmp_path, plain, name):
    pytest.importorskip("mcap", reason="writes them")
    (tmp_path / "run.mcap").write_bytes(rewritten(plain, **others()[name]))
    assert is_whole(tmp_path / "run.mcap")


@pytest.mark.parametrize("compression", ["BZ2", "LZ4"])
def test_ros1_bags_with_compressed_chunks_are_read(tmp_path, compression):
    packed_ros1(tmp_path / "run.bag", compression)
    assert read(Recording(tmp_path / "run.bag")) == EXPECTED[:6]


def test_a_topic_of_another_language_or_of_a_definition_that_cannot_be_parsed_costs_nothing_else(tmp_path, plain):
    pytest.importorskip("mcap", reason="writes it")
    from mcap.reader import make_reader
    from mcap.writer import Writer

    strange = {
        "example_interfaces/srv/AddTwoInts_Event": (
            "ros2msg",
            "cdr",
            LINE + b"\nSRV: a/srv/B\nint64 a\n---\nint64 b\n",
        ),
        "log": ("jsonschema", "json", b"{}"),
        "foxglove.Pose": ("protobuf", "protobuf", b"\x0a\x01\xff"),
        "my/msg/A": ("ros2msg", "cdr", b"int32 a\r\nint32 b\r\n"),
        "my/msg/B": ("ros2idl", "cdr", b"module my { union U switch (long) { case 0: long a; }; };"),
        "sensor_msgs/msg/Image": ("ros2msg", "cdr", b"uint32 heigth\n\xff"),
    }
    with open(tmp_path / "run.mcap", "wb") as out, open(plain, "rb") as stream:
        writer = Writer(out)
        writer.start(profile="ros2")
        numbers = [
            writer.register_channel(f"/extra/{kind}", encoding, writer.register_schema(kind, language, text))
            for kind, (language, encoding, text) in strange.items()
        ]
        channels = {}
        for schema, channel, message in make_reader(stream).iter_messages():
            if channel.topic not in channels:
                own = writer.register_schema(schema.name, "ros2msg", schema.data.replace(b"\n", b"\r\n"))
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", own)
            for number in numbers:
                writer.add_message(number, message.log_time, bytes(40), message.log_time)
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
        writer.finish()
    assert read(Recording(tmp_path / "run.mcap")) == EXPECTED
    assert len(list(open_source(str(tmp_path / "run.mcap"), image_topic="/camera/image"))) == 20


@pytest.mark.parametrize("damaged", [0.1, 0.5, 0.9])
def test_a_damaged_chunk_costs_itself_wherever_it_is(tmp_path, plain, damaged):
    pytest.importorskip("mcap", reason="writes it")
    content = bytearray(rewritten(plain, chunk_size=20_000))
    with BagReader(plain) as reader:
        assert not reader.notes
    end = content.index(b"\x0f\x04\0\0\0\0\0\0\0")  # of the data
    content[int(end * damaged)] ^= 0xFF
    (tmp_path / "run.mcap").write_bytes(content)
    source = open_source(str(tmp_path / "run.mcap"))
    found = [int(frame.rgb[0, 0, 0]) for frame in source]
    assert 10 <= len(found) < 20 and found == sorted(found)
    assert any("damaged chunks cannot be read" in note for note in source.notes)


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize("kind", ["mcap", "sqlite3"])
def test_the_metadata_of_every_version_are_read_and_lose_to_the_storage(tmp_path, kind, version):
    path = write(tmp_path / "run", kind)
    content = yaml.safe_load((path / "metadata.yaml").read_text())
    facts = content["rosbag2_bagfile_information"]
    facts["version"] = version
    if version < 4:
        facts["relative_file_paths"] = [f"old_name/{name}" for name in facts["relative_file_paths"]]
    for topic in facts["topics_with_message_count"]:
        qos = [{"history": "keep_last", "depth": 3}] if version == 9 else "- history: 3\n  depth: 0\n"
        topic["topic_metadata"]["offered_qos_profiles"] = qos
        topic["topic_metadata"]["type"] = "other/msg/Type"
        topic["message_count"] = 7
    (path / "metadata.yaml").write_text(yaml.safe_dump(content))
    moved = path.rename(tmp_path / "elsewhere")
    assert is_whole(moved)
    assert find_recordings([str(moved)]) == [moved]


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
@pytest.mark.parametrize("metadata", [True, False])
def test_files_that_are_compressed_as_a_whole_are_read(tmp_path, suffix, metadata):
    zstd = pytest.importorskip("backports.zstd", reason="the standard library has it from Python 3.14 on")
    path = write(tmp_path / "run", "mcap" if suffix == "mcap" else "sqlite3")
    file = storage(path)
    packed = file.with_name(file.name + ".zstd")
    packed.write_bytes(zstd.compress(file.read_bytes()))
    text = (path / "metadata.yaml").read_text().replace(file.name, packed.name)
    (path / "metadata.yaml").write_text(text)
    file.unlink()
    if not metadata:
        (path / "metadata.yaml").unlink()
    for name in (path, packed):
        assert read(Recording(name)) == EXPECTED
    assert len(list(open_source(str(path)))) == 20


def test_of_a_compressed_file_that_is_cut_off_the_beginning_is_read(tmp_path):
    zstd = pytest.importorskip("backports.zstd", reason="the standard library has it from Python 3.14 on")
    packed = zstd.compress(storage(write_noise(tmp_path / "run", "mcap")).read_bytes())
    path = tmp_path / "part.mcap.zst"
    path.write_bytes(packed[: len(packed) // 2])
    source = open_source(str(path))
    assert 20 < len(list(source)) < 40
    assert any("in part: its end is missing" in note for note in source.notes)


def test_names_in_capitals_active_bags_and_folders_with_one_bag_are_bags(tmp_path, plain):
    ros1 = write(tmp_path / "a.bag", "bag")
    (tmp_path / "holder").mkdir()
    shutil.copy(ros1, tmp_path / "holder" / "run.bag")
    (tmp_path / "holder" / "._run.bag").write_bytes(b"\0\5\x16\7")
    shutil.copy(ros1, tmp_path / "b.bag.active")
    shutil.copy(plain, tmp_path / "C.MCAP")
    shutil.copy(plain, tmp_path / "download")
    for name in ("holder", "b.bag.active", "C.MCAP", "download"):
        assert is_whole(tmp_path / name)
    shutil.copy(write(tmp_path / "other.bag", "bag", count=3), tmp_path / "holder" / "other.bag")
    with pytest.raises(ValueError, match=r"holds several recordings; name one of other\.bag, run\.bag"):
        open_source(str(tmp_path / "holder"))


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "bag"])
def test_the_parts_of_a_split_recording_are_read_as_one(tmp_path, kind):
    folder = tmp_path / "run"
    folder.mkdir()
    for part in range(11):  # the last of which sorts before the third as text
        name = f"run_2024-01-02-03-04-{part + 10}_{part}.bag" if kind == "bag" else f"part_{part}"
        with BagWriter(folder / name if kind == "bag" else tmp_path / name, kind) as bag:
            for k in range(2 * part, min(2 * part + 2, 20)):
                bag.image("/camera/image", 100 + k / 10, picture(k), "rgb8", "camera")
                bag.info("/camera/camera_info", 100 + k / 10, CAMERA, "camera")
                bag.image("/camera/depth", 100 + k / 10, depth(1 + 0.01 * k), "32FC1", "camera")
        if kind != "bag":
            file = storage(tmp_path / name)
            shutil.copy(file, folder / f"run_{part}{file.suffix}")
    assert read(Recording(folder)) == EXPECTED
    assert len(list(open_source(str(folder)))) == 20


def test_a_topic_of_two_types_is_read_as_that_of_most_messages(tmp_path):
    path = storage(write(tmp_path / "run", "sqlite3"))
    with sqlite3.connect(path) as database:
        database.execute("insert into topics values (99, '/camera/image', 'std_msgs/msg/String', 'cdr', '', '')")
        database.execute("insert into messages(topic_id, timestamp, data) values (99, 100000000000, x'0001')")
        database.execute("insert into messages(topic_id, timestamp, data) values (1, 'yesterday', 5)")
    recording = Recording(path)
    assert read(recording) == EXPECTED
    assert any("rows of the database cannot be read" in note for note in recording.damage)


def test_wrong_bytes_leave_what_can_be_read_or_one_sentence(tmp_path):
    for number, (name, content) in enumerate(bags_of_all_kinds(tmp_path)):
        path = tmp_path / name
        for seed in range(6):
            path.unlink(missing_ok=True)
            path.write_bytes(mutated(content, 1000 * number + seed))
            read_all(path)  # anything but a ValueError fails here
