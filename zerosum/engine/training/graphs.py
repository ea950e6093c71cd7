"""On a CUDA device a step is recorded once, as a graph of kernels, and replayed from then on: `Recorder`.

A step of a small network is hundreds of kernels, each of which takes longer to launch from Python than to run. A
replay launches them all at once, and runs no Python: what a step reads besides its tensors must be part of its kind.
"""

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from zerosum.data.source import Batch
from zerosum.engine.training import parallel
from zerosum.engine.training.optimizers import NAMED
from zerosum.errors import ZerosumError, setting
from zerosum.games.step import Losses
from zerosum.progress import note
from zerosum.recipe import Recipe
from zerosum.schedule import scheduled

#: steps of each kind that run as they are before one is recorded: libraries choose their kernels, optimizers make slots
WARM_UP = 2

#: (real data, noise by its names) -> losses, with an update of the weights
Step = Callable[..., Losses]


class Recorder:
    """Calls the steps of one run.

    A recording knows weights, moments and learning rates by their addresses: whoever changes them writes into them.
    """

    def __init__(self, records: bool) -> None:
        self.records = records
        self._calls: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, Recording] = {}

    def play(self, kind: Hashable, step: Step, real: Batch, **noise: Tensor) -> Losses:
        """step(real, **noise), from its recording once there were enough of this kind.

        Raises ZerosumError for a step that cannot be recorded.
        """
        if not self.records:
            return step(real, **noise)
        self._calls[kind] += 1
        if self._calls[kind] <= WARM_UP:
            return step(real, **noise)
        if kind not in self._recordings:
            try:
                self._recordings[kind] = Recording(step, real, noise)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0][:200]
                raise ZerosumError(
                    f"this step cannot be recorded as a CUDA graph ({reason}): {setting('cuda_graphs', False)}"
                ) from error
        return self._recordings[kind].replay(real, noise)


class Recording:
    """One step as a graph, with memory of its own for what it reads and what it returns. Recording it runs nothing."""

    def __init__(self, step: Step, real: Batch, noise: dict[str, Tensor]) -> None:
        self.samples = real.real.detach().clone()
        self.condition = real.condition.map(torch.clone)
        self.noise = {name: value.clone() for name, value in noise.items()}
        self.graph = torch.cuda.CUDAGraph()
        random = torch.cuda.default_generators[self.samples.get_device()]
        untouched = random.clone_state()
        try:
            with torch.cuda.graph(self.graph):
                losses = step(Batch(self.samples.detach(), self.condition), **self.noise)
                self.losses = torch.stack([value.float() for value in losses.values()])
        except RuntimeError:
            random.graphsafe_set_state(untouched)  # otherwise the generator would stay in capture mode
            raise
        self.names = tuple(losses)

    @torch.no_grad()  # a penalty may have left samples that want a gradient; the copies would remember each of them
    def replay(self, real: Batch, noise: dict[str, Tensor]) -> Losses:
        self.samples.copy_(real.real)
        for kept, part in zip(self.condition, real.condition, strict=True):
            if kept is not None and part is not None:
                kept.copy_(part)
        for name, value in noise.items():
            self.noise[name].copy_(value)
        self.graph.replay()
        return dict(zip(self.names, self.losses.clone().unbind(), strict=True))


def can_record(recipe: Recipe, own: bool) -> bool:
    """Whether steps may be replayed as CUDA graphs; ZerosumError where the recipe wants what cannot be.

    own: networks or objective came from outside of the package, and may do in Python what no recording repeats.
    """
    reason = None
    if recipe.cycle is not None:
        reason = "a cycle draws from its pools of samples on the CPU"
    elif parallel.size() > 1:
        reason = "several processes average their gradients between the kernels"
    elif recipe.optimizer.name not in NAMED:
        reason = "an optimizer from outside does not read its learning rate from the device"
    elif changing := [key for key in scheduled(recipe) if not key.endswith((".lr", ".half_life"))]:
        reason = f"a recorded step keeps its weights, and {changing[0]} has a schedule"
        if recipe.cuda_graphs is None and not own:
            note(f"steps are not recorded as CUDA graphs: {reason}")
    if recipe.cuda_graphs and reason is not None:
        raise ZerosumError(f"cuda_graphs = true: {reason}; {setting('cuda_graphs', None)}")
    wanted = not own if recipe.cuda_graphs is None else recipe.cuda_graphs
    return wanted and reason is None
