"""Ends what tests started when the process that runs them is killed and can end nothing itself.

Every process inherits the environment. The tests put a word into it, and a process of its own waits until the pipe to
the tests closes, which the kernel does whatever ended them; then it kills each process that has the word: also daemons
that have left their parents, and jobs of a scheduler.

This file is also the program of that process.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

VARIABLE = "TACIT_TESTS"
SECONDS = 10
"""How long it looks for processes: one may start another while it is being killed."""


def start() -> subprocess.Popen:
    """Watch this process. Its standard input is the pipe, and `stop` closes it."""
    word = secrets.token_hex(8)
    # Outside of a session of its own, Ctrl-C and a kill of the group would reach it, too.
    watching = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, word], stdin=subprocess.PIPE, start_new_session=True
    )
    # A worker of pytest-xdist adds to what it has from its controller: either of them may be killed.
    os.environ[VARIABLE] = " ".join([*os.environ.get(VARIABLE, "").split(), word])
    return watching


def stop(watching: subprocess.Popen) -> None:
    """The end of the tests: ends what they have left behind, and the watching."""
    watching.stdin.close()
    watching.wait()


def marked(word: str) -> list[int]:
    """The processes that have the word in their environment, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        said = next((one for one in variables if one.startswith(f"{VARIABLE}=".encode())), b"")
        if word.encode() in said and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def main(word: str) -> None:
    sys.stdin.buffer.read()
    end = time.monotonic() + SECONDS
    while (left := marked(word)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
