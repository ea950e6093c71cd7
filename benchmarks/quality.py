"""Speed is not bought with quality: python -m benchmarks.quality --faces FOLDER_OR_ZIP

Trains every recipe for a part of its length, over some seeds, once with the fast path and once with torch's own layers
in float32, and scores both under one stamp. Each result is kept as a line of --results, so that it may be interrupted,
and run by several processes with different --only; the table is written from all. More than an hour on two cores.
"""

import argparse
import itertools
import math
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from benchmarks.plain import torch_layers
from zerosum import api
from zerosum.engine.runs.files import read_lines, write_lines
from zerosum.engine.training.loop import Totals, take_step
from zerosum.engine.watching.watch import Watch
from zerosum.metrics.vocabulary import kind_of
from zerosum.progress import note, track
from zerosum.scoring import shown

#: recipe -> steps, about a minute each
STEPS = {
    "digits": 400,
    "mnist": 400,
    "gan-mnist": 1500,
    "cgan-mnist": 1500,
    "dcgan-faces": 500,
    "faces": 150,
    "faces-attributes": 150,
    "wgan-gp-mnist": 60,
    "wgan-gp-faces": 60,
    "cdcgan-mnist": 60,
}
SAMPLES = 2_000
KINDS = ("fid", "accuracy", "diversity")
HEAD = """# Speed is not bought with quality

Made by `python -m benchmarks.quality`: every recipe trained for a part of its length over three seeds (`--seeds`), with
the fast path (bfloat16, our operators, real and generated images judged together) and with torch's own layers in
float32. The last column is the difference of the two means over its standard error; with three seeds each, anything
between about -3 and +3 is what chance gives. Scores: [scores.md](scores.md).

"""


def measure(recipe: str, seed: int, fast: bool, data: str | None) -> dict[str, Any]:
    """Trains once; the scores of what was trained."""
    run = api.prepare(recipe, data, {"seed": seed, "precision": "auto" if fast else "fp32"})
    with nullcontext() if fast else torch_layers():
        words = f"{recipe}, seed {seed}, {'fast' if fast else 'plain'}"
        for _ in track(range(STEPS[recipe]), STEPS[recipe], words):
            take_step(run, Totals())
    scores = cast(Watch, api.make_watch(run)).yardstick.measure(
        run.gan.batches(SAMPLES), SAMPLES, run.conditional, cheap=True
    )
    return {"recipe": recipe, "seed": seed, "fast": fast, "step": STEPS[recipe], "scores": scores.scores}


def table(lines: list[dict[str, Any]]) -> str:
    """Scores of every seed, and whether the two ways agree: the difference of the means over its standard error."""
    rows = [["recipe", "steps", "score", "fast path, each seed", "torch in float32, each seed", "difference / error"]]
    rows.append(["---"] * len(rows[0]))
    for recipe, steps in STEPS.items():
        mine = [line for line in lines if line["recipe"] == recipe and line["step"] == steps]
        names = [name for name in (mine[0]["scores"] if mine else ()) if kind_of(name) in KINDS]
        for name in names:
            fast, plain = (
                [line["scores"][name] for line in sorted(mine, key=lambda line: line["seed"]) if line["fast"] is which]
                for which in (True, False)
            )
            if min(len(fast), len(plain)) < 2:
                continue
            error = math.sqrt(sum(statistics.variance(each) / len(each) for each in (fast, plain)))
            gap = (statistics.mean(fast) - statistics.mean(plain)) / error if error else 0.0
            rows.append(
                [
                    f"`{recipe}`",
                    str(steps),
                    name,
                    *(", ".join(map(shown, each)) for each in (fast, plain)),
                    f"{gap:+.1f}",
                ]
            )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="pictures of faces with gender and age, for the recipes of faces")
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS), help="these recipes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("runs/quality.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("docs/quality.md"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for recipe in options.only:
        if "faces" in recipe and options.faces is None:
            note(f"{recipe}: skipped, since it needs --faces")
            continue
        for seed, fast in itertools.product(range(options.seeds), (True, False)):
            known = [(line["recipe"], line["seed"], line["fast"]) for line in read_lines(options.results)]
            if (recipe, seed, fast) not in known:
                data = options.faces if "faces" in recipe else None
                write_lines(options.results, [measure(recipe, seed, fast, data)])
    options.out.write_text(HEAD + table(read_lines(options.results)), encoding="utf-8")
    note(str(options.out))


if __name__ == "__main__":
    main()
