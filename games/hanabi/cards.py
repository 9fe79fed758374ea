"""How a game of Hanabi stores cards, and what is known of them, in bytes."""

COLOR_LETTERS = "RYGWB"
"""HLE's colors by index: red, yellow, green, white, blue."""
EMPTY = 255
"""The byte of no card: an empty slot of a hand, or no card played or discarded last."""
HINTED = 128
"""The bit of a knowledge byte that says: this color (rank) was named by a hint."""
