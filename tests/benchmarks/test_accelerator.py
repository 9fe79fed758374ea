"""The accelerator script runs small on a CPU; what it does when memory or time is out; how it counts operations."""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks import accelerator, cost
from benchmarks.accelerator import Measured, Program, Report
from benchmarks.measure import Timing

ROOT = Path(__file__).parents[2]


def run(tmp_path, capsys, *arguments):
    """Rows of the file, and what was printed."""
    output = tmp_path / "rows.json"
    assert accelerator.main(["--small", "--output", str(output), *arguments]) == 0
    return json.loads(output.read_text()), capsys.readouterr().out


@pytest.mark.slow
def test_peaks_and_engine(tmp_path, capsys):
    written, printed = run(tmp_path, capsys, "--parts", "peaks", "engine", "--engine-games", "4")
    assert written["about"]["JaxMARL"] == "left out"
    rows = {part: [row for row in written["rows"] if row["part"] == part] for part in accelerator.PARTS}
    assert [row["what"] for row in rows["peaks"]] == ["product, float32", "product, bfloat16", "copy", "empty call"]
    assert all(row["rate"] > 0 for row in rows["peaks"])
    assert [(row["observed"], row["games"], row["outcome"]) for row in rows["engine"]] == [
        ("to move", 4, "measured"),
        ("all", 4, "measured"),
    ]
    for row in rows["engine"]:
        assert row["steps_per_call"] == 400
        assert row["steps_per_second"] >= row["median"] > 0
        assert row["calls"] >= 3
    assert not rows["training"] and not rows["traffic"]
    assert printed.count("\n| ") == len(written["rows"]) + 2  # and the headings


# In a turn-based game of two one row is played and learned from four times, each time forwards and twice backwards but
# for the input's own gradient; after a rollout's four steps one more is played, as far as is counted. Products of the
# network, input 658 and 21 actions:
INNER, FORWARD = 658 * 512, 658 * 512 + 2 * 512 * 512 + 512 * 21 + 512
FLOPS_OF_A_STEP = 2 * (FORWARD + FORWARD // 4 + 4 * (3 * FORWARD - INNER))


@pytest.mark.slow
def test_the_programs_of_training():
    """What is measured, but not the measuring."""
    options = accelerator._options(["--small", "--networks", "feed-forward", "--length", "4", "--seeds", "1", "2"])
    first, second = accelerator._training(options, False)
    assert [(program.games, program.seeds, program.steps) for program in (first, second)] == [(8, 1, 32), (8, 2, 64)]
    assert first.what == {"network": "feed-forward", "batch": "acting", "observer": "hle", "precision": "float32"}
    update, state = second.build()
    assert cost.product_flops(jax.jit(update).trace(state).jaxpr) == FLOPS_OF_A_STEP * second.steps


@pytest.mark.proof
def test_all_parts(tmp_path, capsys):
    sizes = "--networks", "feed-forward", "--engine-games", "4", "--length", "4", "--seeds", "1", "2"
    written, _ = run(tmp_path, capsys, "--parts", *accelerator.PARTS, *sizes)
    training = [row for row in written["rows"] if row["part"] == "training"]
    assert [(row["games"], row["seeds"], row["steps_per_call"]) for row in training] == [(8, 1, 32), (8, 2, 64)]
    for row in training:
        assert row["outcome"] == "measured" and row["working_mb"] > 0
        assert row["minutes_for_1e9_computed"] == pytest.approx(1e9 / 60 / row["steps_per_second"])
        assert row["tflops"] * 1e12 == pytest.approx(FLOPS_OF_A_STEP * row["steps_per_second"], rel=1e-6)
    traffic = [row for row in written["rows"] if row["part"] == "traffic"]
    assert [row["program"] for row in traffic] == [
        "engine, hle, to move",
        "engine, hle, all",
        "training, feed-forward, acting, hle, float32",
    ]
    # An update reads the weights, 0.9 million of 4 bytes, for 16 minibatches out of 32 steps at the very least.
    assert traffic[-1]["bytes_a_step"] > 16 * 0.9e6 * 4 / 32


def fake(monkeypatch, *, compile_seconds=5.0, full_from=None, error="RESOURCE_EXHAUSTED: no room"):
    """`clock` without a clock: a call takes a millisecond a game; memory is full from some size on."""

    def clock(games, state, *, seconds):
        if full_from is not None and games >= full_from:
            raise jax.errors.JaxRuntimeError(error)
        return Measured(Timing(compile_seconds, (games / 1000, games / 500), 10**6), 10**9 * games, None, None)

    monkeypatch.setattr(accelerator, "clock", clock)


def programs(*sizes, batch="acting"):
    what = {"network": "recurrent", "batch": batch, "observer": "hle", "precision": "float32"}
    return [Program(what, games, 1, 100 * games, lambda games=games: (games, None)) for games in sizes]


def grow(programs, *, minutes=60.0):
    report = Report(None, {})
    report.add("peaks", what="product, float32", size=1, rate=4.0, unit="TFLOP/s")
    first = accelerator._grow("training", iter(programs), report, time.monotonic() + 60 * minutes, 0.0)
    return first, report.of("training")


def test_rates(monkeypatch, capsys):
    fake(monkeypatch)
    first, rows = grow([*programs(50, batch="JaxMARL"), *programs(50, 100)])
    assert [(program.games, program.what["batch"]) for program, _ in first] == [(50, "JaxMARL"), (50, "acting")]
    row = rows[1]
    assert row["steps_per_second"] == 100_000 and row["median"] == pytest.approx(200_000 / 3)
    assert row["minutes_for_1e9_computed"] == pytest.approx(166.6667)
    assert row["tflops"] == pytest.approx(1.0) and row["share_of_product_peak"] == pytest.approx(0.25)
    assert row["x_jaxmarl"] == 1 and row["working_mb"] == 1
    assert rows[2]["x_jaxmarl"] is None  # JaxMARL was not measured at that size
    assert "| 25.0% |" in capsys.readouterr().out


def test_a_full_memory_is_a_row_and_ends_only_its_kind(monkeypatch):
    fake(monkeypatch, full_from=200)
    _, rows = grow([*programs(100, 200, 400, 150), *programs(100, batch="all")])
    assert [(row["batch"], row["games"], row["outcome"]) for row in rows] == [
        ("acting", 100, "measured"),
        ("acting", 200, "out of memory"),
        ("acting", 150, "measured"),
        ("all", 100, "measured"),
    ]


def test_another_failure_is_named(monkeypatch):
    fake(monkeypatch, full_from=100, error="INTERNAL: ptxas exited\nmore")
    assert [row["outcome"] for row in grow(programs(100, 200))[1]] == [
        "failed: JaxRuntimeError: INTERNAL: ptxas exited"
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--games", "0"], "'0' is no whole number of at least 1"),
        (["--games", "6"], "learner.minibatches must divide the 6 sequences of 8 steps"),
    ],
)
def test_a_wrong_size_is_one_sentence(capsys, arguments, said):
    try:
        status = accelerator.main(["--small", "--parts", "training", "--networks", "recurrent", *arguments])
    except SystemExit as error:  # argparse's
        status = error.code
    assert status == 2
    assert said in capsys.readouterr().err


