"""Studies: one question, many runs, an answer with its numbers."""
