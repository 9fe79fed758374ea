"""The benchmark of commands that start: a row for each, from processes that ended well."""

import subprocess

import pytest

from benchmarks import startup


@pytest.mark.slow
def test_a_row_for_each_command():
    commands = ((startup.IMPORT, 0.2), ("--help", 1.0), ("games hanabi", None))
    head, _, imported, helped, shown_game = startup.main(repeats=1, commands=commands)
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["`tacit …`", "CPU s, least (median)", "goal"]
    rows = ((imported, "`import tacit`", "0.2"), (helped, "`--help`", "1.0"), (shown_game, "`games hanabi`", ""))
    for line, command, goal in rows:
        shown, seconds, wanted = (cell.strip() for cell in line.split("|")[1:-1])
        assert (shown, wanted) == (command, goal)
        least, median = seconds.rstrip(")").split(" (")
        assert 0 < float(least) == float(median)


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(subprocess.CalledProcessError):
        startup.main(repeats=1, commands=(("fly", 1.0),))
