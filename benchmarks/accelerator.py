"""Engine and training on an accelerator: rates by batch size, compared with the machine's peak rates.

    python -m benchmarks.accelerator [--small] [--minutes M] [--output FILE.json]

The parts, in order:

peaks     a large matrix product in each precision, a large copy and an empty call: the peaks that shares refer to.
engine    random legal play with automatic reset, the player to move observed or all, by the number of games.
training  updates of IPPO with JaxMARL's networks and hyperparameters, by games and seeds, learners side by side.
traffic   bytes that a step moves by the compiler's estimate, loops multiplied out (compiles each loop's body anew).

Compilation is timed apart, every call is waited for, and rates are of the best call, with the median beside. A row is
printed, and the file written, as soon as it is measured. Sizes grow until the memory is full or the minutes are over.
Operations counted are those of matrix products. float32 products run at jax's default precision: TF32 on NVIDIA's
accelerators, bfloat16 passes on TPUs; bfloat16 ones have float32 sums. One device is used. JaxMARL is measured beside
where it is installed; it observes the V0 belief.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import cost, engine, peer, training
from benchmarks.measure import Timing, working_bytes
from games.errors import TacitError
from games.hanabi import Hanabi
from marl.learners.ippo import Hyperparameters

PARTS = ("peaks", "engine", "training", "traffic")
JAXMARL = "JaxMARL"
FAILED = "failed: "
"""The prefix of the outcome of a program that failed unexpectedly."""


class Sizes(NamedTuple):
    """The sizes of the measurements, unless the command line gives others."""

    parts: tuple[str, ...]
    products: tuple[int, ...]  # rows and columns of the square matrices
    copy: int  # float32 numbers
    engine_games: tuple[int, ...]
    games: tuple[int, ...]
    seeds: tuple[int, ...]
    length: int  # steps of a game in an update
    batches: tuple[str, ...]
    precisions: tuple[str, ...]
    seconds: float  # for which a program is called repeatedly


FULL = Sizes(
    parts=PARTS,
    products=(1024, 2048, 4096, 8192, 16384),
    copy=2**28,
    engine_games=(2**10, 2**12, 2**14, 2**16, 2**18, 10**6),
    games=(1024, 2048, 4096, 8192, 16384),
    seeds=(1, 2, 4, 8),
    length=128,
    batches=("acting", "all"),
    precisions=("float32", "bfloat16"),
    seconds=2.0,
)
SMALL = Sizes(
    parts=("peaks", "engine", "training"),
    products=(256,),
    copy=2**24,
    engine_games=(64,),
    games=(8,),
    seeds=(1,),
    length=8,
    batches=("acting",),
    precisions=("float32",),
    seconds=0.1,
)


class Program(NamedTuple):
    """One measurement: what is called, on what."""

    what: dict[str, Any]
    """The settings that are the same at all sizes."""
    games: int
    seeds: int
    steps: int
    """Steps of games in one call, all seeds' together."""
    build: Callable[[], tuple[Callable[[Any], tuple[Any, Any]], Any]]
    """A function state -> (state, result), and the first state."""

    @property
    def kind(self) -> tuple[Any, ...]:
        return tuple(self.what.values())


COLUMNS: dict[str, dict[str, str]] = {
    "peaks": {"what": "", "size": ",", "rate": ",.4g", "unit": ""},
    "engine": {
        "observer": "", "observed": "", "games": ",", "steps_per_second": ",.0f", "median": ",.0f", "x_jaxmarl": ".1f",
        "ms_a_call": ",.2f", "compile_seconds": ".1f", "outcome": "",
    },
    "training": {
        "network": "", "batch": "", "observer": "", "precision": "", "games": ",", "seeds": "",
        "steps_per_second": ",.0f", "median": ",.0f", "x_jaxmarl": ".2f", "minutes_for_1e9_computed": ",.1f",
        "tflops": ".3g", "share_of_product_peak": ".1%", "ms_a_call": ",.1f", "compile_seconds": ".1f",
        "working_mb": ",.0f", "outcome": "",
    },
    "traffic": {
        "program": "", "bytes_a_step": ",.0f", "steps_per_second": ",.0f", "gb_per_second": ",.4g",
        "share_of_copy_peak": ".1%", "outcome": "",
    },
}  # fmt: skip
"""The columns of each part's table: keys of a row, which are also the headings, and the formats of their values."""


