"""Run folders: what is written, read and resumed."""
