"""A checkpoint comes back bit for bit; a torn, damaged or foreign one is said in one sentence; a kill loses nothing."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training import checkpoints
from games.errors import TacitError
from games.hanabi import Hanabi
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward

SCIENCE = {"game": {"name": "lever", "version": 3}, "learner": {"gamma": 0.99, "torso": [8, 8]}, "seeds": 2}


class Inner(NamedTuple):
    count: Any
    nothing: Any
    key: Any


class State(NamedTuple):
    params: Any
    inner: Inner
    memory: Any


def state_of(updates):
    """A state that knows how many updates made it."""
    return {
        "value": np.random.default_rng(updates).integers(2**31, size=700, dtype=np.int32),
        "key": jax.random.key(updates),
    }


LIKE = {"value": jax.ShapeDtypeStruct((700,), np.int32), "key": jax.eval_shape(lambda: jax.random.key(0))}


def save(folder, updates, science=SCIENCE):
    checkpoints.save(folder, science, updates=updates, state=state_of(updates), log={"loss": np.arange(updates)})


def load(folder, science=SCIENCE, like=LIKE, by_default=()):
    """The checkpoint and what was warned of; one that comes back is whole."""
    warned = []
    found = checkpoints.load(folder, science, by_default=by_default, like=like, warn=warned.append)
    if found is not None:
        np.testing.assert_array_equal(found.state["value"], state_of(found.updates)["value"])
        assert jax.random.key_data(found.state["key"]).tolist() == [0, found.updates]
        assert found.log["loss"].tolist() == list(range(found.updates))
    return found, warned


def numbered(folder):
    """The checkpoints of a folder by number."""
    return {int(path.name.partition("-")[0]): path for path in folder.iterdir() if path.name[0].isdigit()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "checkpoints"


@pytest.fixture(scope="session")
def saved_twice(tmp_path_factory):
    """Checkpoints of 3 and of 5 updates, numbered 1 and 2. Tests only read it."""
    path = tmp_path_factory.mktemp("saved") / "checkpoints"
    path.parent.mkdir(exist_ok=True)
    save(path, 3)
    save(path, 5)
    return path


@pytest.fixture
def two(saved_twice, folder):
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(saved_twice, folder))


def bits(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


@pytest.mark.slow
def test_everything_comes_back_bit_for_bit(folder):
    odd_floats = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32).view(np.float32)  # nan, -inf, -0, 1e-45
    state = State(
        params={"kernel": jax.random.normal(jax.random.key(4), (2, 3, 5), jnp.float32), "odd floats": odd_floats},
        inner=Inner(
            count=jnp.int32(-3), nothing=(), key=(jax.random.key(5), jax.random.split(jax.random.key(6, impl="rbg"), 2))
        ),
        memory=(
            {},
            (),
            np.array([[True], [False]]),
            np.zeros((2, 0), np.uint8),
            jnp.asarray([1.5, -2], jnp.bfloat16),
            np.array([2**63 + 1], np.uint64),
            np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        ),
    )
    log = {
        "steps": np.array([3, 2**40], np.int64),
        'it\'s [a] "name"/': np.ones((2, 2), np.float32),
        "none yet": np.zeros((0, 2), np.float64),
    }
    checkpoints.save(folder, SCIENCE, updates=12, state=state, log=log)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    for expected in (state, like):
        found = checkpoints.load(folder, SCIENCE, like=expected, warn=pytest.fail)
        assert found.updates == 12
        assert jax.tree.structure(found.state) == jax.tree.structure(state)
        for ours, theirs in zip(jax.tree.leaves(found.state), jax.tree.leaves(state), strict=True):
            assert (ours.shape, ours.dtype, bits(ours)) == (theirs.shape, theirs.dtype, bits(theirs))
        assert list(found.log) == list(log)
        for name, array in log.items():
            assert (found.log[name].shape, found.log[name].dtype) == (array.shape, array.dtype)
            assert found.log[name].tobytes() == array.tobytes()


@pytest.mark.slow
def test_restored_keys_draw_the_same_numbers(folder):
    keys = jax.random.split(jax.random.key(8), 3)
    drawn = jax.vmap(jax.random.bits)(keys).tolist()
    checkpoints.save(folder, SCIENCE, updates=1, state=keys, log={})
    found = checkpoints.load(folder, SCIENCE, like=jax.eval_shape(lambda: keys), warn=pytest.fail)
    assert jax.vmap(jax.random.bits)(found.state).tolist() == drawn


@pytest.mark.slow
def test_the_last_two_are_kept(folder):
    assert load(folder) == (None, [])
    for updates in (4, 8, 8, 9):  # one may be saved twice
        save(folder, updates)
        assert load(folder)[0].updates == updates
    assert sorted(numbered(folder)) == [3, 4]
    assert len(list(folder.iterdir())) == 2
    numbered(folder)[4].unlink()
    assert load(folder)[0].updates == 8


def test_a_checkpoint_and_its_name_are_on_the_disk_when_it_is_saved(folder, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: [synced.append(os.readlink(f"/proc/self/fd/{number}")), fsync(number)]
    )
    save(folder, 3)
    name = numbered(folder)[1].name
    assert synced == [str(folder / f".{name}.{os.getpid()}"), str(folder)]


def test_an_empty_folder_holds_none(folder):
    folder.mkdir(parents=True)
    assert load(folder) == (None, [])


@pytest.mark.parametrize(
    ("science", "said"),
    [
        (
            {**SCIENCE, "learner": {"gamma": 0.5, "torso": [8]}},
            "made by another configuration: learner.gamma is 0.99 there, and 0.5 in this run",
        ),
        ({**SCIENCE, "game": {"name": "lever"}}, "game.version is 3 there, and missing in this run"),
        ({**SCIENCE, "policy": "gru"}, 'policy is missing there, and "gru" in this run'),
        ({**SCIENCE, "seeds": 2.0}, "seeds is 2 there, and 2.0 in this run"),
    ],
)
def test_another_configuration_is_refused(saved_twice, science, said):
    with pytest.raises(TacitError) as caught:
        load(saved_twice, science)
    assert said in str(caught.value)
    assert str(numbered(saved_twice)[2]) in str(caught.value)
    assert load(saved_twice)[0].updates == 5


def test_a_key_that_came_later_may_be_missing_where_it_has_its_default(saved_twice):
    later = {**SCIENCE, "learner": {**SCIENCE["learner"], "torso": [8, 8], "rows": "left_out"}}
    with pytest.raises(TacitError, match=r'learner\.rows is missing there, and "left_out" in this run'):
        load(saved_twice, later)
    assert load(saved_twice, later, by_default={"learner.rows": "left_out"})[0].updates == 5
    chosen = {**later, "learner": {**later["learner"], "gamma": 0.5}}
    with pytest.raises(TacitError, match=r"learner\.gamma is 0\.99 there, and 0\.5"):
        load(saved_twice, chosen, by_default={"learner.rows": "left_out", "learner.gamma": 0.5})


def test_a_configuration_may_hold_tuples(saved_twice):
    assert load(saved_twice, {**SCIENCE, "learner": {"torso": (8, 8), "gamma": 0.99}})[0].updates == 5


def test_another_format_is_refused(folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "FORMAT", 7)
        save(folder, 1)
    with pytest.raises(TacitError, match=r"/1-\w{8}\.safetensors has format 7, and this Tacit reads format 2$"):
        load(folder)


def test_a_checkpoint_of_orbax_is_refused(two):
    for number in "9", "10":  # format 1: a folder for each
        (two / number).mkdir()
    with pytest.raises(TacitError, match=r"checkpoints/10 has format 1, .* reads format 2: execution\.overwrite=true"):
        load(two)


def test_of_two_with_one_number_the_whole_one_is_used(two):
    """As when those of another machine were unpacked among them."""
    other = two / "2-00000000.safetensors"
    other.write_bytes(b"of another machine")
    assert load(two)[0].updates == 5
    other.rename(two / "2-ffffffff.safetensors")
    found, warned = load(two)
    assert (found.updates, len(warned)) == (5, 1)
    save(two, 6)
    save(two, 7)
    assert sorted(numbered(two)) == [3, 4]


@pytest.mark.parametrize(
    ("like", "said"),
    [
        (
            {**LIKE, "value": jax.ShapeDtypeStruct((2, 700), np.int32)},
            "state['value'] is int32[700] there, and int32[2, 700]",
        ),
        (
            {**LIKE, "value": jax.ShapeDtypeStruct((700,), np.uint32)},
            "state['value'] is int32[700] there, and uint32[700]",
        ),
        ({**LIKE, "more": np.zeros(1)}, "state['more'] is missing there, and float64[1]"),
        ({"key": LIKE["key"]}, "state['value'] is int32[700] there, and missing"),
        (
            {**LIKE, "key": np.zeros(2, np.uint32)},
            "state['key'] is uint32[2] of threefry2x32 keys there, and uint32[2] here",
        ),
        (
            {**LIKE, "key": jax.eval_shape(lambda: jax.random.key(0, impl="rbg"))},
            "state['key'] is uint32[2] of threefry2x32 keys there, and uint32[4] of rbg keys here",
        ),
        ((LIKE["value"], LIKE["key"]), "state[0] is missing there, and int32[700] here"),
    ],
)
def test_a_state_of_another_structure_is_refused(saved_twice, like, said):
    with pytest.raises(TacitError) as caught:
        load(saved_twice, like=like)
    assert f"checkpoint {numbered(saved_twice)[2]} was made by another version of Tacit: {said}" in str(caught.value)
    assert load(saved_twice)[0].updates == 5


def test_a_torn_checkpoint_is_passed_over_and_removed_by_the_next_save(two):
    torn = two / ".3-01234567.safetensors.99"
    torn.write_bytes(numbered(two)[2].read_bytes()[:-9])
    found, warned = load(two)
    assert found.updates == 5
    assert warned == [f"checkpoint {torn} is passed over: it was cut short while it was written"]
    assert torn.exists()
    save(two, 6)
    assert sorted(numbered(two)) == [2, 3]
    assert not torn.exists()
    found, warned = load(two)
    assert (found.updates, warned) == (6, [])


def flip(place):
    def damage(file):
        contents = bytearray(file.read_bytes())
        contents[place(len(contents))] ^= 1
        file.write_bytes(contents)

    return damage


DAMAGE = {
    "emptied": lambda file: os.truncate(file, 0),
    "cut in half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "one byte more": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "garbage": lambda file: file.write_bytes(np.random.default_rng(0).bytes(file.stat().st_size)),
    "first bit": flip(lambda size: 0),
    "a bit of the metadata": flip(lambda size: 60),
    "a bit of an array": flip(lambda size: size // 2),
    "last bit": flip(lambda size: size - 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_of_a_damaged_checkpoint_the_one_before_is_used(two, damage, capfd):
    newest = numbered(two)[2]
    damage(newest)
    found, warned = load(two)
    assert found.updates == 3
    assert warned == [f"checkpoint {newest} is passed over: the file is cut short or changed"]
    assert capfd.readouterr() == ("", "")


def test_training_goes_on_after_a_damaged_checkpoint(two):
    os.truncate(numbered(two)[2], 100)
    save(two, 5)
    assert sorted(numbered(two)) == [2, 3]
    assert load(two)[0].updates == 5
    os.truncate(numbered(two)[3], 100)
    found, warned = load(two)
    assert found is None
    assert len(warned) == 2


def test_a_full_disk_is_one_sentence_and_loses_nothing(two, capfd):
    large = {**state_of(6), "value": np.random.default_rng(0).normal(size=100_000)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(TacitError) as caught:
            checkpoints.save(two, SCIENCE, updates=6, state=large, log={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(rf"{two}/3-\w{{8}}\.safetensors cannot be written: File too large", str(caught.value))
    assert capfd.readouterr() == ("", "")
    found, warned = load(two)
    assert (found.updates, warned) == (5, [])
    save(two, 6)
    found, warned = load(two)
    assert (found.updates, warned) == (6, [])


def test_a_file_in_the_way_is_one_sentence(folder):
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(TacitError, match=r"the checkpoint cannot be written in .*/checkpoints: "):
        save(folder, 1)
    assert load(folder) == (None, [])


def test_discarded_checkpoints_are_gone(two):
    checkpoints.discard(two)
    assert list(two.parent.iterdir()) == []
    checkpoints.discard(two)
    save(two, 1)
    two.rename(two.with_name(".checkpoints.discarded"))  # a discard that was cut short
    assert load(two) == (None, [])
    save(two, 1)
    checkpoints.discard(two)
    assert list(two.parent.iterdir()) == []


SILENT = """
import sys
from pathlib import Path
import numpy as np
from experiments.training import checkpoints

