"""A process that is killed leaves no children."""

import signal
import subprocess
import sys

from commands import assert_ended

from depth_estimation_ros.support.children import ending_with_this

PARENT = """
import subprocess, sys, time
from depth_estimation_ros.support.children import ending_with_this
print(subprocess.Popen(ending_with_this([sys.executable, "-c", "import time; time.sleep(600)"])).pid, flush=True)
time.sleep(600)
"""


def test_a_child_gets_arguments_and_exit_code_of_its_own():
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "--rate", "2 Hz", ""]
    child = subprocess.run(ending_with_this(command), capture_output=True, text=True)
    assert (child.returncode, child.stdout, child.stderr) == (7, "['--rate', '2 Hz', '']\n", "")


def test_a_child_ends_with_a_parent_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert_ended(child)
