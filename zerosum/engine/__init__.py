"""Training around the steps of `games/step.py`: `training/loop.py` is the loop, `training/state.py` what survives."""