folder = Path(sys.argv[1])
assert checkpoints.load(folder, {}, like=np.zeros(3), warn=print) is None
for updates in range(3):
    checkpoints.save(folder, {}, updates=updates, state=np.zeros(3), log={})
print(checkpoints.load(folder, {}, like=np.zeros(3), warn=print).updates)
"""


def run_python(script, *arguments):
    return [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]


@pytest.mark.slow
def test_a_process_says_nothing(folder):
    ended = subprocess.run(run_python(SILENT, folder), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")


@pytest.mark.slow
def test_four_seeds_of_full_hanabi_fit_in_45_mib(folder):
    learner = IPPO(
        Hanabi(), FeedForward(658, 21, (512,), (512,), (512,)), "canonical", num_games=1024, rollout_length=128,
        epochs=4, minibatches=4, total_updates=10,
    )  # fmt: skip
    init = jax.vmap(lambda key: learner.init(Hyperparameters(), key=key))
    like = jax.eval_shape(init, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4)))
    weights = sum(leaf.size for leaf in jax.tree.leaves(like.params))
    assert weights == 4 * 874_006
    generator = np.random.default_rng(0)

    def noise(leaf):  # a trained state has structure that could be compressed; this has none
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(generator.integers(2**32, size=(*leaf.shape, 2), dtype=np.uint32))
        if leaf.dtype == np.float32:
            return generator.normal(size=leaf.shape).astype(np.float32)
        return np.frombuffer(generator.bytes(leaf.size * leaf.dtype.itemsize), leaf.dtype).reshape(leaf.shape)

    state = jax.tree.map(noise, like)
    log = {f"metric {number}": generator.normal(size=(200, 4)).astype(np.float32) for number in range(30)}
    checkpoints.save(folder, SCIENCE, updates=10, state=state, log=log)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert 12 * weights * 0.9 < size < 45 * 2**20  # parameters and two moments of 4 bytes; the games are small
    found = checkpoints.load(folder, SCIENCE, like=like, warn=pytest.fail)
    assert all(map(np.array_equal, jax.tree.leaves(found.state.params), jax.tree.leaves(state.params)))


SAVES_UNTIL_KILLED = """
import os, sys, warnings
from pathlib import Path
import numpy as np
from experiments.training import checkpoints