class Report:
    """Rows, printed and written as soon as they are added."""

    def __init__(self, output: Path | None, about: dict[str, Any]) -> None:
        self.output, self.about = output, about
        self.rows: list[dict[str, Any]] = []
        for name, value in about.items():
            print(f"{name}: {value}", flush=True)
        self._write()

    def add(self, part: str, **values: Any) -> None:
        columns = COLUMNS[part]
        if not self.of(part):
            heading = "".join(f" {name.replace('_', ' ').replace('x ', '× ')} |" for name in columns)
            print(f"\n## {part}\n\n|{heading}\n|{'---|' * len(columns)}", flush=True)
        self.rows.append({"part": part, **values})
        cells = (values.get(name) for name in columns)
        formats = columns.values()
        print(
            "|" + "".join(f" {'' if c is None else format(c, f)} |" for c, f in zip(cells, formats, strict=True)),
            flush=True,
        )
        self._write()

    def of(self, part: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of a part that have these values."""
        rows = [row for row in self.rows if row["part"] == part]
        return [row for row in rows if all(row.get(name) == value for name, value in values.items())]

    def peak(self, what: str) -> float | None:
        """The best rate of a row of the peaks, if it was measured."""
        return max((row["rate"] for row in self.of("peaks", what=what)), default=None)

    def _write(self) -> None:
        """Write the whole file anew, under a temporary name and then renamed."""
        if self.output is not None:
            unfinished = self.output.with_name(self.output.name + ".part")
            unfinished.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1) + "\n")
            unfinished.replace(self.output)


class Measured(NamedTuple):
    """The measurement of a program."""

    timing: Timing
    flops: int
    """Of the matrix products in one call."""
    traced: Any
    compiled: Any


def clock(function: Callable[[Any], tuple[Any, Any]], state: Any, *, seconds: float) -> Measured:
    """Compile, call once unmeasured, then at least three times, each on the state that the last one left."""
    began = time.perf_counter()
    traced = jax.jit(function, donate_argnums=0).trace(state)
    compiled = traced.lower().compile()
    compile_seconds = time.perf_counter() - began
    state = jax.block_until_ready(compiled(state))[0]
    calls: list[float] = []
    while len(calls) < 3 or (sum(calls) < seconds and len(calls) < 1000):
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state))[0]
        calls.append(time.perf_counter() - began)
    timing = Timing(compile_seconds, tuple(calls), working_bytes(compiled))
    return Measured(timing, cost.product_flops(traced.jaxpr), traced, compiled)


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; status 1 if a program failed, except for memory or time, 2 for an invalid size."""
    try:
        return _main(_options(arguments))
    except TacitError as error:
        print(error, file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    deadline = time.monotonic() + 60 * options.minutes
    peers, note = _jaxmarl() if options.jaxmarl else (False, "left out")
    report = Report(options.output, _about(note, options))
    if "peaks" in options.parts:
        _peaks(report, options)
    first: list[tuple[str, Program, Measured]] = []
    for part, programs in (("engine", _engine), ("training", _training)):
        if part in options.parts:
            found = _grow(part, programs(options, peers), report, deadline, options.seconds)
            first += [(part, program, measured) for program, measured in found]
    if "traffic" in options.parts:
        _traffic(first, report, deadline)
    return int(any(row.get("outcome", "").startswith(FAILED) for row in report.rows))


def _grow(
    part: str, programs: Iterator[Program], report: Report, deadline: float, seconds: float
) -> list[tuple[Program, Measured]]:
    """Measure programs of growing size. If one fails or would take too long, no larger one of its kind is tried.

    Returns:
      The first program of each kind, with what was measured.
    """
    first: dict[tuple[Any, ...], tuple[Program, Measured]] = {}
    last: dict[tuple[Any, ...], tuple[Program, Timing]] = {}
    too_large: dict[tuple[Any, ...], int] = {}  # steps of a call
    for program in programs:
        if program.steps >= too_large.get(program.kind, sys.maxsize):
            continue
        predicted, outcome, values = 0.0, "measured", {}
        if program.kind in last:
            before, timing = last[program.kind]
            predicted = timing.compile_seconds + seconds + 4 * timing.best * program.steps / before.steps
        if time.monotonic() + predicted >= deadline:
            outcome = f"no time left (takes about {predicted:,.0f} s)"
        else:
            try:
                found = clock(*program.build(), seconds=seconds)
                last[program.kind] = program, found.timing
                first.setdefault(program.kind, (program, found))
                values = _rates(part, program, found, report)
            except TacitError:
                raise
            except Exception as error:  # go on with the others, since time on accelerators is scarce
                outcome = _failure(error)
        if outcome != "measured":
            too_large[program.kind] = program.steps
        report.add(part, **program.what, games=program.games, seeds=program.seeds, **values, outcome=outcome)
    return list(first.values())


def _rates(part: str, program: Program, found: Measured, report: Report) -> dict[str, Any]:
    """The rates in the row of a program that ran."""
    timing = found.timing
    rate = program.steps / timing.best
    product_rate = found.flops / timing.best
    peak = report.peak(f"product, {program.what.get('precision', 'float32')}")
    peer_of = {"observer": JAXMARL} if part == "engine" else {"network": program.what["network"], "batch": JAXMARL}
    beside = report.of(part, **peer_of, games=program.games, seeds=program.seeds, outcome="measured")
    return {
        "steps_per_call": program.steps,
        "steps_per_second": rate,
        "median": program.steps / timing.median,
        "calls": len(timing.run_seconds),
        "x_jaxmarl": rate / beside[0]["steps_per_second"] if beside else None,
        "minutes_for_1e9_computed": 1e9 / rate / 60,
        "tflops": product_rate / 1e12 if found.flops else None,
        "share_of_product_peak": product_rate / 1e12 / peak if found.flops and peak else None,
        "ms_a_call": 1e3 * timing.best,
        "compile_seconds": timing.compile_seconds,
        "working_mb": None if timing.working_bytes is None else timing.working_bytes / 1e6,
    }


def _failure(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
        return "out of memory"
    return f"{FAILED}{type(error).__name__}: {text.splitlines()[0] if text else ''}"


def _peaks(report: Report, options: argparse.Namespace) -> None:
    def product(size: int, dtype: Any) -> Any:
        key, other = jax.random.split(jax.random.key(0))
        factor = (jax.random.normal(other, (size, size), jnp.float32) / size**0.5).astype(dtype)
        x = jax.random.normal(key, (size, size), jnp.float32).astype(dtype)
        return lambda state: ((state[0] @ state[1], state[1]), ()), (x, factor)

    for precision in ("float32", "bfloat16"):
        for size in options.products:
            seconds = clock(*product(size, precision), seconds=options.seconds).timing.best
            rate = 2 * size**3 / seconds / 1e12
            report.add("peaks", what=f"product, {precision}", size=size, rate=rate, unit="TFLOP/s")
            if seconds > 0.2:  # a larger one takes eight times as long and is no faster
                break
    x = jnp.ones(options.copy, jnp.float32)
    seconds = clock(lambda x: (x + 1, ()), x, seconds=options.seconds).timing.best
    report.add("peaks", what="copy", size=options.copy, rate=8 * options.copy / seconds / 1e9, unit="GB/s, both ways")
    seconds = clock(lambda x: (x + 1, ()), jnp.float32(0), seconds=options.seconds).timing.median
    report.add("peaks", what="empty call", size=1, rate=1e6 * seconds, unit="µs")


def _engine(options: argparse.Namespace, peers: bool) -> Iterator[Program]:
    game, steps = Hanabi(), engine.STEPS

    def build(play: Any, start: Any) -> Any:
        def advance(state: Any) -> Any:
            games, key = state
            key, now = jax.random.split(key)
            games, seen, total = play(games, now)
            return (games, key), (seen, total)

        key = jax.random.key(0)
        return advance, (jax.jit(start)(key), key)

    def ours(games: int, observer: str, who: str) -> Any:
        play = engine.play(game, observer, who, games=games, steps=steps)
        return build(play, lambda key: jax.vmap(lambda one: game.init(key=one))(jax.random.split(key, games)))

    def theirs(games: int) -> Any:
        import jaxmarl

        env = jaxmarl.make("hanabi", num_agents=2)
        play = engine.play_peer(env, games=games, steps=steps)

        def advance(state: Any, key: Any) -> Any:
            states, seen, total = play(*state, key)
            return (seen, states), (), total

        return build(advance, lambda key: jax.vmap(env.reset)(jax.random.split(key, games)))

    for games in options.engine_games:
        if peers:
            what = {"observer": JAXMARL, "observed": "all"}
            yield Program(what, games, 1, games * steps, lambda games=games: theirs(games))
        for who in ("to move", "all"):
            what = {"observer": options.observer, "observed": who}
            yield Program(
                what, games, 1, games * steps, lambda games=games, who=who: ours(games, options.observer, who)
            )


def _training(options: argparse.Namespace, peers: bool) -> Iterator[Program]:
    length = options.length

    def ours(network: str, batch: str, precision: str, games: int, seeds: int) -> Any:
        learner = training.make_learner(
            network, batch, options.observer, games=games, length=length, precision=precision, game=Hanabi()
        )
        keys = jax.random.split(jax.random.key(0), seeds)
        init = jax.jit(lambda keys: jax.lax.map(lambda key: learner.init(Hyperparameters(), key=key), keys))
        return jax.vmap(learner.update), init(keys)

    def theirs(network: str, games: int) -> Any:
        learner = peer.Peer(network, games, length)
        return learner.update, jax.jit(learner.init)(jax.random.key(0))

    sizes = [(games, 1) for games in options.games]
    sizes += [(options.games[0], seeds) for seeds in options.seeds if seeds > 1]
    for precision, (games, seeds) in itertools.product(options.precisions, sizes):
        steps = games * seeds * length
        for network in options.networks if peers and seeds == 1 and precision == "float32" else ():
            what = {"network": network, "batch": JAXMARL, "observer": "belief", "precision": precision}
            yield Program(what, games, 1, steps, lambda network=network, games=games: theirs(network, games))
        for batch, network in itertools.product(options.batches, options.networks):
            what = {"network": network, "batch": batch, "observer": options.observer, "precision": precision}
            cell = (network, batch, precision, games, seeds)
            yield Program(what, games, seeds, steps, lambda cell=cell: ours(*cell))


def _traffic(first: list[tuple[str, Program, Measured]], report: Report, deadline: float) -> None:
    """For each kind of program the bytes of a step at its first size, and the bandwidth that its best rate implies."""
    peak = report.peak("copy")
    for part, program, measured in first:
        rate = max(row["steps_per_second"] for row in report.of(part, **program.what, outcome="measured"))
        values: dict[str, Any] = {"program": ", ".join([part, *program.kind]), "steps_per_second": rate}
        if time.monotonic() >= deadline:
            report.add("traffic", **values, outcome="no time left")
            continue
        bytes_a_step = cost.traffic(measured.traced, measured.compiled) / program.steps
        gb_per_second = bytes_a_step * rate / 1e9
        values |= {"bytes_a_step": bytes_a_step, "gb_per_second": gb_per_second}
        share = gb_per_second / peak if peak else None
        report.add("traffic", **values, share_of_copy_peak=share, outcome="measured")


def _about(jaxmarl: str, options: argparse.Namespace) -> dict[str, Any]:
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "device": f"{device.device_kind} ({device.platform}), 1 of {len(jax.devices())} used",
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "not told",
        "cores": os.cpu_count(),
        "versions": f"Python {platform.python_version()}, jax {jax.__version__}",
        "jax_default_matmul_precision": str(jax.config.jax_default_matmul_precision),  # type: ignore[attr-defined]
        "JaxMARL": jaxmarl,
        "update": f"{options.length} steps of each game, {training.EPOCHS} epochs x {training.MINIBATCHES} minibatches",
    }


def _jaxmarl() -> tuple[bool, str]:
    """Whether JaxMARL can be measured, and its version or the reason why not."""
    try:
        import jaxmarl

        jaxmarl.make("hanabi", num_agents=2)
    except ModuleNotFoundError as error:
        return False, f"not installed ({error})"
    except Exception as error:  # for instance if it needs another version of jax
        return False, f"does not work here ({type(error).__name__}: {error})"
    return True, jaxmarl.__version__


def _count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--small", action="store_true", help="tiny sizes, less than a minute on a CPU")
    sizes = SMALL if first.parse_known_args(arguments)[0].small else FULL
    parser = argparse.ArgumentParser("python -m benchmarks.accelerator", description=__doc__, parents=[first])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing that would end later (%(default)s)")
    parser.add_argument("--output", type=Path, help="write all rows to this JSON file, too")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=sizes.parts)
    parser.add_argument("--engine-games", nargs="+", type=_count, default=sizes.engine_games, metavar="N")
    parser.add_argument("--games", nargs="+", type=_count, default=sizes.games, metavar="N")
    parser.add_argument("--seeds", nargs="+", type=_count, default=sizes.seeds, metavar="N")
    parser.add_argument("--length", type=_count, default=sizes.length, metavar="N", help="steps of a game in an update")
    parser.add_argument("--networks", nargs="+", choices=tuple(peer.NETWORKS), default=tuple(peer.NETWORKS))
    parser.add_argument("--batches", nargs="+", choices=FULL.batches, default=sizes.batches)
    parser.add_argument("--precisions", nargs="+", choices=FULL.precisions, default=sizes.precisions)
    parser.add_argument("--observer", choices=tuple(Hanabi().observers), default="hle", help="(%(default)s)")
    parser.add_argument("--jaxmarl", action=argparse.BooleanOptionalAction, default=sizes != SMALL)
    parser.set_defaults(products=sizes.products, copy=sizes.copy, seconds=sizes.seconds)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
