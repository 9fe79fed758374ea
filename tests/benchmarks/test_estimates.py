"""The table of expected and needed time has a row for a run, and computes it."""

import pytest

from benchmarks import estimates


@pytest.mark.slow
def test_a_run_has_a_row(capsys, monkeypatch):
    monkeypatch.setattr(estimates.cost, "sweep_seconds", lambda tree, count, clock: 0.001)
    arguments = ["game=equal_levers", "alpha=0.7", "pure_starts=0", "wide_starts=0", "refine=false", "branch=false"]
    estimates.main(arguments)
    _, *header, row = capsys.readouterr().out.splitlines()
    assert tuple(header) == estimates.HEADER
    words, sweeps, each, expected, needed, wall = (cell.strip() for cell in row.strip("|").split("|"))
    assert words == " ".join(arguments)
    # The search for the best policies, and 12 starts.
    assert (sweeps, each, expected) == (f"{2 * 32 * 2000 + 12 * 1250:,}", "1", "143")
    assert float(needed) > 0 and float(wall) > 0
    monkeypatch.setattr(estimates.study, "make", None)  # nothing is run
    estimates.main(["--expected", *arguments])
    assert capsys.readouterr().out.splitlines()[-1].endswith("| 143 | – | – |")
