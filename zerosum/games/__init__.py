"""The games: the two steps, what players minimise, and what the critic pays beside it."""