def test_nothing_begins_that_would_end_too_late(monkeypatch):
    fake(monkeypatch, compile_seconds=29.6)
    _, rows = grow(programs(50, 100, 200), minutes=0.5)  # 29.6 s to compile and four calls of 0.1 s, then of 0.2 s
    assert [row["outcome"] for row in rows] == ["measured", "no time left (takes about 30 s)"]
    assert [row["outcome"] for row in grow(programs(50), minutes=-1)[1]] == ["no time left (takes about 0 s)"]


def test_without_jaxmarl_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    there, note = accelerator._jaxmarl()
    assert not there and note.startswith("not installed")


@pytest.mark.slow
def test_imports_without_hle_hydra_and_jaxmarl():
    absent = "hanabi_learning_environment", "hydra", "omegaconf", "jaxmarl", "distrax", "matplotlib"
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import benchmarks.accelerator"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_products_are_counted_with_their_loops():
    def program(x, w):
        def inner(x, _):
            return jnp.tanh(x @ w), None  # 2 * 4 * 6 * 6

        def outer(x, _):
            x = jax.lax.scan(inner, x, None, length=3)[0]
            return jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x, x), None

        x = jax.lax.scan(outer, x, None, length=5)[0]
        return jnp.einsum("bij,bjk->bik", jnp.ones((2, 3, 4)), jnp.ones((2, 4, 5))), x  # 2 * 2 * 3 * 4 * 5

    traced = jax.jit(program).trace(jnp.ones((4, 6)), jnp.ones((6, 6)))
    assert cost.product_flops(traced.jaxpr) == 5 * (3 + 2) * 288 + 240


def test_traffic_counts_all_rounds_of_a_loop():
    def program(x):
        def inner(x, _):
            return jnp.sin(x), None

        def outer(x, _):
            return jax.lax.scan(inner, x + 1, None, length=4)[0], None

        return jax.lax.scan(outer, x, None, length=10)[0]

    traced = jax.jit(program).trace(jnp.ones(10**6, jnp.float32))
    # 10 * (1 + 4) passes, each of which reads and writes four million bytes
    assert cost.traffic(traced, traced.lower().compile()) == pytest.approx(50 * 8e6, rel=0.25)
