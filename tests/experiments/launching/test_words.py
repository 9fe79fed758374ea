"""Values in Python arrive in a configuration as they are."""

from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.launching import words
from games.errors import TacitError


@pytest.mark.parametrize(
    ("given", "arrives"),
    [
        (3, 3),
        (2.5e-3, 0.0025),
        (1e-07, 1e-07),
        (True, True),
        (None, None),
        ("lever", "lever"),
        ("tmp/jürgen", "tmp/jürgen"),
        ("self-play", "self-play"),
        ("", ""),
        ("null", "null"),
        ("True", "True"),
        ("12", "12"),
        ("1e5", "1e5"),
        ("a,b", "a,b"),
        ("a b=c: [d] {e}", "a b=c: [d] {e}"),
        ("it's", "it's"),
        ("a\\'b\\", "a\\'b\\"),
        (Path("/with a blank/runs"), "/with a blank/runs"),
        ([1, 0.5, "x y", None], [1, 0.5, "x y", None]),
        ((1, [2, 3]), [1, [2, 3]]),
        (range(2), [0, 1]),
        (np.float64(0.5), 0.5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ],
    ids=repr,
)
def test_values_are_taken_as_they_are(given, arrives):
    (text,) = words.overrides([], {"some.key": given})
    (parsed,) = OverridesParser.create().parse_overrides([text])
    assert parsed.key_or_group == "some.key" and not parsed.is_sweep_override()
    value = parsed.value()
    found = getattr(value, "text", value)
    found = [getattr(one, "text", one) for one in found] if isinstance(found, list) else found
    assert found == arrives and type(found) is type(arrives)


def test_texts_mappings_and_keywords_stand_in_their_order():
    found = words.overrides(["game=a,b", {"learner": {"clip": 0.1, "gamma": 1}, "x.y": 2}], {"seeds": 4})
    assert found == ["game=a,b", "learner.clip=0.1", "learner.gamma=1", "x.y=2", "seeds=4"]


@pytest.mark.parametrize(("arguments", "keywords"), [([3], {}), ([["seeds=4"]], {}), ([], {"seeds": {1, 2}})])
def test_anything_else_is_refused(arguments, keywords):
    with pytest.raises(TacitError, match=r"expected texts KEY=VALUE, |seeds must be a number, a word, True, "):
        words.overrides(arguments, keywords)
