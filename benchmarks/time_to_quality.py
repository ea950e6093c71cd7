"""How long until it is good: python -m benchmarks.time_to_quality [--faces FOLDER_OR_ZIP]

Trains `mnist` until 10,000 of its digits have a Frechet distance below 10 and 98 % of them are what was asked for,
counting the seconds of training alone; then times the common script of the convolutional conditional GAN, and says how
long it needs at least for what `cdcgan-mnist` had after so many steps: the two do the same arithmetic. With --faces,
trains `faces` at 64x64 and says how good it is after 5 and 15 minutes. Writes docs/time-to-quality.md.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from benchmarks.race import PLAIN, race
from benchmarks.speed import machine, table
from benchmarks.works import WORKS, seconds
from zerosum import api
from zerosum.data.pictures.drawing import save_grid
from zerosum.engine.runs.run import Run
from zerosum.engine.training.loop import Totals, take_step
from zerosum.engine.training.memory import reused_memory
from zerosum.engine.watching.watch import Watch
from zerosum.metrics.result import Scores
from zerosum.metrics.vocabulary import kind_of
from zerosum.progress import note
from zerosum.scoring import shown

COUNT = 10_000
FID, ACCURACY = 10.0, 0.98
#: what the recipe of the common script had after so many steps: docs/mnist-scores.md
STEPS, REACHED = 2_804, 28.9
KINDS = ("fid", "accuracy", "diversity")


def training(run: Run) -> Iterator[float]:
    """Seconds of training after every step, without what is done between the steps."""
    spent, totals = 0.0, Totals()
    with reused_memory():
        while True:
            spent += seconds(lambda: take_step(run, totals), run.precision.device)
            yield spent


def look(run: Run, watch: Watch) -> Scores:
    return watch.yardstick.measure(run.gan.batches(COUNT), COUNT, run.conditional, cheap=True)


def row(run: Run, spent: float, scores: Scores) -> list[str]:
    return [f"{run.state.step:,}", f"{spent:.0f}", *(shown(scores.value(kind)) for kind in KINDS)]


def digits(every: int) -> tuple[list[list[str]], float]:
    """Rows of what `mnist` had after so many steps, and the seconds after which both goals were met."""
    run = api.prepare("mnist")
    watch = cast(Watch, api.make_watch(run))
    rows = [["steps", "seconds of training", *KINDS]]
    for spent in training(run):
        if run.state.step % every == 0:
            scores = look(run, watch)
            rows.append(row(run, spent, scores))
            note(", ".join(rows[-1]))
            if scores.value("fid") < FID and scores.value("accuracy") > ACCURACY:
                return rows, spent
        if run.state.step == run.recipe.steps:
            break
    raise SystemExit(f"mnist did not reach a Frechet distance of {FID} in {run.recipe.steps} steps")


def faces(data: str, minutes: Sequence[float], picture: Path) -> str:
    """Scores of `faces` after so many minutes of training, and a picture of what it draws at the end."""
    run = api.prepare("faces", data)
    watch = cast(Watch, api.make_watch(run))
    rows, left = [["steps", "seconds of training", *KINDS[::2]]], list(minutes)
    for spent in training(run):
        if spent >= left[0] * 60:
            scores = look(run, watch)
            rows.append([cell for index, cell in enumerate(row(run, spent, scores)) if index != 3])
            note(", ".join(rows[-1]))
            left.pop(0)
        if not left:
            break
    save_grid(run.sample(32, seed=0), 8, picture)
    floor = {kind_of(name): shown(value) for name, value in scores.floor.items()}
    real = ["*real faces*", "", *(floor.get(kind, "-") for kind in KINDS[::2])]
    name = next(iter(scores.scores))
    return f"{table([rows[0], real, *rows[1:]])}\nFeatures: `{name.partition('@')[2]}`.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", help="pictures of faces; without them that part is skipped")
    parser.add_argument("--every", type=int, default=200, help="steps between two scores of mnist")
    parser.add_argument("--out", type=Path, default=Path("docs/time-to-quality.md"))
    options = parser.parse_args()
    rows, spent = digits(options.every)
    with tempfile.TemporaryDirectory() as place:
        laps = race("cdcgan", [PLAIN], 12, Path(place))
    step = statistics.median(laps[PLAIN].steps)
    floor = STEPS * step
    text = HEAD.format(
        digits=table(rows), spent=spent, step=step, steps=STEPS, reached=REACHED, floor=floor, ratio=floor / spent
    )
    if options.faces is None:
        note("faces: skipped, since it needs --faces")
    else:
        picture = options.out.with_name("faces-15-minutes.png")
        text += FACES.format(table=faces(options.faces, (5, 15), picture), picture=picture.name)
    options.out.write_text(f"{text}\n{machine()}.\n", encoding="utf-8")
    note(str(options.out))


HEAD = f"""# Time to quality

Made by `python -m benchmarks.time_to_quality`. Goal on MNIST: `fid10k@classifier` below {FID:.0f} and accuracy above
{ACCURACY}. Seconds are those of training alone.

## `mnist`

{{digits}}
Both goals after {{spent:.0f}} s.

## The common script of `cdcgan-mnist`

{WORKS["cdcgan"].title}: {{step:.2f}} s a step ([benchmarks/plain.py](../benchmarks/plain.py), its pictures in memory).
zerosum's `cdcgan-mnist`, the same networks, optimiser and data, had a distance of {{reached}} after {{steps:,}} steps
([mnist-scores.md](mnist-scores.md)) and had not met the goal. So the script needs more than {{floor:,.0f}} s: at least
**{{ratio:.0f}} times** as long as `mnist`.
"""

FACES = """
## `faces` at 64x64

{table}
![what it draws after 15 minutes of training]({picture})
"""

if __name__ == "__main__":
    main()
