"""Scores and findings while a run trains."""
