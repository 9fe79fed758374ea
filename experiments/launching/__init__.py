"""Hydra: configurations composed from the command line, sweeps, launchers, searches."""
