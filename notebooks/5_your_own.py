# %% [markdown]
"""
# Compare your own

A game and a learner that are not Tacit's: `examples/own_game.dpomdp`, a text file in the format of the MADP toolbox,
and `examples/reinforce.py`, a class in one file. The game is solved exactly, the learner is trained on it beside IPPO,
and both are played with each other. Nothing has to be registered: a game is named by its file and a learner by its
module and class.
"""

# %% tags=["parameters"]
# The small size takes under two minutes on two cores. A finished run is read, not made again.
alphas = [0.02, 0.1, 0.2, 0.3, 0.4, 0.45, 0.6, 0.9]
starts = {"normal_starts": 4, "wide_starts": 2, "pure_starts": 4}  # full: {}
seeds = 8  # full: 32
steps = 200_000  # full: 1_000_000

# %%
# %matplotlib inline
import sys
from pathlib import Path

import tacit

examples = Path(tacit.__file__).parents[1] / "examples"  # of the repository
sys.path.append(str(examples))  # where Python finds reinforce.py
own_game = {"game.file": examples / "own_game.dpomdp", "horizon": 3}

# %% [markdown]
"""
## A game of one's own

A watchman sees whether a ship comes, and may wave a lantern. The harbour master sees the light, not the sea, and opens
the harbour or keeps it shut. The team earns 1 if it is open for a ship or shut without one. Either sign would do, light
for "ship" or light for "no ship"; but waving costs 0.1 when there is no ship, so the first is worth 1 and the second
0.95.
"""

# %%
print((examples / "own_game.dpomdp").read_text())

# %% [markdown]
"""
## Solved exactly

Many starts of the policy gradient flow at each α (the weight of the entropies, in units of reward). At a low α both
codes are solutions: self-play earns 0.95 or 1, strangers about half of it on average. From alpha_unique on there is one
solution, and its greedy policy is the better code: every run ends in it, so that cross-play is 1.
"""

# %%
phase = tacit.phase(own_game, starts, alpha=alphas)
print(*phase.tables()[0].notes, sep="\n")
tacit.figures.phase_diagram(phase[0])

# %% [markdown]
"""
The branch of solutions that comes down from α = ∞ stays an attractor all the way: who trains at a high α first and
lowers it slowly keeps the better code and gets its full value. The dots are other solutions, which other starts find.
"""

# %%
tacit.figures.branch_diagram(phase[0])

# %% [markdown]
"""
## A learner of one's own

`Reinforce` adds the entropies to the rewards, so that its coefficient is the theorem's α. Trained below and above
alpha_unique it ends as the exact solution says: both codes at 0.05, one at 0.6, where greedy play gets back what the
entropy costs.
"""

# %%
training = {
    **own_game, "policy": "tabular", "learner.share_parameters": False, "seeds": seeds, "budget.steps": steps,
    "crossplay.games": 500, "execution.evaluations": 0,
}  # fmt: skip
mine = tacit.train(
    training, {"learner": "reinforce.Reinforce", "learner.learning_rate": 0.02, "learner.entropy_coef": [0.05, 0.6]}
)
print(tacit.compare(mine))
tacit.figures.comparison(tacit.compare(mine))

# %% [markdown]
"""
IPPO weighs entropies against advantages that are normalised, and counts them where they occur, not as part of the
return. Its coefficient is another scale, on which 0.5 changes nothing here, and 1 is enough.
"""

# %%
ippo = tacit.train(training, learner={"learning_rate": 0.01, "entropy_coef": [0.01, 1.0]})
print(tacit.compare(ippo))

# %% [markdown]
"""
## With each other

Each method's seeds with each other's, and with its own. Those that were trained with enough entropy meet, whoever
trained them: they have found the same code. The tests ask for more than these few seeds can say.
"""

# %%
names = ["Reinforce, 0.05", "Reinforce, 0.6", "IPPO, 0.01", "IPPO, 1"]
table = tacit.methods(dict(zip(names, mine + ippo, strict=True)), games=500)
print(table)
tacit.figures.methods(table)
