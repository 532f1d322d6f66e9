"""What libraries print about damaged pictures is kept from stderr; what anybody else prints meanwhile is not."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, threading
from depth_estimation_ros.imaging import quiet

def decode():
    with quiet:
        barrier.wait()
        for _ in range(500):
            os.write(2, b"Corrupt JPEG data: 18 extraneous bytes\\n[INFO] [1.0] [node]: still there\\n")
            os.write(2, b"Frame offset points outside movi section.\\n")
            os.write(2, b"libpng error: IDAT: CRC error\\nUnexpected element. Expected: LIST. Got: \\n\\x00^%.\\n")

barrier = threading.Barrier(4)
threads = [threading.Thread(target=decode) for _ in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
print("and afterwards", file=sys.stderr)
"""


@pytest.mark.parametrize("close", [False, True])
def test_only_what_libraries_print_is_kept_back(close):
    program = ("import os; os.close(2)\n" if close else "") + PROGRAM
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = [] if close else ["[INFO] [1.0] [node]: still there"] * 2000 + ["and afterwards"]
    assert result.stderr.splitlines() == lines
