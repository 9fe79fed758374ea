"""`--with jaxmarl:FILE`: weights that JaxMARL saved, beside our runs."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from experiments import runs
from experiments.analysis import methods
from experiments.analysis.crossplay import partner_names
from experiments.configuration.config import CrossPlayConfig
from tests.command_line import printed_rows

pytestmark = pytest.mark.slow

GAME = ("game=hanabi", "colors=2", "ranks=2", "hand_size=2", "max_information_tokens=3")
CHANGES = {
    "game": {
        "_target_": "games.hanabi.make", "preset": "Hanabi-Full", "players": 2, "colors": 2, "ranks": 2, "hand_size": 2,
        "max_information_tokens": 3, "max_life_tokens": None,
    },
    "policy.observer": "belief", "policy.torso": [8], "policy.actor": [7], "policy.critic": [6],
}  # fmt: skip
LAYERS = ("torso_layers_0", "actor_layers_0", "logits_layer", "critic_layers_0", "value_layer")


@pytest.fixture(scope="module")
def our_run(tmp_path_factory, make_run):
    """Two seeds without ties between their actions, which draws would decide."""
    path = make_run(tmp_path_factory.mktemp("ours"), CHANGES)
    tensors, metadata = runs.read_tensors(path / "policies.safetensors")
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 1, tensor.shape).astype(np.float32) for name, tensor in tensors.items()}
    save_file(tensors, path / "policies.safetensors", metadata)
    return path


@pytest.fixture(scope="module")
def their_file(our_run, tmp_path_factory):
    """The first seed of our run, as JaxMARL would have saved it: it must play like that seed."""
    ours = load_file(our_run / "policies.safetensors")
    file = tmp_path_factory.mktemp("theirs") / "model.safetensors"
    named = {
        f"params,Dense_{number},{part}": ours[f"{layer}/{part}"][0].copy()
        for number, layer in enumerate(LAYERS)
        for part in ("kernel", "bias")
    }
    save_file(named, file)
    return file


def cells(result):
    return dict(zip(map(tuple, result.seatings.tolist()), result.mean.tolist(), strict=True))


def test_it_plays_beside_a_run(tacit, our_run, their_file, tmp_path):
    said = tacit("crossplay", our_run, "--with", f"twin=jaxmarl:{their_file}", "--games", "16", "--output", tmp_path)
    assert said.status == 0, said.err
    assert ["greedy", "twin"] in [row[:2] for row in printed_rows(said.out)]
    result = runs.read_crossplay(tmp_path)["greedy"]
    assert result.labels[2:] == ("twin",)
    score = cells(result)
    assert score[0, 0] == score[0, 2] == score[2, 0] == score[2, 2]
    assert (score[1, 2], score[2, 1]) == (score[1, 0], score[0, 1])
    assert len(set(score.values())) > 2
    settings = json.loads((tmp_path / "crossplay.json").read_text())["settings"]
    assert settings["with"] == [f"twin=jaxmarl:{their_file}"]


def test_it_is_a_method_of_one_agent(our_run, their_file, tmp_path):
    table = methods.methods_table(
        [("ours", our_run)], CrossPlayConfig(games=2), tmp_path / "out", with_partners=f"jaxmarl:{their_file}"
    )
    assert table.method_of_agent == ("ours", "ours", "model")
    assert np.isfinite(table.blocks["greedy"].means()[0, 1])


def test_it_plays_without_a_run(tacit, their_file, tmp_path):
    names = f"a=jaxmarl:{their_file},b=jaxmarl:{their_file}"
    said = tacit("crossplay", *GAME, "--with", names, "--games", "2", "--output", tmp_path)
    assert said.status == 0, said.err
    result = runs.read_crossplay(tmp_path)["greedy"]
    assert result.labels == ("a", "b")
    assert len(set(cells(result).values())) == 1


def test_names_are_expanded_and_said_once():
    assert partner_names("") == []
    assert partner_names("jaxmarl:x/a=b.safetensors,iggi,jaxmarl:x/a=b.safetensors") == [
        "jaxmarl:x/a=b.safetensors", "iggi"
    ]  # fmt: skip
    expanded = partner_names("iggi,partners,c=jaxmarl:x")
    assert expanded[:2] == ["iggi", "cautious"] and expanded[-1] == "c=jaxmarl:x"
    assert len(expanded) == 11


@pytest.mark.parametrize(
    ("game", "named", "expected"),
    [
        (GAME, "jaxmarl:{folder}/nobody.safetensors", "nobody.safetensors is missing, cut short or damaged"),
        (GAME, "jaxmarl:{ours}", "was written by Tacit: name it as a RUN, not as jaxmarl:"),
        (
            GAME,
            "jaxmarl:{stranger}",
            "holds none of JaxMARL's networks for Hanabi (feed-forward, recurrent, public-pri",
        ),
        (GAME, "jaxmarl:{theirs},model=jaxmarl:{stranger}", "holds none of JaxMARL's networks"),
        (GAME, "iggi=jaxmarl:{theirs},iggi", "two partners are called iggi: give one a name of its own, as in NAME="),
        (GAME, "torch:{theirs}", "there is no partner 'torch:"),
        (
            ("game=hanabi",),
            "jaxmarl:{theirs}",
            "does not fit this board of hanabi: Dense_0,kernel must have shape (658, 8)",
        ),
        (("game=lever",), "jaxmarl:{theirs}", "JaxMARL's agents play hanabi only, not the game 'lever'"),
    ],
)
def test_bad_input_is_one_sentence(tacit, our_run, their_file, tmp_path, game, named, expected):
    stranger = tmp_path / "stranger.safetensors"
    save_file({"weights": np.zeros(2, np.float32)}, stranger)
    files = {"folder": tmp_path, "ours": our_run / "policies.safetensors", "stranger": stranger, "theirs": their_file}
    said = tacit("crossplay", *game, "--with", named.format(**files))
    assert (said.status, said.out) == (2, "")
    assert expected in said.err
    assert said.err.count("\n") == 1
