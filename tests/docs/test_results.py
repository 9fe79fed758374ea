"""Records of results, and the tables of pages that are made from them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from docs import pieces, results
from docs import records as kept
from experiments import runs
from experiments.launching import compose
from games.errors import TacitError
from tests.command_line import TINY, call, write_synthetic_run

TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"
BLOCK = "before\n<!-- results: demo.table -->\nold\n<!-- end of results -->\nafter\n"


@pytest.fixture
def records(tmp_path):
    return results.Records(tmp_path / "records")


@pytest.fixture
def called(monkeypatch, tmp_path):
    """The commands of pieces run in this process, and are counted."""
    called = []

    def run(arguments, cwd, env):
        assert env["PYTHONPATH"] == str(results.ROOT)
        called.append(arguments[3:])
        monkeypatch.chdir(cwd)
        status = call(*arguments[3:]).status
        monkeypatch.chdir(tmp_path)
        return type("Ended", (), {"returncode": status})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results.subprocess, "run", run)
    monkeypatch.setattr(
        results, "provenance", lambda: {"commit": "c", "date": "d", "jax": "0", "python": "3", "machine": "m"}
    )
    monkeypatch.setattr(kept, "FIGURES", tmp_path)
    return called


@pytest.fixture
def piece(called, monkeypatch):
    """One tiny training as the piece "demo"."""
    tiny = pieces.trained(" ".join(TINY).replace("seeds=2", "seeds=6"), "made")
    monkeypatch.setattr(results, "PIECES", {"demo": tiny})
    return called


@pytest.mark.slow
def test_a_piece_is_run_recorded_and_not_run_again(piece, records, capsys, monkeypatch, tmp_path):
    results.make("demo", records, small=False)
    record = records.read("demo")
    assert record["depends"]["learners"] == {"marl.learners.ippo.IPPO": "ippo-3"}
    assert record["depends"]["seeds"] == [[0, 5]]
    assert record["numbers"][0]["greedy"]["cross_play"]["low"] is not None
    assert record["tables"]["table"].startswith("| entropy_coef | seeds | greedy XP |")
    assert results.outdated(record) == []
    results.make("demo", records, small=False)
    assert "demo: there is a record of these commands and versions" in capsys.readouterr().out
    assert len(piece) == 1
    assert (tmp_path / "made.svg").exists()

    text = results.page(BLOCK, records)
    assert record["tables"]["table"] in text and "old" not in text
    assert text.startswith("before\n<!-- results: demo.table -->\n") and text.endswith(
        "<!-- end of results -->\nafter\n"
    )
    assert "seeds 0–5; " in text and "ippo-3" in text and "Older" not in text
    assert results.page(text, records) == text

    record["depends"]["learners"] = {"marl.learners.ippo.IPPO": "ippo-2"}
    records.file("demo").write_text(json.dumps(record))
    assert results.outdated(record) == ["ippo-2, now ippo-3"]
    assert "**Older than the code: ippo-2, now ippo-3.**" in results.page(BLOCK, records)
    (run,) = tmp_path.glob("runs/results/demo/*/runs/*/run.json")
    older = Path(shutil.copytree(run.parent, run.parent.with_name("0" * 12))) / "run.json"
    older.write_text(older.read_text().replace("ippo-3", "ippo-2"))
    results.make("demo", records, small=False)  # takes up the runs of these versions that there are, and no others
    assert len(piece) == 2 and results.outdated(records.read("demo")) == []
    assert [row["run"] for row in records.read("demo")["numbers"]] == [run.parent.name]

    monkeypatch.setattr(results, "MOST_BYTES", 10)
    records.file("demo").unlink()
    with pytest.raises(
        TacitError, match=r"the record of demo has \d+ bytes, and at most 10 belong into the repository"
    ):
        results.make("demo", records, small=False)


def test_a_record_of_training_runs_has_the_contrasts_and_says_how_they_are_tested(tmp_path):
    plain = compose.compose(TINY)
    for coefficient, score in ((0.1, 0.25), (0.3, 0.75)):
        write_synthetic_run(plain, tmp_path / "runs", score=score, **{"learner.entropy_coef": coefficient})
    found = pieces.trained("").read(tmp_path, True)
    assert [row.get("contrast") for row in found.numbers] == [None, None, "entropy_coef 0.3 − 0.1"]
    rows = [line for line in found.tables["table"].splitlines() if line.startswith(("| 0.", "| entropy_coef 0."))]
    assert [row.split(" |")[0] for row in rows] == ["| 0.1", "| 0.3", "| entropy_coef 0.3 − 0.1"]
    assert found.tables["table"].count("two-sided tests over seeds at 5 %") == 1


@pytest.mark.slow
def test_partners_and_the_figure_that_shows_them_beside_runs(called, records, monkeypatch, tmp_path):
    made = {"mean": 0.1, "se": 0.01, "low": 0.08, "high": 0.12, "note": ""}
    plays = {"score": made | {"mean": 3.0}, "self_play": made, "cross_play": made, "discards": made}
    swept = [{"players": 2, "most": 6.0, "entropy_coef": 0.1, "greedy": plays, "sampled": plays}]
    assert pieces.gap_table(swept).splitlines()[2].startswith("| 0.1 | 3.00 [0.08, 0.12] | 0.100 [0.080, 0.120] |")
    records.folder.mkdir()
    runs.write_json(records.file("small_sweep"), {"numbers": {"runs": [], "literal": swept}})
    board = "game=hanabi players=3 colors=1 ranks=2 hand_size=1"
    piece = pieces.PIECES["partners"]._replace(
        commands=lambda records: [f"conventions {board} --with cautious --games 5 --symmetries 1"]
    )
    monkeypatch.setitem(results.PIECES, "partners", piece)
    results.make("partners", records, small=False)
    record = records.read("partners")
    head, _, row = record["tables"]["plays"].splitlines()
    assert (head, row) == ("| partner | Full, 3 players |", "| cautious | 0.000 ± 0.000 |")
    assert float(record["tables"]["scores"].splitlines()[2].split(" | ")[1].rstrip(" |")) == pytest.approx(
        record["numbers"][0]["score"], abs=0.005
    )
    assert [game["version"] for game in record["depends"]["games"]] == ["hanabi-1"]
    assert record["depends"]["conventions"] == "conventions-5"
    drawn = []
    monkeypatch.setattr(pieces, "save_figure", lambda figure, name: drawn.append(figure))
    pieces.draw_gaps(records)
    of_two, of_three = drawn[0].axes
    lines = [(line.get_label(), *np.ravel(line.get_data()).tolist()) for line in of_two.lines[:2]]
    assert lines == [("2×3, seeds with themselves", 0.5, 0.1), ("2×3, different seeds", 0.5, 0.1)]
    assert [line.get_label() for line in of_three.lines[:2]] == ["5×5, partners", "people with people, full board"]
    assert of_three.lines[1].get_ydata()[0] == 0.357


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command", "depends", "row"),
    [
        (
            "exact",
            "phase -m game=two_stage_lever,lever branch=false alpha=[0.5,2] execution.figures=false",
            {"search": "search-2"},
            "| lever | 725,760 / 362,880 | 0.5 | none | 0.5 | not looked for | 1.0000 | 0.9000 | 0.1111 |",
        ),
        (
            "exact_methods",
            "zsc-table game=lever method=[self-play,other-play] execution.figures=false",
            {"search": "search-2"},
            "| Other-Play | 0.9000 |",
        ),
        (
            "structures",
            "structure-table game=task_claiming structure=[none,leader] method=self-play execution.figures=false",
            {"search": "search-2"},
            "|  | leader | 2 | 2.0000 | 2.0000 | 2.000 (100%) |",
        ),
        (
            "adaptive",
            "adaptive payoffs=[[11,-30,0],[-30,7,6],[0,0,5]] execution.figures=false",
            {"games": []},
            "| level 2 | -11.3333 (14.6667) |",
        ),
    ],
)
def test_pieces_of_the_exact_lab(called, records, monkeypatch, name, command, depends, row):
    small = {"exact": "normal_starts=2 wide_starts=0 pure_starts=2 refine=false"}
    small["exact_methods"] = small["structures"] = "starts=2"
    piece = pieces.PIECES[name]._replace(commands=lambda records: [command], smaller=small.get(name, "rounds=2"))
    monkeypatch.setitem(results.PIECES, name, piece)
    results.make(name, records, small=True)
    record = records.read(name)
    assert len(called) == 1
    assert depends.items() <= record["depends"].items() and "learners" not in record["depends"]
    assert row in record["tables"]["table"]
    assert results.outdated(record) == []
    said = results.made_by(record)
    assert said.startswith(f"<small>Made by `tacit {command} ") and "seeds" not in said
    assert ("search-2" in said) == (name != "adaptive")


def test_the_code_beside_the_docs_is_run_whatever_is_installed(monkeypatch, tmp_path):
    """In a clone whose only command writes where it was imported from."""
    clone, folder = tmp_path / "clone", tmp_path / "folder"
    (clone / "experiments").mkdir(parents=True)
    folder.mkdir()
    (clone / "experiments" / "cli.py").write_text(
        "import pathlib, sys\npathlib.Path('made').write_text(' '.join([__file__, *sys.argv[1:]]))\nsys.exit(3)\n"
    )
    (clone / "experiments" / "__init__.py").touch()
    monkeypatch.setattr(results, "ROOT", clone)
    assert results.tacit("phase game=lever", folder) == 3
    assert (folder / "made").read_text() == f"{clone / 'experiments' / 'cli.py'} phase game=lever"


def test_a_command_that_fails_says_which(records, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results.subprocess, "run", lambda *_, **__: type("Ended", (), {"returncode": 75}))
    with pytest.raises(
        TacitError, match="demo: tacit train experiment=demo ended with status 75; the same command goes"
    ):
        results.make("demo", records, small=False)
    assert not records.folder.exists()


def test_the_coefficient_with_the_greatest_greedy_cross_play_is_chosen(records):
    rows = [
        {"learner.entropy_coef": coefficient, "greedy": {"cross_play": {"mean": mean}}}
        for coefficient, mean in ((0.002, 4.0), (0.02, 5.5), (0.07, 5.25))
    ]
    rows.append({"contrast": "entropy_coef 0.07 − 0.002", "greedy": {"cross_play": {"mean": 9.0}}})
    records.folder.mkdir()
    for method in pieces.METHODS:
        records.file(f"choose/{pieces._slug(method)}").write_text(json.dumps({"numbers": rows}))
    assert pieces.chosen(records, "MAPPO") == 0.02
    commands = pieces.fresh_seeds(records)
    assert len(commands) == len(pieces.METHODS) + 1
    assert all("seeds=16 first_seed=100" in command for command in commands)
    assert commands[-1].endswith("learner.entropy_coef=0.002 execution.output=ippo_low")
    with pytest.raises(TacitError, match="the piece methods needs the record of choose/ippo"):
        pieces.fresh_seeds(results.Records(records.folder / "none"))


def test_pages_name_what_there_is(records):
    assert results.page(BLOCK, records) == BLOCK  # no record yet
    with pytest.raises(TacitError, match="a page names the piece nothing, which there is not: demo, small_sweep"):
        results.page(BLOCK.replace("demo", "nothing"), records)
    records.folder.mkdir()
    records.file("demo").write_text(json.dumps({"tables": {"other": TABLE}}))
    with pytest.raises(TacitError, match="the piece demo has no table table, only other"):
        results.page(BLOCK, records)


def test_the_pages_are_what_the_records_say():
    records = results.Records(results.RECORDS)
    for file in sorted((results.ROOT / "docs").glob("*.md")):
        text = file.read_text()
        assert results.page(text, records) == text, f"{file.name}: python -m docs.results --pages"


def test_records_are_small_and_of_pieces_that_there_are():
    files = sorted(results.RECORDS.glob("*.json"))
    assert {file.name for file in files} <= {
        results.Records(results.RECORDS).file(name).name for name in results.PIECES
    }
    assert all(file.stat().st_size <= 2 * results.MOST_BYTES for file in files)
    assert sum(file.stat().st_size for file in files) <= 5_000_000


def test_every_contrast_is_of_methods():
    known = {*pieces.METHODS, "IPPO, low"}
    assert {name for pair in pieces.CONTRASTS for name in pair} <= known
    assert all(re.fullmatch(r"\w+", pieces._slug(name)) for name in known)
