"""The game itself: `step.py` is the page to read first; `train.py` is the loop around it, `state.py` what survives."""
