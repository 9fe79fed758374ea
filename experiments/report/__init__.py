"""The report: a static site about runs, which works offline."""
