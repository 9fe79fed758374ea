"""The report: a static site over runs, which opens offline."""
