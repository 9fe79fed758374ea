"""What tests of many run directories share."""

import errno
import os

import pytest


@pytest.fixture
def unreadable(monkeypatch):
    """unreadable(*folders): from now on they cannot be listed; permissions would not stop root."""
    closed, listdir = set(), os.listdir

    def refusing(path="."):
        if os.fspath(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refusing)
    return lambda *folders: closed.update(map(os.fspath, folders))
