from pathlib import Path

from depth_estimation_ros.support.sentences import choices, first_line, quoted, reason

ENCODINGS = [f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)] + ["mono8"]


def test_few_choices_are_all_named_in_their_order():
    assert choices(["b", "a"]) == "b, a"
    assert choices(iter(["only"])) == "only"
    assert choices([]) == "none"


def test_of_many_choices_a_few_are_named_and_the_rest_counted():
    assert choices(ENCODINGS) == f"{', '.join(ENCODINGS[:8])} and 1 more"
    names = [f"onnx::Conv_{i}" for i in range(100_000)]
    assert choices(names).endswith("onnx::Conv_7 and 99992 more")
    assert len(choices(names, "onnx::Conv_1x")) < 200


def test_the_choices_most_like_what_was_given_come_first():
    found = choices([*ENCODINGS, *(f"other{i}" for i in range(300))], "bayer_grbg1")
    assert found.startswith("bayer_grbg16, bayer_grbg8, ") and found.endswith(" and 301 more")


def test_what_a_user_gave_is_quoted_so_that_any_terminal_and_message_can_take_it():
    assert quoted("a b.onnx") == quoted(Path("a b.onnx")) == "'a b.onnx'"
    assert quoted("x\n\0\ud800é") == r"'x\n\x00\ud800é'"
    assert len(quoted("x" * 100_000)) < 250


def test_an_errors_reason_is_one_printable_line():
    assert reason(OSError(5, "Input/output error", "/x")) == "Input/output error"
    assert reason(ValueError("\n  first.\nsecond")) == "first"
    assert reason(MemoryError()) == "the memory does not suffice"
    assert reason(KeyError()) == "KeyError"
    assert first_line("a\x1b[31mb\ud800") == "a?[31mb?"
    assert len(reason(RuntimeError("x" * 100_000))) < 250
