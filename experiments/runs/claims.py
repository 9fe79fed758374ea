"""Locks on run directories: numbered claim files, of which the highest names the owner.

    .claim.3   JSON: host, namespace and number of the process, when it began, the scheduler's job and its restarts

A claim is written to a temporary file and then hard-linked to its name, which fails if the number is taken: of two
processes that want a run exactly one gets it, on NFS too. The claim of a dead owner is not replaced: another process
takes the next number, so that it cannot overwrite a claim that a third one has just made. The owner touches its claim
every 30 seconds: its heartbeat.
"""

import contextlib
import json
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

from games.errors import TacitError

STALE_SECONDS = 600.0
"""An owner on another machine counts as dead after so long without a heartbeat."""
_HEARTBEAT_SECONDS = 30.0
_NAME = re.compile(r"\.claim\.(\d+)")


class Busy(TacitError):
    """Another process owns the run."""


class Owner(NamedTuple):
    """A process that owns a run directory."""

    host: str
    namespace: str
    """The boot and the PID namespace, "" if unknown: several machines or containers may have the same host name."""
    process: int
    began: str
    """The process's start time in clock ticks since boot, or "": a process number alone may have been reused."""
    job: str
    """The Slurm job's number, or ""."""
    restarts: int
    """How often Slurm has restarted that job."""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


_held: dict[Path, Path] = {}  # run directories of this process, resolved, and its claims on them
_heartbeat_lock = threading.Lock()


def take(path: Path) -> None:
    """Make this process the owner of a run directory, which must exist.

    Raises:
      Busy: if another process owns it.
      OSError: if it cannot be written.
    """
    path = path.resolve()
    me = _me()
    while True:
        newest = _newest(path)
        if newest is not None and _owner(newest) == me:
            _hold(path, newest)
            return
        check_free(path)
        number = 1 if newest is None else _number(newest) + 1
        claim, beside = path / f".claim.{number}", path / f".claiming.{me.process}.{threading.get_ident()}"
        try:
            beside.write_text(json.dumps(me._asdict()))
            os.link(beside, claim)
        except FileExistsError:
            continue  # another process was quicker: look again who owns it
        finally:
            beside.unlink(missing_ok=True)
        if _newest(path) != claim:  # others have made and removed claims meanwhile, so that this number was free
            claim.unlink(missing_ok=True)
            continue
        _hold(path, claim)
        for older in path.glob(".claim.*"):
            if _NAME.fullmatch(older.name) and _number(older) < number:
                older.unlink(missing_ok=True)
        return


def owner(path: Path) -> Owner | None:
    """The process that owns a run directory; None if there is none, or it is dead as far as this machine can tell."""
    newest, me = _newest(path), _me()
    found = None if newest is None else _owner(newest)
    return found if newest is not None and found is not None and (found == me or _alive(found, newest, me)) else None


def check_free(path: Path) -> None:
    """Raise `Busy` if another process owns a run directory."""
    found, me = owner(path), _me()
    if found is None or found == me:
        return
    sentence = f"run {path} is being trained by {found}"
    newest = _newest(path)
    if (found.host, found.namespace) != (me.host, me.namespace) and newest is not None:
        silent = max(0.0, time.time() - newest.stat().st_mtime) / 60
        sentence += f", silent for {silent:.0f} minutes; after {STALE_SECONDS / 60:.0f} it counts as gone"
    raise Busy(sentence)


def check(path: Path) -> None:
    """Raise `Busy` if this process claimed a run directory and another one has taken it over, believing it dead."""
    if path.resolve() not in _held:
        return
    newest = _newest(path)
    found = None if newest is None else _owner(newest)
    if found != _me():
        raise Busy(f"run {path} was taken over by {found or 'another process'}")


def release(path: Path) -> None:
    """Give a run directory up, if this process owns it."""
    mine = _held.pop(path.resolve(), None)
    if mine is not None and _owner(mine) == _me():
        mine.unlink(missing_ok=True)


def _hold(path: Path, claim: Path) -> None:
    with _heartbeat_lock:
        _held[path] = claim
        if not any(thread.name == "tacit-claims" for thread in threading.enumerate()):
            threading.Thread(target=_send_heartbeats, name="tacit-claims", daemon=True).start()


def _send_heartbeats() -> None:
    while True:
        for claim in list(_held.values()):
            with contextlib.suppress(OSError):  # taken over, or the disk is unavailable: `check` reports it
                if _owner(claim) == _me():
                    os.utime(claim)
        time.sleep(_HEARTBEAT_SECONDS)


def _newest(path: Path) -> Path | None:
    claims = [file for file in path.glob(".claim.*") if _NAME.fullmatch(file.name)]
    return max(claims, key=_number, default=None)


def _number(claim: Path) -> int:
    return int(claim.name.rpartition(".")[2])


def _owner(claim: Path) -> Owner | None:
    """Who made a claim; None if it is gone or damaged."""
    try:
        return Owner(**json.loads(claim.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _alive(owner: Owner, claim: Path, me: Owner) -> bool:
    if (owner.host, owner.namespace) == (me.host, me.namespace):
        return _exists(owner.process) and owner.began == _began(owner.process)  # "" for a zombie process
    if owner.job and owner.job == me.job and owner.restarts < me.restarts:
        return False  # a scheduler starts a job again when it has ended
    try:
        return time.time() - claim.stat().st_mtime < STALE_SECONDS
    except OSError:
        return False


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _me() -> Owner:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        namespace = ""
    environment, process = os.environ, os.getpid()
    return Owner(
        host=socket.gethostname(),
        namespace=namespace,
        process=process,
        began=_began(process),
        job=environment.get("SLURM_JOB_ID", ""),
        restarts=int(environment.get("SLURM_RESTART_COUNT") or 0),
    )


def _began(process: int) -> str:
    try:
        # From the 3rd field on: the 2nd, the program's name in parentheses, may itself contain spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return ""
