"""
Small bags of all kinds with wrong bytes, and what may come of reading them: all that is left, or one ValueError.

``python test/bag_mutations.py COUNT [SEED]`` tries many and prints what else comes, with the seed that repeats it.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from small_bags import storage, write

from depth_estimation_ros.evaluation.recording.recording import Recording
from depth_estimation_ros.sources import open_source


def small_bags(folder):
    """Yield names and contents of bags: of each storage, with each compression, and with and without chunks."""
    for name, kind, options in (
        ("plain.mcap", "mcap", {}),
        ("chunks.mcap", "mcap", {"compress": "storage"}),
        ("messages.mcap", "mcap", {"compress": "message"}),
        ("plain.db3", "sqlite3", {}),
        ("messages.db3", "sqlite3", {"compress": "message"}),
        ("plain.bag", "bag", {}),
    ):
        place = folder / (name if kind == "bag" else name.replace(".", "_"))
        yield name, storage(write(place, kind, count=6, **options)).read_bytes()
    yield "bz2.bag", packed_ros1(folder / "bz2.bag", "BZ2")
    yield "lz4.bag", packed_ros1(folder / "lz4.bag", "LZ4")
    yield from foreign_mcaps(storage(folder / "plain_mcap"))


def packed_ros1(path, compression):
    """Return a ROS 1 bag whose chunks are compressed."""
    from bag_writer import BagWriter
    from small_bags import CAMERA, depth, picture

    with_chunks = BagWriter(path, "bag")
    with_chunks.writer.set_compression(getattr(type(with_chunks.writer).CompressionFormat, compression))
    with with_chunks as bag:
        for k in range(6):
            bag.image("/camera/image", 100 + k / 10, picture(k), "rgb8", "camera")
            bag.info("/camera/camera_info", 100 + k / 10, CAMERA, "camera")
            bag.image("/camera/depth", 100 + k / 10, depth(1 + 0.01 * k), "32FC1", "camera")
    return path.read_bytes()


def foreign_mcaps(source):
    """Yield names and contents of what other writers of mcap make of one."""
    try:
        from mcap.writer import CompressionType, IndexType
    except ImportError:
        return
    for name, options in (
        ("lz4.mcap", {"compression": CompressionType.LZ4, "chunk_size": 3000}),
        ("zstd.mcap", {"compression": CompressionType.ZSTD, "chunk_size": 3000, "enable_crcs": False}),
        ("unchunked.mcap", {"use_chunking": False}),
        ("unindexed.mcap", {"index_types": IndexType.NONE, "chunk_size": 3000}),
        ("bare.mcap", {"index_types": IndexType.NONE, "use_statistics": False, "use_summary_offsets": False}),
        ("unrepeated.mcap", {"repeat_channels": False, "repeat_schemas": False}),
    ):
        yield name, rewritten(source, **options)


def rewritten(source, profile="ros2", definitions=True, attachments=False, **options):
    """Return what the writer of the package mcap makes of an mcap's messages."""
    from io import BytesIO

    from mcap.reader import make_reader
    from mcap.writer import Writer

    out = BytesIO()
    writer, channels = Writer(out, **options), {}
    writer.start(profile=profile)
    with open(source, "rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            if channel.topic not in channels:
                text = (schema.encoding, schema.data) if definitions else ("", b"")
                number = writer.register_schema(schema.name, *text)
                channels[channel.topic] = writer.register_channel(channel.topic, channel.message_encoding, number)
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
            if attachments:
                writer.add_attachment(message.log_time, message.log_time, "note.txt", "text/plain", b"note")
                writer.add_metadata("run", {"site": "garden"})
    writer.finish()
    return out.getvalue()


def mutated(content, seed):
    """Return a bag with wrong bytes: some changed, numbers made large, parts cut off, moved, emptied or doubled."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = chance.randrange(len(data) or 1)
        length = min(chance.choice((1, 4, 8, 100, 3000)), len(data) - at)
        kind = chance.randrange(9)
        if kind <= 2:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 3:
            data[at : at + 8] = chance.choice((2**63, 2**64 - 1, 2**31, 0, len(data), 2**40)).to_bytes(8, "little")
        elif kind == 4:
            data[at : at + length] = chance.randbytes(length)
        elif kind == 5:
            data[at : at + length] = bytes(length)
        elif kind == 6:
            del data[at : at + length]
        elif kind == 7:
            data[at:at] = data[at : at + length]
        elif chance.random() < 0.5:
            del data[at:]
        # The rest stays: nearly whole bags are read to their end.
    return bytes(data)


def read_all(path):
    """Read a bag as image_source and as evaluate_bag do; return what was read, or the sentence."""
    found = []
    for read in (lambda: list(open_source(str(path))), lambda: list(Recording(path).samples())):
        try:
            found.append(len(read()))
        except ValueError as error:
            assert "\n" not in str(error)
            found.append(str(error))
    return found


def main(count, seed=0):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bags = list(small_bags(folder))
        outcomes, failures, slowest = Counter(), Counter(), 0.0
        for number in range(seed, seed + count):
            bag, content = bags[number % len(bags)]
            path = folder / bag
            path.unlink(missing_ok=True)
            path.write_bytes(mutated(content, number))
            begin = time.perf_counter()
            try:
                found = read_all(path)
                outcomes.update("read" if isinstance(part, int) else "a sentence" for part in found)
            except Exception as error:
                places = traceback.extract_tb(error.__traceback__)
                ours = [place for place in places if "site-packages" not in place.filename][-1]
                failures[f"{type(error).__name__}: {error}"[:90], f"{Path(ours.filename).name}:{ours.lineno}"] += 1
                print(number, bag, type(error).__name__, str(error)[:150], f"{ours.filename}:{ours.lineno}", flush=True)
            took = time.perf_counter() - begin
            if took > max(1.0, slowest):
                slowest = took
                print(number, bag, f"took {took:.1f} s", flush=True)
    print(dict(outcomes), f"{sum(failures.values())} of {count} failed")
    for failure, times in failures.most_common():
        print(times, *failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
