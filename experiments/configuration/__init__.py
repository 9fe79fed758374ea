"""A job's configuration: parsed from plain data and checked, and the objects that it names built."""
