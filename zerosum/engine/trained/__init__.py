"""Trained generators, ready to use."""