def say(*words):  # in one piece, whoever else writes
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def state(updates):
    return {"numbers": np.random.default_rng(updates).normal(size=1_000_000), "updates": np.int32(updates)}

def save_until_killed(folder, parent):
    found = checkpoints.load(folder, {}, like=state(0), warn=lambda said: say("warned", said))
    updates = found.updates if found else 0
    say("from", updates)
    while os.getppid() == parent:
        updates += 1
        checkpoints.save(folder, {}, updates=updates, state=state(updates), log={"rows": np.arange(updates)})
        say("saved", updates)
    os._exit(0)

warnings.simplefilter("ignore")  # of jax against fork: it has no threads yet
me = os.getpid()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        save_until_killed(Path(sys.argv[1]), me)
    say("process", child)
    os.waitpid(child, 0)
    say("gone", child)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.proof)])
def test_kills_at_any_moment_lose_no_checkpoint(folder, kills):
    """Of two the first comes while one is written."""
    like = {"numbers": np.zeros(1_000_000), "updates": np.int32(0)}
    delays = np.random.default_rng(1).uniform(0, 0.2, size=kills)
    reached, torn = 0, 0
    with subprocess.Popen(
        run_python(SAVES_UNTIL_KILLED, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        try:
            for number, delay in enumerate(delays):
                said = {}
                starter.stdin.write("start\n")
                starter.stdin.flush()
                while "saved" not in said or "process" not in said:
                    read(starter, said)
                if (kills, number) == (2, 0):
                    while not list(folder.glob(".*.safetensors.*")):
                        pass
                else:
                    time.sleep(delay)
                os.kill(int(said["process"]), signal.SIGKILL)
                while "gone" not in said:
                    read(starter, said)
                assert int(said["from"]) == reached  # the process before was gone on from
                warned = []
                found = checkpoints.load(folder, {}, like=like, warn=warned.append)
                assert found.updates in (int(said["saved"]), int(said["saved"]) + 1)  # +1: killed before it said so
                assert found.state["updates"] == found.updates
                numbers = np.random.default_rng(found.updates).normal(size=1_000_000)
                np.testing.assert_array_equal(found.state["numbers"], numbers)
                assert found.log["rows"].tolist() == list(range(found.updates))
                assert all("cut short while it was written" in sentence for sentence in warned)
                reached, torn = found.updates, torn + len(warned)
        finally:
            starter.kill()
    assert torn > 0
    assert reached >= kills


def read(starter, said):
    """Note one line of the processes."""
    word, _, rest = starter.stdout.readline().strip().partition(" ")
    assert word, "the process ended"
    said[word] = rest
