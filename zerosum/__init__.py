"""zerosum: train, understand, score and ship generative adversarial networks.

import zerosum as zs
run = zs.train("digits", steps=500)
images = run.sample(16, label=3)      # float32 (16, 1, 8, 8) in [-1, 1]
gan = zs.load(run.folder)
scores = zs.score(run.folder)         # scores.scores, scores.floor, scores.stamp
study = zs.study("digits", vary={"optimizer.lr": [1e-3, 2e-4]})   # study.results, study.table, study.folder
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerosum import testing
    from zerosum.api import load, resume, train
    from zerosum.data.source import Batch, Condition, Source
    from zerosum.data.spec import Spec
    from zerosum.engine.runs.run import Run
    from zerosum.engine.trained.gan import Gan
    from zerosum.errors import Broken, Diverged, Interrupted, Lost, Stopped, ZerosumError
    from zerosum.games.objectives import Objective
    from zerosum.metrics.evaluate import compare
    from zerosum.metrics.result import Scores
    from zerosum.modalities import make_source, open_source
    from zerosum.recipe import Recipe
    from zerosum.reporting import report
    from zerosum.scoring import score
    from zerosum.studying.work import Study, study

__all__ = [
    "Batch",
    "Broken",
    "Condition",
    "Diverged",
    "Gan",
    "Interrupted",
    "Lost",
    "Objective",
    "Recipe",
    "Run",
    "Scores",
    "Source",
    "Spec",
    "Stopped",
    "Study",
    "ZerosumError",
    "compare",
    "load",
    "make_source",
    "open_source",
    "report",
    "resume",
    "score",
    "study",
    "testing",
    "train",
]

# torch takes seconds to import, so a name is looked up only when it is first used: `zerosum --help` answers at once
_HOMES = {
    "api": ("load", "resume", "train"),
    "data.source": ("Batch", "Condition", "Source"),
    "data.spec": ("Spec",),
    "modalities": ("make_source", "open_source"),
    "engine.trained.gan": ("Gan",),
    "engine.runs.run": ("Run",),
    "errors": ("Broken", "Diverged", "Interrupted", "Lost", "Stopped", "ZerosumError"),
    "metrics.evaluate": ("compare",),
    "metrics.result": ("Scores",),
    "games.objectives": ("Objective",),
    "recipe": ("Recipe",),
    "reporting": ("report",),
    "scoring": ("score",),
    "studying.work": ("Study", "study"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("zerosum")
    if name == "testing":
        return importlib.import_module("zerosum.testing")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"zerosum.{home}"), name)
    raise AttributeError(f"module 'zerosum' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
