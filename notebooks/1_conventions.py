# %% [markdown]
"""
# Conventions and cross-play in five minutes

Two players pull one of ten levers, at the same time, without talking. If both pull the same one they are paid: 1.0 for
nine of the levers, 0.9 for the last. Otherwise they get nothing (Hu et al. 2020).

Which lever is not a question of skill. It is a *convention*: any will do if the partner has the same one.
"""

# %% tags=["parameters"]
# The small size takes about a minute on two cores. A finished run is read, not made again.
seeds = 8  # full: 32
levers = [2, 4]  # full: [2, 3, 4, 6, 8, 10]

# %%
# %matplotlib inline
import tacit

# %% [markdown]
# ## Self-play and cross-play
#
# Independent *seeds* of one learner: each trains with itself, with another random start. Then each plays with itself
# (self-play, SP) and with every other one (cross-play, XP).

# %%
runs = tacit.train(
    game="lever", policy="tabular", seeds=seeds, budget={"steps": 20000},
    learner={"num_games": 64, "rollout_length": 8, "learning_rate": 0.05}, crossplay={"games": 64},
)  # fmt: skip
tacit.figures.crossplay(runs[0], "lever: seeds of one learner with each other", plays=["greedy"])

# %% [markdown]
# On the diagonal every seed meets itself on its lever. Beside it two seeds score only if they chose the same lever by
# chance. In numbers, with intervals that resample seeds:

# %%
print(tacit.compare(runs))

# %% [markdown]
# ## What a symmetry is
#
# A *symmetry* renames actions (observations, agents, states) and leaves the game as it is. Nine of the levers can
# change places in any way, 9! of them, and so can the two players: 725,760 symmetries in all. The lever of 0.9 stays
# where it is. Two of the generators:

# %%
print(tacit.symmetries(tacit.make("lever"), generators=2))

# %% [markdown]
# Two learners who cannot tell the nine levers apart have no reason to settle on the same one. So self-play's score
# with strangers is not a matter of a better learner. A policy that survives every renaming is called *equivariant*:
# here it must give the nine levers the same probability, and the best such policy takes the tenth.

# %% [markdown]
# ## The same, exactly
#
# Nothing is sampled here: all starts of self-play, with the labels of every run drawn independently among the
# symmetries. Other-Play trains against such relabelled copies of itself.

# %%
print(tacit.zsc_table(game="lever", method=["self-play", "other-play"]))

# %% [markdown]
# Self-play ends on one of nine levers and meets a stranger 1 time in 9. Other-Play gives up 0.1 and always meets.
#
# ## When nothing stands out
#
# Among n levers that all pay the same no policy can do better with a stranger than 1/n, Other-Play included. Knowing
# the symmetries does not help when there is nothing left to tell the actions apart.

# %%
print(tacit.zsc_table(f"n={','.join(map(str, levers))}", game="equal_levers", method=["self-play", "other-play"]))

# %% [markdown]
# ## Conventions are solutions
#
# Where a policy gradient with a little entropy ends, from many starts: each row is such an end, with the number of
# starts that came to it. On the right, what each earns with each.

# %%
(few,) = tacit.phase(
    game="lever", payoffs=[1.0, 1.0, 1.0, 0.9], alpha=0.1, normal_starts=12, wide_starts=4, pure_starts=4,
    refine=False, branch=False,
)  # fmt: skip
tacit.figures.solutions(few)

# %% [markdown]
# Four levers, four conventions, and a game's value says nothing about which one a run will have. The next notebook
# shows what happens to them when the weight of the entropy grows.
