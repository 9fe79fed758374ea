# %% [markdown]
"""
# Statistics of cross-play

N seeds of a method give N² scores, one for each pair of a seed in seat 0 and a seed in seat 1. What was drawn at
random are the seeds: N things, not N². A seed that plays unlike all others moves its whole row and its whole
column, so cells that share a seed are not independent, and an error bar that counts cells is too small. Playing
more games in each cell does not help, and neither does counting more cells.

Here the scores are synthetic, so that the truth is known: 5 in cross-play, 6 in self-play
(`marl/crossplay/synthetic.py`).
"""

# %% tags=["parameters"]
# The small size takes under a minute on two cores.
samples = 100  # full: 1000
resamples = 500  # full: 2000
seeds = [6, 8, 16]  # full: [6, 8, 16, 32]

# %%
# %matplotlib inline
import tacit

ways = ["cells_as_independent", "cross_play_disjoint", "cross_play"]

# %% [markdown]
"""
## 1. One sample, three intervals

Eight seeds with effects of their own (standard deviation 1 in either seat, 0.3 for a pair), in a sample in which the
first of three ways to say what cross-play is on average misses the truth. How often that happens comes next.

- **All cells as if independent**: the standard deviation of 56 cells over √56. Wrong.
- **Disjoint pairs**: seeds 0 and 1, 2 and 3, … meet, and nobody else: 4 means that share no seed, with Student's
  interval. Right, and wasteful: most of the matrix is not used. With n players the groups have n seeds.
- **Bootstrap over seeds**: all cells, but seeds are drawn with replacement, and a cell counts as often as its two
  seeds were drawn together. A cell whose seats hold the same seed is self-play and never counts.
"""

# %%
cells = tacit.synthetic.sample("seeds", 8, seed=6)
summary = tacit.summarise(cells, resamples=resamples)
found = {
    "cells_as_independent": tacit.synthetic.cells_as_independent(*cells),
    "cross_play_disjoint": summary.cross_play_disjoint,
    "cross_play": summary.cross_play,
}
print("\n".join(f"{name:22}{estimate:.2f}" for name, estimate in found.items()))
tacit.figures.matrix_and_estimates(cells, found, "8 seeds with effects of their own")

# %% [markdown]
"""
## 2. The same, many times

A 95 % interval is to hold the truth in 95 of 100 samples.
"""

# %%
many = tacit.synthetic.estimates("seeds", 8, samples=samples, resamples=resamples, quantities=ways)
tacit.figures.intervals(many, "Samples of 8 seeds with effects of their own")

# %% [markdown]
"""
## 3. Coverage against the number of seeds

- **seeds**: seeds differ, as above. The more seeds, the worse it is to count cells: their number grows with N²,
  what they say grows with N.
- **mixed**: seeds differ a little, and pairs fit more or less well for reasons of their own.
- **conventions**: each seed takes one of two conventions, and a pair scores 10 if they agree and 0 if not. Nothing is
  normal. The bootstrap's interval is too wide, that of few disjoint pairs too short (all agree, or none), and counting
  cells does well by accident: its standard error is still too small.
- **failures**: a seed fails with probability 0.15 and costs 5 in each seat. A quarter of all samples of 8 seeds
  hold no failure, and no estimator knows of what it has not seen. Seeds are the only remedy.
"""

# %%
kinds = ["seeds", "mixed", "conventions", "failures"]
measured = tacit.synthetic.measure(kinds, seeds, samples=samples, resamples=resamples, quantities=ways)
tacit.figures.coverage(measured, "How often 95 % intervals hold the true mean of cross-play")

# %% [markdown]
"""
The standard error of each way over the true one, which is the spread of the means over all samples.
"""

# %%
print(f"{'':22}{'seeds':>6}" + "".join(f"{way:>22}" for way in ways))
for kind, by_seeds in measured.items():
    for number, by_way in by_seeds.items():
        print(f"{kind:22}{number:6}" + "".join(f"{by_way[way].se_ratio:22.2f}" for way in ways))

# %% [markdown]
"""
What Tacit does with it: every SP, XP and gap is printed with the bootstrap's interval over seeds, and "disjoint XP",
over disjoint groups, beside it. A standard error over these needs two of them, one over all cells and every interval
six seeds; with fewer there is none, and the output says so. The table of all estimators for more kinds of samples is
at the head of `marl/crossplay/estimators.py`; `python -m benchmarks.coverage` makes it.
"""
