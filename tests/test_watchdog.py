"""What tests started ends when they are killed, also what has left them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import watchdog

# As pytest does: watches itself and starts a process, which starts one in a session of its own and ends.
TESTS = """
import subprocess, sys
from tests import watchdog

watchdog.start()
sleeper = "import subprocess; print(subprocess.Popen(['sleep', '100'], start_new_session=True).pid, flush=True)"
subprocess.run([sys.executable, "-c", sleeper])
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "by itself"])
def test_a_daemon_ends_with_the_tests_that_started_it(end):
    root = Path(__file__).parents[1]
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with tests:
        daemon = int(tests.stdout.readline())
        assert alive(daemon)
        if end == "killed":
            tests.kill()
    until = time.monotonic() + 10
    while alive(daemon) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(daemon)
    assert tests.returncode == (-signal.SIGKILL if end == "killed" else 0)


def alive(process):
    """Whether a process runs; one that is dead and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_these_tests_are_watched():
    assert os.environ[watchdog.VARIABLE]
