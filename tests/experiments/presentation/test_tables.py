"""Tables of plain data in every format."""

import csv
import io
import json

import pytest

from experiments.presentation import tables
from experiments.presentation.tables import Cell, Column, Table
from marl.crossplay.estimators import Estimate
from tests.command_line import printed_rows

WHOLE = Estimate(1.25, 0.5, 0.25, 2.25)
POINT = Estimate(-0.001, 0.125, None, None, "an interval needs 6 seeds")
NONE = Estimate(None, note="one seed")
TABLE = Table(
    "A & B",
    [
        Column("method", words=True),
        Column("entropy_coef", ("learner.entropy_coef",), digits=1),
        Column("XP", ("greedy", "cross_play")),
        Column("note", in_papers=False),
        Column("best", ("best", "greedy"), shown=False),
    ],
    [
        ["IPPO", 0.25, Cell(WHOLE, mark="*"), None, True],
        ["50 %", Cell(3, "three"), POINT, 7, False],
        ["alone", None, NONE, Cell({"return": 1.5, "regret": 0.0}, "1.5 (0)"), None],
    ],
    ["* the greatest [of all]"],
    ends=[1],
)


def test_markdown():
    assert tables.markdown(TABLE).split("\n") == [
        "| method | entropy_coef | XP | note |",
        "|---|---:|---:|---:|",
        "| IPPO | 0.2 | 1.25 [0.25, 2.25] * | – |",
        "| 50 % | three | 0.00 ± 0.12 (no interval) | 7 |",
        "| alone | – | not estimable | 1.5 (0) |",
        "",
        r"\* the greatest [of all]",
    ]
    assert tables.as_markdown([TABLE, TABLE]).count("**A & B**\n\n| method |") == 2


def test_csv_and_json_hold_what_is_not_shown_and_every_number():
    rows = list(csv.DictReader(io.StringIO(tables.as_csv([TABLE, TABLE._replace(rows=TABLE.rows[:1])]))))
    assert [row["method"] for row in rows] == ["IPPO", "50 %", "alone", "IPPO"]
    assert rows[0] == rows[3] | {"note": ""}
    assert [rows[0][f"greedy_cross_play{part}"] for part in ("", "_se", "_low", "_high")] == [
        "1.25",
        "0.5",
        "0.25",
        "2.25",
    ]
    assert (rows[0]["best_greedy"], rows[2]["best_greedy"]) == ("True", "")
    assert (rows[1]["learner.entropy_coef"], rows[2]["note_return"], rows[2]["note_regret"]) == ("3", "1.5", "0.0")
    plain = json.loads(tables.as_json([TABLE]))
    assert plain[0] == {
        "method": "IPPO",
        "learner.entropy_coef": 0.25,
        "greedy": {"cross_play": {"mean": 1.25, "se": 0.5, "low": 0.25, "high": 2.25, "note": ""}},
        "note": None,
        "best": {"greedy": True},
    }
    assert plain[1]["greedy"]["cross_play"]["note"] == "an interval needs 6 seeds"


def test_latex():
    assert tables.as_latex([TABLE]).split("\n") == [
        "% A & B",
        "% * the greatest [of all]",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & entropy\_coef & XP \\",
        r"\midrule",
        r"IPPO & 0.2 & $1.25\ [0.25, 2.25]^{*}$ \\",
        r"50 \% & three & $0.00 \pm 0.12$ \\",
        r"\midrule",
        r"alone & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_row_of_latex_does_not_begin_with_an_argument_of_the_line_break():
    table = Table("", [Column("torso", words=True), Column("p")], [["[64, 64]", Cell(1e-4, tables.p_value(1e-4))]])
    assert r"{[}64, 64] & $<$ 0.001 \\" in tables.as_latex([table]).split("\n")


@pytest.mark.parametrize(("p", "text"), [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_p_values(p, text):
    assert tables.p_value(p) == text


def test_a_wide_table_is_shown_in_parts_that_begin_alike(capsys):
    wide = Table(
        "wide", [Column("name", words=True), *(Column(f"column {n}") for n in range(20))], [["[red]a", *range(20)]]
    )
    tables.show([wide, TABLE])
    said = capsys.readouterr().out
    heads = [row for row in printed_rows(said) if row[0] == "name"]
    assert len(heads) == 2
    assert all(len(line) <= 200 for line in said.splitlines())
    assert said.count("[red]a") == 2  # no markup, and in both parts
    assert [name for head in heads for name in head[1:]] == [f"column {n}" for n in range(20)]
    assert said.count("* the greatest [of all]\n") == 1
    assert "best" not in said


@pytest.mark.parametrize(("width", "of_a_column"), [(200, "1.25 [0.25, 2.25] *"), (60, "1.25 *")])
def test_intervals_go_below_where_there_is_no_room_beside(width, of_a_column, capsys, monkeypatch):
    monkeypatch.setattr(tables, "_WIDTH", width)
    columns = [Column("key"), *(Column(f"score {n}") for n in range(3))]
    tables.show(
        [Table("", columns, [[1, Cell(WHOLE, mark="*"), WHOLE, WHOLE], [2, POINT._replace(se=None, note=""), NONE, 3]])]
    )
    rows = printed_rows(capsys.readouterr().out)
    assert rows[1][:2] == ["1", of_a_column]
    assert (rows[2] == ["[0.25, 2.25]"] * 3) == (width == 60)
    tables.show([Table("", columns, [[1, *[Cell(WHOLE, tables.with_error(1.25, 0.5))] * 3]])])
    assert "[" not in capsys.readouterr().out  # a text of its own has what it has


def test_of_a_wide_table_columns_may_be_left_out(capsys, monkeypatch):
    monkeypatch.setattr(tables, "_WIDTH", 60)
    columns = [Column("key"), *(Column(f"score {n}") for n in range(9))]
    table = Table("", columns, [[1, *[WHOLE] * 9]], enough=3)
    tables.show([table])
    said = capsys.readouterr().out
    assert printed_rows(said)[0] == ["key", "score 0", "score 1", "score 2"]
    left = ", ".join(f"score {n}" for n in range(3, 9))
    assert f"no room for {left}: --columns chooses, --format markdown and a wider terminal show all\n" in said
    tables.show([table._replace(enough=5)])  # not enough of them fit: in parts
    assert sum(row[0] == "key" for row in printed_rows(capsys.readouterr().out)) == 3


@pytest.mark.parametrize("form", ["table", *tables.FORMATS])
def test_every_format_is_printed(form, capsys):
    tables.print_tables([TABLE], form)
    assert "IPPO" in capsys.readouterr().out
