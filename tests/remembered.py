"""Which memory of bounded length each history is, from the histories gone through one by one."""

import numpy as np

from games.tabular import memories


def window(path, memory):
    """The last pairs of a history, a flat tuple with -1 for what there has not been."""
    first, *rest = path
    pairs = ([] if first is None else [(-1, first)]) + list(zip(rest[::2], rest[1::2], strict=True))
    kept = pairs[max(0, len(pairs) - memory) :]
    return tuple(int(entry) for pair in [(-1, -1)] * (memory - len(kept)) + kept for entry in pair)


def memory_of(tree, bounded, agent):
    """int64[H]: the memory of each history."""
    own, short = tree.agents[agent], bounded.agents[agent]
    shown = memories.windows(bounded, agent)
    known = {}
    for t in range(tree.horizon):
        for number in range(short.stage(t).start, short.stage(t).stop):
            # Without a window a memory is what is legal.
            known[t, tuple(shown[number].tolist()) or tuple(short.legal[number].tolist())] = number
    assert len(known) == short.size
    found = []
    for history in range(own.size):
        path = own.path(history)
        found.append(known[len(path) // 2, window(path, bounded.memory) or tuple(own.legal[history].tolist())])
    return np.array(found)
