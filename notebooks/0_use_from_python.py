# %% [markdown]
"""
# Use from Python

`import tacit` is all that a notebook needs: make a game, train independent seeds, read what is stored, let agents play
with each other, estimate, compare, draw. The page "Use from Python" (`docs/howto/use_from_python.md`) lists the names.
"""

# %% tags=["parameters"]
# The small size takes half a minute on two cores. A finished run is read, not made again.
seeds = 6  # full: 32
steps = 20_000  # full: 200_000
coefficients = [0.01, 1.0]  # full: [0.01, 0.03, 0.1, 0.3, 1.0]

# %%
# %matplotlib inline
import jax

import tacit

# %% [markdown]
# ## A game
#
# A game by the name that `tacit games` lists, with its keys. What a player sees has named sections.

# %%
hanabi = tacit.make("hanabi_2x3")
state = hanabi.init(key=jax.random.key(0))
seen = hanabi.observe(state, 0)
print(state)
print("shapes:", {name: hanabi.section(seen, name).shape for name in ("hands", "fireworks", "life_tokens")})

# %% [markdown]
# ## Independent seeds
#
# A list of values of a hyperparameter is a run for each, and all of them train in one program.

# %%
runs = tacit.train(
    game="lever", payoffs=[1, 1, 1, 1.2], policy="tabular", seeds=seeds, budget={"steps": steps},
    learner={"learning_rate": 0.05, "num_games": 64, "rollout_length": 8, "entropy_coef": coefficients},
    crossplay={"games": 200}, execution={"evaluations": 0},
)  # fmt: skip
comparison = tacit.compare(runs)
print(comparison)
tacit.figures.comparison(comparison)

# %% [markdown]
# ## What is stored
#
# The same runs from their folder, by their keys or by the beginning of a name.

# %%
stored = tacit.load("runs").where("command=train", game="lever", entropy_coef=coefficients[0])
run = tacit.load("runs")[runs[0].name[:6]]
print(len(stored.finished()) > 0, run.state, run.keys["learner.entropy_coef"])

# %% [markdown]
# ## Agents with each other
#
# The seeds of a run are agents; so is any policy with its parameters (`tacit.Agent.of`). `summarise` takes independent
# seeds of one method. Seeds of several runs meet in `tacit.methods`.

# %%
played = tacit.crossplay(run.game, run.agents, games=200)
print("cross-play between its seeds:", tacit.summarise(played).cross_play)
tacit.figures.crossplay(run, "lever: the seeds of one run with each other")

# %% [markdown]
# ## Exactly
#
# Where the gradient flow of the same game ends, from many starts at each α.

# %%
(diagram,) = tacit.phase(
    game="lever", payoffs=[1, 1, 1, 1.2], alpha=[0.1, 0.3, 0.4], normal_starts=12, wide_starts=4, pure_starts=4,
    refine=False, branch=False,
)  # fmt: skip
print({row["alpha"]: row["solutions"] for row in diagram["rows"]})
tacit.figures.solutions(diagram)
