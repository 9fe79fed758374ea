"""Finished training runs: played with others, compared, described, exported."""
