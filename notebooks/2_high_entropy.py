# %% [markdown]
"""
# High entropy aligns conventions, exactly

A joint policy is trained for return and entropy together,

    J_α(π) = E Σ_t γ^t (r_t + α Σ_i H(π_i(·|h_{i,t}))).

At a low α there are many solutions, one for each convention, and independent runs end in different ones. Above some α
there is one solution. Then all runs end there, whatever their start, and its greedy policy is a convention that all of
them share. Everything here is computed without sampling: `docs/exact.md` says how.

α is in units of reward. It is not the entropy coefficient of PPO, which weighs entropies against advantages that are
normalised first.
"""

# %% tags=["parameters"]
# The small size takes about two minutes on two cores, most of it to compile. Full is `tacit phase` without these.
dectiger = {"alpha": [3, 9, 11, 12, 17, 20], "normal_starts": 4, "wide_starts": 0, "pure_starts": 4}  # full: {}
variants = "A,B,C,D"  # full: "A,B,C,D,E,F"
tiny_hanabi = {"alpha_count": 7, "normal_starts": 8, "wide_starts": 0, "pure_starts": 8}  # full: {}
lever = {"alpha_count": 9}  # full: {}
levers = "2,3,10"  # full: "2,3,4,5,10"
lever_alpha = [0.08, 0.15, 0.2, 0.25, 0.3, 0.35, 0.45, 0.55]

# %%
# %matplotlib inline
import tacit

# %% [markdown]
# ## Dec-tiger's window
#
# Two agents listen for a tiger behind one of two doors, three steps. The best joint policy earns 5.1908.

# %%
(tiger,) = tacit.phase({"game": "dectiger", "horizon": 3, "branch": False, "refine": False}, dectiger)
tacit.figures.phase_diagram(tiger)

# %% [markdown]
# * Up to α = 11 starts end in different conventions, and mixing them opens the door on the tiger: cross-play is far
#   below self-play.
# * From 12 on there is one solution. It is itself not good (soft play scores little), but its greedy policy is the best
#   joint policy: 5.1908 in self-play and in cross-play.
# * At 20 the entropies weigh too much: the one solution listens and never opens a door, −6.
#
# So there is a window: high enough for one solution, low enough for a good one.

# %% [markdown]
# ## Tiny Hanabi
#
# One player sees a card and acts, the other sees the action and a card of its own, and answers. The six games A to F
# (E and F at full size only) differ in what they pay. Their symmetry groups are trivial, so that Other-Play says
# nothing here. Shaded is where there is one solution.

# %%
tiny = tacit.phase("game=tiny_hanabi", f"variant={variants}", tiny_hanabi, branch=False)
tacit.figures.windows(tiny)

# %% [markdown]
# In A, B, D, E and F the shaded part begins with the best policy. In C it does not: the next notebook is about that. In
# D, E and F a higher α loses some of the value again.

# %% [markdown]
# ## Three thresholds
#
# * **certified**: above it there is provably one solution; computed from the game in a moment.
# * **unique**: above it all starts of the search ended in one solution.
# * **stable**: below it the solution that comes from α = ∞ attracts no longer.

# %%
ten = tacit.phase({"game": "lever"}, lever)
print(*ten.tables()[0].notes, sep="\n")
tacit.figures.branch_diagram(ten[0], "lever")

# %% [markdown]
# The ten levers again, nine of 1.0 and one of 0.9. The proof needs α = 0.5, the search finds one solution from 0.2194
# on, and the symmetric solution attracts down to 0.1033. Between 0.1033 and 0.2194 it and the conventions attract, each
# from starts of its own.

# %% [markdown]
# ## Hysteresis
#
# What a run finds between the two thresholds depends on where it comes from. Lower α slowly from a high value, and play
# stays uniform until the stable threshold; then it jumps to a convention. Raise α again, and the convention stays until
# the unique threshold. For n equal levers all of this has closed forms: uniform play is stable above 1/n, and the
# preferred lever's probability p solves α = (np − 1) / ((n − 1) log(p (n − 1) / (1 − p))).

# %%
equal = tacit.phase("game=equal_levers", f"n={levers}", alpha=lever_alpha)
tacit.figures.hysteresis(equal)

# %% [markdown]
# Two levers have no hysteresis: both thresholds are 1/2, and the convention fades out at it. With three levers both
# exist between 1/3 and 0.3642, with ten between 0.1 and 0.2193. The part of the dotted line that turns back is a
# solution too, but no start ends there: it is not stable.
