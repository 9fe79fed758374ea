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
size = {"seeds": 6, "budget.steps": 3e5, "crossplay.games": 200}  # full: {"seeds": 8, "budget.steps": 1e6}
memory_coefs = [0.07]  # full: [0.01, 0.05]
memory_size = {"seeds": 6, "budget.steps": 3e4, "crossplay.games": 200}  # full: {"seeds": 8, "budget.steps": 1e6}
games = 200  # full: 1000
full_game = "runs/hanabi_full"

# %%
# %matplotlib inline
import jax

import tacit

board = {
    "game": "hanabi_2x3",
    "learner": {"learning_rate": 2.5e-3, "anneal": "linear"},
    "execution": {"figures": False, "evaluations": 0},
}

# %% [markdown]
"""
The board, and how a state shows itself: every player sees the other's cards, and not its own.
"""

# %%
state = tacit.make("hanabi_2x3").init(key=jax.random.key(0))
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
by_entropy = tacit.train(board, size, {"learner.entropy_coef": entropy_coefs})
print(tacit.compare(by_entropy))
tacit.figures.comparison(tacit.compare(by_entropy))

# %% [markdown]
"""
Each seed with each other, first at the lowest and then at the highest coefficient; on the diagonal with itself.
"""

# %%
lowest, highest = by_entropy[0], by_entropy[-1]
tacit.figures.crossplay(lowest, f"entropy coefficient {entropy_coefs[0]}")

# %%
tacit.figures.crossplay(highest, f"entropy coefficient {entropy_coefs[-1]}")

# %% [markdown]
"""
## 2. λ of generalised advantage estimation

λ = 1 takes the whole rest of a game for an action's credit, a smaller λ trusts the critic after some steps. λ = 1 has
learned less in as many steps, in self-play and in cross-play; so it is at full size (`docs/results.md`).
"""

# %%
by_lambda = tacit.compare(tacit.train(board, size, learner={"entropy_coef": lambda_coef, "gae_lambda": lambdas}))
print(by_lambda)
tacit.figures.comparison(by_lambda)

# %% [markdown]
"""
## 3. Memory

A recurrent network can remember who said what and when. On this board one observation says nearly all of it.
Recurrent learners are slow on a CPU, so that at the small size neither network has learned much.
"""

# %%
networks = tacit.train("policy=feed_forward,recurrent", board, memory_size, {"learner.entropy_coef": memory_coefs})
by_memory = tacit.compare(networks, by="policy,entropy_coef")
print(by_memory)
tacit.figures.comparison(by_memory)

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
found = tacit.conventions(lowest, games=games)
print(found)
tacit.figures.conventions(found, "greedy")

# %% [markdown]
"""
The same at the highest coefficient.
"""

# %%
found = tacit.conventions(highest, games=games)
print(found)
tacit.figures.conventions(found, "greedy")

# %% [markdown]
"""
## 5. The full game

`tacit train experiment=hanabi_full execution.output=runs/hanabi_full` trains it on an accelerator, in pieces
(`docs/results.md`, "Full Hanabi"). What is stored of it is read here.
"""

# %%
stored = tacit.load(full_game, missing_ok=True).where("command=train").finished()
print(f"finished training runs that are stored in {full_game}: {len(stored)}")
for one in stored.by_game():
    print(tacit.compare(one))
    display(tacit.figures.comparison(tacit.compare(one)))  # noqa: F821 (a notebook has it)
