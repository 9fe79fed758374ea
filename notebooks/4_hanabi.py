# %% [markdown]
"""
# Hanabi

Independent seeds learn Hanabi by themselves and then play with each other. With itself a seed scores what it has
learned (self-play, SP); with another seed it scores what both mean by the same moves (cross-play, XP). Three knobs
are turned: the entropy coefficient, λ of generalised advantage estimation, and memory. The full game takes an
accelerator; here is a board with 2 colors × 3 ranks (best score 6), and at the end what is stored of the full game,
if anything.
"""

# %% tags=["parameters"]
# The small size takes two and a half minutes on two cores, the full one about an hour. A finished run is read, not made
# again; at full size those of experiment=ablation/… are.
entropy_coefs = [0.002, 0.07]  # full: [0.005, 0.02, 0.05, 0.1]
lambdas = [0.9, 1.0]  # full: [0.8, 0.9, 0.95, 1.0]
lambda_coef = 0.07  # full: 0.05
size = ["seeds=6", "budget.steps=3e5", "crossplay.games=200"]  # full: ["seeds=8", "budget.steps=1e6"]
memory_coefs = [0.07]  # full: [0.01, 0.05]
memory_size = ["seeds=6", "budget.steps=3e4", "crossplay.games=200"]  # full: ["seeds=8", "budget.steps=1e6"]
games = 200  # full: 1000
full_game = "runs/hanabi_full"

# %%
# %matplotlib inline
from experiments import results, runs
from experiments.analysis import compare, conventions
from experiments.presentation import figures, tables

board = [
    "game=hanabi_2x3",
    "learner.learning_rate=2.5e-3",
    "learner.anneal=linear",
    "execution.figures=false",
    "execution.evaluations=0",
]

# %% [markdown]
"""
The board, and how a state shows itself: every player sees the other's cards, and not its own.
"""

# %%
state = results.initial_state("game=hanabi_2x3")
print(state)
state  # noqa: B018 (a notebook draws it)

# %% [markdown]
"""
## 1. The entropy coefficient

At a low coefficient each seed finds conventions of its own: SP is high, XP is not. At a high one the seeds meet. The
coefficient costs score while it acts, since a policy with entropy does not always play its best move; greedy play,
every policy its best move, gets that back. It is the greedy XP of a high coefficient that one looks for. (At the small
size seeds have not learned all that there is to learn, and the high coefficient learns more slowly.)
"""

# %%
by_entropy = compare.compare(results.trained(*board, *size, f"learner.entropy_coef={entropy_coefs}"))
print(compare.markdown(by_entropy))
compare.figure(by_entropy)

# %% [markdown]
"""
Each seed with each other, first at the lowest and then at the highest coefficient; on the diagonal with itself.
"""

# %%
lowest, highest = by_entropy.rows[0], by_entropy.rows[-1]
scores = runs.read_crossplay(lowest.path)
figures.crossplay_matrices(scores, by_entropy.score_range, f"entropy coefficient {entropy_coefs[0]}")

# %%
scores = runs.read_crossplay(highest.path)
figures.crossplay_matrices(scores, by_entropy.score_range, f"entropy coefficient {entropy_coefs[-1]}")

# %% [markdown]
"""
## 2. λ of generalised advantage estimation

λ = 1 takes the whole rest of a game for an action's credit, a smaller λ trusts the critic after some steps. λ = 1 has
learned less in as many steps, in self-play and in cross-play; so it is at full size (`docs/results.md`).
"""

# %%
coefficient = f"learner.entropy_coef={lambda_coef}"
by_lambda = compare.compare(results.trained(*board, *size, coefficient, f"learner.gae_lambda={lambdas}"))
print(compare.markdown(by_lambda))
compare.figure(by_lambda)

# %% [markdown]
"""
## 3. Memory

A recurrent network can remember who said what and when. On this board one observation says nearly all of it.
Recurrent learners are slow on a CPU, so that at the small size neither network has learned much.
"""

# %%
memory = [*board, *memory_size, f"learner.entropy_coef={memory_coefs}"]
networks = results.trained(*memory) + results.trained(*memory, "policy=recurrent")
by_memory = compare.compare(networks, by=["policy._target_", "entropy_coef"])
print(compare.markdown(by_memory))
compare.figure(by_memory)

# %% [markdown]
"""
## 4. What the seeds disagree on

Three looks at one seed alone, greedy play, at the lowest coefficient:

- **OP** is its score with itself when every player sees the colors through a permutation of its own. SP − OP is what
  it loses on the names of colors.
- **Equivariance defect**: how far it acts differently in a history whose colors are renamed, 0 to 1.
- **Convention matrix**: what the next player does after each action. Its rows are the meanings of hints.

Then the distance of two seeds' matrices is set against their score with each other.
"""

# %%
found = conventions.conventions_run(lowest.path, games=games, plays=["greedy"])
print(tables.as_markdown(conventions.shown(found)))
conventions.figure(found, "greedy")

# %% [markdown]
"""
The same at the highest coefficient.
"""

# %%
found = conventions.conventions_run(highest.path, games=games, plays=["greedy"])
print(tables.as_markdown(conventions.shown(found)))
conventions.figure(found, "greedy")

# %% [markdown]
"""
## 5. The full game

`tacit train experiment=hanabi_full execution.output=runs/hanabi_full` trains it on an accelerator, in pieces
(`docs/results.md`, "Full Hanabi"). What is stored of it is read here.
"""

# %%
stored, which = compare.stored_comparisons(full_game)
print(which, *map(compare.markdown, stored), sep="\n\n")
display(*map(compare.figure, stored))  # noqa: F821 (a notebook has it)
