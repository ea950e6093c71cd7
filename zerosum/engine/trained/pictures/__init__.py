"""Trained generators that start from pictures, one file for each kind."""
