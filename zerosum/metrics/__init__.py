"""Scores: what a network sees in two piles of images, and how the piles compare. `scores.py` holds the formulas."""
