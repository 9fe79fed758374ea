"""The command `tacit`."""

import atexit
import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from experiments.commands import COMMANDS
from experiments.presentation import terminal
from experiments.training import platforms
from experiments.training.stopping import INTERRUPTED, Paused
from games.errors import TacitError, did_you_mean

USAGE = """\
tacit: independently trained agents, played with each other

  tacit train [-m] KEY=VALUE …       train independent seeds, cross-play them, write run directories
  tacit crossplay RUN [RUN …]        play saved seeds of one or several runs with each other
  tacit crossplay RUN … --with partners  … and with partners that nobody trained
  tacit zoo RUN [RUN …]              finished runs as small files that stand alone, for tacit crossplay
  tacit compare DIR …                self-play against cross-play of finished runs: tables and a figure
  tacit report DIR … [-o FOLDER]     a static site over runs that opens offline: tables, heat maps, games
  tacit export mlflow|tensorboard DIR …  finished runs for a tracker
  tacit status DIR …                 how the runs of a folder stand: finished, running, cut, failed
  tacit runs check DIR …             verify the checksums and the completeness of runs
  tacit methods [NAME=]RUN …         learned methods, every one with every other: tables, tests and a figure
  tacit conventions RUN … [--with NAMES]  what conventions of seeds and partners look like, and what relabelling changes
  tacit phase [-m] KEY=VALUE …       exact: where the gradient flow ends at every α, from many starts
  tacit zsc-table [-m] [KEY=VALUE …]  exact: methods of zero-shot coordination × tabular games
  tacit structure-table [-m] [KEY=VALUE …]  exact: structures × methods × tabular games, in units of the solo value
  tacit adaptive [-m] KEY=VALUE …    exact: infer a partner's reasoning depth in a repeated matrix game
  tacit symmetries GAME [KEY=VALUE …]  exact: the symmetry group of a tabular game
  tacit games [NAME [KEY=VALUE …]]   list the games; with a name its sizes, actions and observers
  tacit games NAME --check           try whether a game keeps the contract, law by law
  tacit games hanabi --replay FILE … check games that were played elsewhere, and their convention gap
  tacit play AGENT …                 play Hanabi with trained seeds and partners, in the browser or the terminal
  tacit verify hanabi [--steps N]    replay random games in HLE and compare everything
  tacit config KEY=VALUE …           print the composed configuration as JSON

tacit COMMAND --help says more. Examples:

  tacit train experiment=demo
  tacit train game=hanabi_3x3 learner.entropy_coef=[0.01,0.1] budget.steps=1e6
  tacit train game=dectiger horizon=3 policy=tabular
  tacit train -m game=hanabi_2x3,lever learner.gae_lambda=0.9,0.95
  tacit phase game=dectiger horizon=3
  tacit phase game=tiny_hanabi variant=E alpha=[1,2,4,8]
  tacit zsc-table -m game=lever,two_stage_lever method=[self-play,other-play]
  tacit symmetries game.file=PATH
"""


def main() -> None:
    """Run the command line and exit: 0 done, 1 differences found, 2 bad input, 75 time used up, 130 interrupted."""
    # A scheduler's SIGTERM is handled like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            _reword_warnings()
            status = _dispatch(sys.argv[1:])
    except TacitError as error:
        terminal.say(f"tacit: {error}")
        status = 2
    except Paused as pause:
        terminal.say(f"tacit: {pause}")
        status = pause.status
    except KeyboardInterrupt as interrupt:
        terminal.say("tacit: interrupted")
        status = INTERRUPTED
        atexit.register(end_at_once, interrupt)
    except BrokenPipeError:  # nobody reads the results
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        if (refused := platforms.unusable(error)) is None:
            raise
        terminal.say(f"tacit: {refused}")
        status = 2
    sys.exit(status)


def _reword_warnings() -> None:
    """Show a library's warning once and in one line; those of caches that cannot be written in our words, or not."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:
        sentence = " ".join(str(message).split())
        if sentence not in shown:
            shown.add(sentence)
            terminal.warn(sentence)

    warnings.showwarning = show
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it then makes a cache of its own, and says so
    warnings.filterwarnings("ignore", category=UserWarning, module=r"jax\._src\.compiler")
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    if not folder or "://" in folder:
        return
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        show(f"JAX_COMPILATION_CACHE_DIR={folder} is no folder that can be written: compiled programs are not kept")


def end_at_once(interrupt: KeyboardInterrupt) -> None:
    """End an interrupted process now: at its usual end it would wait for what is being compiled, and then crash.

    Args:
      interrupt: kept until then, since what is being compiled may belong to the functions that it interrupted.
    """
    del interrupt
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(INTERRUPTED)


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if arguments[0] not in COMMANDS:
        hint = did_you_mean(arguments[0], COMMANDS, f"there are {', '.join(COMMANDS)}")
        raise TacitError(f"there is no command {arguments[0]!r}; {hint}")
    return COMMANDS[arguments[0]](list(arguments[1:])) or 0


if __name__ == "__main__":
    main()
