"""`python -m benchmarks`: all measurements, most compared with JaxMARL or OpenSpiel, for docs/performance.md."""

import argparse
import functools
import importlib.metadata
import platform
import sys
from pathlib import Path

import jax

from benchmarks import crossplay, engine, exact, learners, literal, startup, training
from benchmarks.measure import processor
from marl import devices

_PEERS = {"engine": "jaxmarl", "training": "jaxmarl", "exact-openspiel": "open-spiel"}
"""Part -> the package with which it compares."""


def main() -> int:
    """Print the report; status 2 if a peer is not installed."""
    groups = ["engine", "training", "learners", "crossplay", "literal", "exact", "startup"]
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=[*groups, *exact.PARTS], help="one part instead of all")
    parser.add_argument("--games", type=int, default=training.GAMES, help="games of the training part (%(default)s)")
    parser.add_argument(
        "--repeats", type=int, help="measured runs (2 in the training part, 3 to 9 in the exact ones, 5 of startup)"
    )
    parser.add_argument("--baselines", type=Path, help="a JaxMARL checkout, whose own training script is measured")
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be at least 1")
    repeats = {} if options.repeats is None else {"repeats": options.repeats}
    parts = {
        "engine": engine.main,
        "training": functools.partial(training.main, games=options.games, baselines=options.baselines, **repeats),
        "learners": functools.partial(learners.main, **repeats),
        "crossplay": crossplay.main,
        "literal": functools.partial(literal.main, **repeats),
        **{name: functools.partial(part, **repeats) for name, part in exact.PARTS.items()},
        "startup": functools.partial(startup.main, **repeats),
    }
    chosen = [name for name in parts if options.only in (None, name, name.split("-")[0])]
    versions = []
    for package, peer, extra in (("jaxmarl", "JaxMARL", "bench"), ("open-spiel", "OpenSpiel", "dev")):
        try:
            versions.append(f"{peer} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            if any(_PEERS.get(name) == package for name in chosen):
                print(
                    f"the benchmark measures beside {peer}, which is not installed: pip install 'tacit[{extra}]'",
                    file=sys.stderr,
                )
                return 2
    devices.one_per_core()
    jax.config.update("jax_enable_compilation_cache", False)  # else times would depend on what ran before
    print(", ".join([f"Python {platform.python_version()}, jax {jax.__version__}", *versions, _machine()]))
    for name in chosen:
        print(f"\n## {name}\n", *parts[name](), sep="\n", flush=True)
    return 0


def _machine() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{len(jax.devices())} x {device.device_kind}"
    return processor()


if __name__ == "__main__":
    sys.exit(main())
