"""Whether a training has become much slower than it was."""

#: seconds and steps of which one speed is the mean
SECONDS, STEPS = 10.0, 32
#: a speed below this share of the best one is slow, and one above that share fine again
SLOW, FINE = 0.5, 0.8


class Pace:
    """Is told the seconds of every step, without those of scores and files, and answers once for each slowdown.

    A speed is the mean over SECONDS of steps, and STEPS of them at least, so that costly steps that come now and then
    (lazy penalties) or early (warming up) say nothing. The longest step is left out: the process may have been halted.
    """

    def __init__(self) -> None:
        self.best = 0.0
        self.slow = False
        self._clear()

    def _clear(self) -> None:
        self.steps, self.seconds, self.longest = 0, 0.0, 0.0

    def add(self, seconds: float) -> float | None:
        """How many times as slow as it was training has become, at the step with which that is known; else None."""
        self.steps += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)
        spent = self.seconds - self.longest
        if self.steps <= STEPS or spent < SECONDS:
            return None
        speed = (self.steps - 1) / spent
        self._clear()
        before, self.best = self.slow, max(self.best, speed)
        self.slow = speed < (FINE if before else SLOW) * self.best
        return self.best / speed if self.slow and not before else None
