"""A notebook (jupytext percent script): self-play and cross-play on a small Hanabi."""

# %% [markdown]
# # Self-play and cross-play on a small Hanabi
#
# Independent seeds learn Hanabi with 2 colors x 3 ranks at several entropy coefficients. At a low coefficient each seed
# finds conventions of its own: it scores with itself and loses with others. At a high one the seeds meet.

# %% tags=["parameters"]
# The demo: 24 learners, minutes on two cores. A finished run is read, not trained again.
overrides = ["experiment=demo"]

# %%
from pathlib import Path

import jax

from experiments import compare, compose, figures, runs
from experiments.config import JobConfig
from experiments.job import run_job
from games.hanabi import make

job = JobConfig.parse(compose.compose(overrides))
paths = run_job(job)
comparison = compare.compare(paths)
print(compare.markdown(comparison))

# %% [markdown]
# Cross-play matrices of the lowest and the highest coefficient: rows are the seed in seat 0, columns its partner.

# %%
for row in (comparison.rows[0], comparison.rows[-1]):
    title = ", ".join(f"{key} {value}" for key, value in row.keys.items())
    figures.crossplay_matrices(runs.read_crossplay(row.path), comparison.score_range, title)

# %% [markdown]
# The board, and how a state shows itself.

# %%
state = make("Hanabi-2x3").init(key=jax.random.key(0))
print(state)
state  # noqa: B018 (a notebook draws it)

# %% [markdown]
# Saved policies load without the script that trained them.

# %%
run = runs.read_run(Path(comparison.rows[-1].path))
print(run.game, [agent.label for agent in run.agents])
