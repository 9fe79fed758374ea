# %% [markdown]
"""
# Where high entropy fails

One solution for everybody is not always a good one. Three small games show three ways to fail, and what Other-Play and
annealing do there. All scores are exact; cross-play is that of independent runs, whose labels are drawn independently
among the symmetries of the game (`docs/methods.md`).
"""

# %% tags=["parameters"]
# The small size takes about a minute on two cores.
starts = 8  # full: 16
grid = {"alpha_count": 10, "normal_starts": 8, "wide_starts": 0, "pure_starts": 8}  # full: {}
methods = [
    "self-play", "high-entropy", "high-entropy-greedy", "annealed-greedy", "other-play", "other-play-tie-breaking"
]  # fmt: skip

# %%
# %matplotlib inline
import tacit

# %%
levers = tacit.zsc_table("game=lever,two_stage_lever", method=methods, starts=starts)
hanabi = tacit.zsc_table(game="tiny_hanabi", variant="C", method=methods, starts=starts)
print(levers + hanabi)

# %%
tacit.figures.zsc_table(levers + hanabi)

# %% [markdown]
# ## The lever game: uniform is the one solution
#
# Nine levers of 1.0 and one of 0.9. The lever that strangers should pull is the odd one, worth 0.9. But entropy makes
# the one solution nearly uniform: nine slightly better levers, and so the greedy policy takes one of the nine, ties
# split evenly, and earns 1/9.

# %%
(lever,) = tacit.phase(game="lever", alpha=[0.05, 0.15, 0.3], refine=False, branch=False)
tacit.figures.solutions(lever, 2)

# %% [markdown]
# The 0.9 lever is a solution at low α, but never the only one:

# %%
tacit.figures.solutions(lever, 0)

# %% [markdown]
# Other-Play optimises with the symmetries in hand and takes it. Annealing does not: the solution that comes from high
# entropy gives the nine levers the same probability all the way down.

# %% [markdown]
# ## The two-stage lever game: Other-Play's optima clash
#
# Two levers, twice. The first time is a matter of luck. Then both have seen what both did, and a rule can use it:
# repeat after a success, or switch after one.

# %%
two_stage = levers[1]
tacit.figures.outcomes(two_stage, "Other-Play")

# %% [markdown]
# Both rules survive every renaming, both earn 0.5, and they fail with each other. Independent runs of Other-Play end in
# either, so their cross-play is 0, not 0.5. Breaking the tie in a way that labels cannot influence repairs it. High
# entropy does not: above α = 1 play is uniform in both stages, and its greedy policy ties everywhere.

# %% [markdown]
# ## Tiny Hanabi C: the one solution has the wrong convention
#
# No symmetries here, so that Other-Play is self-play. The best joint policy earns 2.5.

# %%
c = tacit.phase({"game": "tiny_hanabi", "variant": "C"}, grid)
print(*c.tables()[0].notes, sep="\n")
tacit.figures.branch_diagram(c[0])

# %% [markdown]
# At the least α with one solution its greedy policy earns 2.0: the safe one. Annealing follows that solution down
# (the line). It stays stable all the way, and on the way its greedy policy becomes the best one, 2.5. The dots are what
# independent runs at that α would find instead.
