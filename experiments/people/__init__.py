"""Games of people: those that were recorded elsewhere."""
