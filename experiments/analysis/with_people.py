"""What runs score with people: the games of `tacit play`, read for `tacit compare`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from games.errors import TacitError
from marl.crossplay.estimators import Estimate, self_play


class Games(NamedTuple):
    """The finished games of one person without help: no move was undone, and the agent was not asked."""

    runs: list[frozenset[str]]
    scores: list[float]
    greedy: list[bool]


def read(files: Sequence[Path]) -> list[Games]:
    """The finished games in the files of `tacit play`, each file of one person; folders stand for the files in them.

    Raises:
      TacitError: naming a file that cannot be read, or is none of `tacit play`; if there is no finished game.
    """
    inside = [file for path in files for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    found = [_of_file(file) for file in dict.fromkeys(file.resolve() for file in inside)]
    if not any(one.scores for one in found):
        raise TacitError(f"there is no finished game of a person in {', '.join(map(str, files))}")
    if len({greedy for one in found for greedy in one.greedy}) > 1:
        raise TacitError("people played with greedy and with sampling agents: give the files of one of these")
    return found


def _of_file(file: Path) -> Games:
    try:
        records = json.loads(file.read_text())
        played = [record for record in records if "score" in record]
        finished = [record for record in played if not record["tacit"]["undone"] and not record["tacit"]["asked"]]
        runs = [frozenset(name.rpartition(":")[0] for name in record["tacit"]["agents"]) for record in finished]
        greedy = [bool(record["tacit"]["greedy"]) for record in finished]
        return Games(runs, [float(record["score"]) for record in finished], greedy)
    except OSError as error:
        raise TacitError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TacitError(f"{file} holds no games of tacit play") from error


def score(people: Sequence[Games], names: Sequence[str]) -> Estimate | None:
    """The mean score of people with seeds of these runs, with its error over people; None if there is no such game.

    Each person counts once, with the mean over their games.
    """
    means = []
    for one in people:
        own = [score for runs, score in zip(one.runs, one.scores, strict=True) if runs & set(names)]
        means += [sum(own) / len(own)] if own else []
    # People are to this mean what seeds are to self-play: independent, one number each.
    return self_play([[person] for person in range(len(means))], means) if means else None


def played_with_others(people: Sequence[Games]) -> TacitError:
    """The error for people none of whose games is with one of the runs."""
    theirs = sorted({name for one in people for runs in one.runs for name in runs - {""}})
    return TacitError(f"people played with none of these runs, but with {', '.join(theirs) or 'partners alone'}")
