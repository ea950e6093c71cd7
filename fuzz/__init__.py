"""Fuzzing of everything that reads a stranger's files; see `python -m fuzz --help`."""
