"""Pictures as cameras send them are decoded; what is none, is cut off or claims too much is refused before it costs."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from depth_estimation_ros.imaging import decode, read_file

COLOUR = cv2.IMREAD_COLOR
RANDOM = np.random.default_rng(0)
PIXELS = cv2.resize(RANDOM.integers(0, 255, (6, 8, 3), np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC)
NOISE = RANDOM.integers(0, 255, (150, 200, 3), np.uint8)


def encoded(suffix=".jpg", pixels=PIXELS, *options):
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


JPEG, OLDER = encoded(), encoded(".jpg", NOISE)
EXPECTED = cv2.imdecode(np.frombuffer(JPEG, np.uint8), COLOUR)


def without(jpeg, marker):
    """Leave the segments of a marker out."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
        out += b"" if jpeg[at + 1] == marker else jpeg[at:end]
        at = end
    return out + jpeg[at:]


@pytest.mark.parametrize(
    "data",
    [
        JPEG.ljust(200 * 150 * 2, b"\0"),
        JPEG + OLDER[len(JPEG) :],
        JPEG + bytes(range(63)),
        JPEG[:-2],
        JPEG[:-2].ljust(200 * 150 * 2, b"\0"),
        without(JPEG, 0xC4),
        JPEG[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(OLDER)) + OLDER + JPEG[2:],
    ],
    ids=["zeros", "older frame", "bytes", "no end", "zeros and no end", "no Huffman tables", "thumbnail"],
)
def test_jpeg_as_cameras_fill_their_buffers_is_the_picture_and_prints_nothing(data, capfd):
    assert (decode(data, COLOUR) == EXPECTED).all()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("behind", [b"", bytes(9000), b"\xff\xd9", b"\xff\xd9" + bytes(9000)])
@pytest.mark.parametrize("jpeg", [JPEG, OLDER, encoded(".jpg", PIXELS[..., 1])], ids=["smooth", "noise", "grey"])
def test_a_jpeg_that_was_cut_off_is_refused_whatever_stands_behind(jpeg, share, behind):
    with pytest.raises(ValueError, match="is cut off"):
        decode(jpeg[: int(share * len(jpeg))] + behind, COLOUR)


@pytest.mark.parametrize("level", [0, 127, 128, 255])
def test_a_plain_picture_is_not_taken_for_one_that_was_cut_off(level):
    data = encoded(".jpg", np.full((150, 200, 3), level, np.uint8))
    for whole in (data, data[:-2], data[:-2] + bytes(500)):
        assert (decode(whole, COLOUR) == level).all()


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_OPTIMIZE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)),
        (".png", ()),
        (".tiff", ()),
        (".webp", ()),
        (".bmp", ()),
        (".ppm", ()),
    ],
)
def test_every_kind_is_decoded_and_its_half_is_refused_in_a_sentence(suffix, options):
    data = encoded(suffix, PIXELS, *options)
    assert (decode(data, COLOUR) == cv2.imdecode(np.frombuffer(data, np.uint8), COLOUR)).all()
    if suffix in (".jpg", ".png"):
        with pytest.raises(ValueError, match="is cut off"):
            decode(data[: len(data) // 2], COLOUR)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_chunks_that_libpng_warns_of_and_bytes_behind_the_end_do_no_harm(capfd):
    data = encoded(".png")
    data = data[:33] + chunk(b"iCCP", b"broken\0\0") + chunk(b"gAMA", b"\0\0\0\0") + data[33:] + b"behind"
    assert (decode(data, COLOUR) == PIXELS).all()
    assert capfd.readouterr().err == ""


def test_a_png_with_a_wrong_byte_is_refused(capfd):
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(ValueError, match="is damaged: a checksum is wrong"):
        decode(bytes(data), COLOUR)
    assert capfd.readouterr().err == ""


def resized(data, width, height):
    """Write another size into the header of a picture, big pixels and small file."""
    if data.startswith(b"\xff\xd8"):
        at = data.find(b"\xff\xc0")
        return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    if data.startswith(b"P6"):
        return b"P6\n%d %d\n255\n" % (width, height) + data[15:]
    if data.startswith(b"II"):
        (at,) = struct.unpack_from("<I", data, 4)
        out = bytearray(data)
        for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
            tag = struct.unpack_from("<H", data, entry)[0]
            if tag in (256, 257):
                out[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, width if tag == 256 else height)
        return bytes(out)
    return png(width, height)


@pytest.mark.parametrize("side", [12000, 20000, 60000])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".ppm", ".tiff"])
def test_a_picture_that_claims_more_than_a_camera_has_is_refused_by_its_header(suffix, side, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match=rf"its header says {side}x{side} pixels"):
        decode(resized(encoded(suffix), side, side), COLOUR)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".ppm"])
def test_a_picture_that_claims_more_than_its_bytes_can_hold_is_refused_by_its_header(suffix, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match="bytes are too few for"):
        decode(resized(encoded(suffix, np.zeros((24, 32, 3), np.uint8)), 8000, 6000), COLOUR)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"II*\0",
        b"RIFF",
        b"P6",
        b"GIF89a" + bytes(90),
        b"text" * 9,
    ],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode(data, COLOUR)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp", ".ppm"])
def test_pictures_with_random_bytes_changed_are_read_or_refused_in_a_sentence(suffix):
    random = np.random.default_rng(1)
    data = np.frombuffer(encoded(suffix, PIXELS[:48, :64].copy()), np.uint8)
    for _ in range(300):
        bent = data.copy()
        at = random.integers(0, min(len(bent), random.choice([40, 700, len(bent)])), random.integers(1, 4))
        bent[at] = random.integers(0, 256, at.size)
        try:
            assert decode(bent.tobytes(), COLOUR).dtype == np.uint8
        except ValueError as error:
            assert "\n" not in str(error)


def test_a_file_with_a_name_of_another_encoding_is_read(tmp_path):
    import os

    name = os.fsencode(tmp_path) + b"/B\xfccher.png"
    with open(name, "wb") as stream:
        stream.write(encoded(".png"))
    assert (read_file(os.fsdecode(name), COLOUR) == PIXELS).all()
