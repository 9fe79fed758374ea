"""When a job has to stop before its end: a signal, or its wall-clock time used up."""

import contextlib
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, the signal with which a scheduler ends jobs, and two that it can send some time before."""

REQUEUE = signal.SIGUSR2
"""The signal that submitit has Slurm send before the time limit: submitit's handler requeues the job and exits."""

TRY_AGAIN = 75
"""The exit status of a command that ran out of its own time (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 130


class Paused(Exception):
    """A job stopped before its end and saved everything: the same command resumes it. `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type, tuple[str, int]]:  # launchers send it from process to process
        return Paused, (str(self), self.status)


class Stopper:
    """Decides when to stop. It is a context manager, within which a signal only sets a flag, and says so at once.

    A second Ctrl-C raises KeyboardInterrupt at once. If `REQUEUE` came, a `Paused` that leaves the context calls the
    previous handler of that signal, which may exit: so save everything and write the status inside.

    Args:
      minutes: wall-clock time from now on; None for no end.
    """

    def __init__(self, minutes: float | None) -> None:
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        self._minutes = minutes
        self._signal: int | None = None
        self._requeue = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            self._former = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        requeue = self._former.get(REQUEUE)
        if self._requeue and callable(requeue) and isinstance(error, Paused):
            requeue(REQUEUE, None)

    def seconds_left(self) -> float:
        """Seconds until the time is used up; 0 once a signal has come."""
        return 0.0 if self._signal is not None else max(0.0, self._deadline - time.monotonic())

    def stop(self, seconds: float = 0.0) -> bool:
        """Whether to stop now rather than do something that takes `seconds`."""
        return self.seconds_left() <= seconds and (self._signal is not None or self._minutes is not None)

    def pause(self, where: str) -> Paused:
        """The exception to raise once everything is saved; `where` in words, such as "after 10 of 20 steps"."""
        if self._signal is not None:
            name = signal.Signals(self._signal).name
            return Paused(f"stopped by {name} {where}; the same command goes on from there", INTERRUPTED)
        return Paused(
            f"budget.minutes={self._minutes:g} used up {where}; the same command goes on from there", TRY_AGAIN
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._signal is not None:
            raise KeyboardInterrupt
        first = self._signal is None
        self._signal = number
        self._requeue |= number == REQUEUE  # even if another signal follows
        if first:
            what = f"{signal.Signals(number).name}: stopping when what is being compiled or played is done"
            with contextlib.suppress(OSError):  # Ctrl-C also ends the tee of `2>&1 | tee log`
                # not by print, which may be what was interrupted
                os.write(2, f"tacit: {what}; Ctrl-C again stops at once\n".encode())
