"""What Tacit costs, measured beside its peer in one process: `make bench`."""
