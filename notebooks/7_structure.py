# %% [markdown]
"""
# Structure against training

A team can be helped in two ways: structure is built into the game (a board on which work is claimed, parts of the
work of one's own, a leader), or a convention that strangers share is trained. Here a structure is a transform of a
game and training is a method, so that both are measured in one unit: the exact value of cross-play, that is of
independent runs which meet with labels drawn independently, as a share of the solo value, which one agent with all
the information earns.

These are small formal games, no language models. What is published about teams of those is described beside the games
(`games/tabular/library`), and nothing of it is reproduced here.
"""

# %% tags=["parameters"]
# The small size takes under two minutes on two cores, the full one about 20. A finished run is read, not made again.
size = {"starts": 4, "restarts": 4, "method": ["self-play", "high-entropy-greedy", "other-play"]}  # full: {}
structures = ["none", "isolation", "leader"]  # full: ["none", "commitments", "claims", "isolation", "leader"]
structures_of_silos = ["none", "isolation"]  # full: ["none", "commitments", "claims", "isolation", "leader"]
agents = "2,3"  # full: "2,3,4"
penalties = "0,0.125,0.5"  # full: "0,0.0625,0.125,0.1875,0.25,0.375,0.5,1"

# %%
# %matplotlib inline
import tacit

games = tacit.structure_table("game=task_claiming,overlapping_edits", size, structure=structures)
games += tacit.structure_table("game=silos", size, structure=structures_of_silos)

# %% [markdown]
# ## 1. The table
#
# Rows are structures, columns ways of training, colours what is left of the solo value. Along a row one sees what
# training makes of a game, along a column what structure does. "–" says that a structure or a method has no meaning in
# a game, and the command `tacit structure-table` prints the reasons (or, for a leader in silos, that the small size
# leaves it out).

# %%
tacit.figures.structure_table(games)

# %% [markdown]
# ## 2. More agents
#
# Overlapping edits in four slots without structure: either of two conventions is perfect, and they do not mix.
# Self-play finds one of them at every number of agents. Strangers have a chance that falls with every agent: 5/6 for
# two and 1/2 for three is all that a policy can reach which treats the slots alike.

# %%
edits = tacit.structure_table(
    f"game.agents={agents}", size, {"game.slots": 4}, game="overlapping_edits", structure="none"
)
tacit.figures.retention_by_agents(edits)

# %% [markdown]
# ## 3. What the gap is about
#
# The gap of cross-play to the solo value, without structure. Spatial is what claims or hard isolation alone removes for
# the same method: who touches what. Semantic is what is left: everybody's action is valid, and together they make no
# sense. Where neither structure has a meaning, the gap is not split.

# %%
tacit.figures.gap_parts(games)

# %% [markdown]
# ## 4. Search at test time
#
# Every agent looks one step ahead, with the exact belief, and takes it that the others go on as its own run would. With
# strangers that belief is about somebody else. In self-play several who search at once can lose what they had: where
# two actions are equally good, everybody's new choice is a surprise to the others.

# %%
tacit.figures.search_effect(games)

# %% [markdown]
# ## 5. Predicting a partner
#
# Agents predict their partner's next action as if it were of their own run. Reliability is the part of the Brier score
# that miscalibration costs: with itself it is 0, by construction. With a stranger it is not, after self-play in all of
# these games, and after Other-Play where that has several optima.

# %%
tacit.figures.calibration_parts(games)

# %% [markdown]
# A gap need not mean that too little is said. In silos, without structure: bits that messages say of the sender's
# number, bits that answers take from messages, both with itself, and the share of right answers.

# %%
(silos,) = (one for one in games if (one["game"], one["structure"]) == ("silos", "none"))
print(f"{'':24}sent  used  right with itself  with a stranger")
for method in silos["methods"]:
    bits, right = method["information"], (method["self_play"], method["cross_play"])
    print(f"{method['name']:24}{bits['sent']:.2f}  {bits['used']:.2f}  {right[0]:<17.3f}  {right[1]:.3f}")

# %% [markdown]
# ## 6. Isolation that is only asked for
#
# Hard isolation forbids what is another's part, soft isolation makes it cost something. In task claiming agents who
# keep to their parts cannot collide, and a small penalty is enough (for all but plain high entropy). In the ring of
# three slots one agent's part does not fit all of its features: hard isolation is worth less than no structure, and a
# small penalty can be worse than either, as agents of self-play then pay it and collide all the same. Other-Play gains
# by a small one and loses by a large one.

# %%
both = "game=task_claiming,overlapping_edits"
hard = tacit.structure_table(both, size, structure=["none", "isolation"])
soft = tacit.structure_table(both, size, f"penalty={penalties}", structure="isolation")
tacit.figures.soft_isolation(hard + soft)
