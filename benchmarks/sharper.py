"""Four times larger: python -m benchmarks.sharper --data FOLDER_OR_ZIP [--runs GAN CONTENT]

Trains `superres-faces` as it is and with the content loss alone, or takes two runs that were, and writes their scores
on held-out pictures beside the cubic enlargement's, and a picture of all. About 20 minutes on two cores.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch.nn.functional import interpolate

from zerosum import api, scoring
from zerosum.data.pictures.drawing import save_grid
from zerosum.data.pictures.open import open_held_out, open_source
from zerosum.data.pictures.views import enlarge
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.trained.pictures.painter import Painter
from zerosum.metrics.result import Scores
from zerosum.metrics.vocabulary import kind_of
from zerosum.modalities.picture import section
from zerosum.progress import note
from zerosum.scoring import shown

KINDS = ("psnr", "ssim", "fid", "kid", "sharpness")
COLUMNS = 12


def table(gan: Scores, content: Scores) -> str:
    """A row for each way; the true images are the floor, where there is one."""
    names = [name for name in gan.scores if kind_of(name) in KINDS]
    ways = {"cubic": gan.baselines["cubic"], "content loss alone": content.scores, "GAN": gan.scores}
    rows = [["", *names], ["---"] * (1 + len(names))]
    rows += [[way, *(f"{values[name]:.4g}" for name in names)] for way, values in ways.items()]
    rows.append(["true images", *(shown(gan.floor.get(name)) for name in names)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def picture(gan: Path, content: Path, path: Path, generated: bool) -> None:
    """The same held-out pictures in every row: low, cubic, content, GAN and true, or those of the networks only."""
    data = section(stored_recipe(gan).data)
    painters = []
    for folder in (content, gan):
        painter = cast(Painter, api.load(folder))
        painters.append(replace(painter, held_out=open_held_out(data, open_source(data)[0].spec)))
    batch = painters[0].given(range(COLUMNS))
    rows = {
        "low": interpolate(batch.given, batch.real.shape[2:], mode="nearest"),
        "cubic": enlarge(batch.given, data.factor),
        "content": painters[0].paint(batch.given, range(COLUMNS)),
        "GAN": painters[1].paint(batch.given, range(COLUMNS)),
        "true": batch.real,
    }
    rows = {name: rows[name] for name in (("content", "GAN") if generated else rows)}
    save_grid(torch.cat(list(rows.values())), COLUMNS, path, list(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="pictures of faces: a folder or zip")
    parser.add_argument("--runs", type=Path, nargs=2, metavar=("GAN", "CONTENT"), help="runs that are there already")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/sharper.png"), help="the picture")
    parser.add_argument("--generated", action="store_true", help="show nothing that comes from the data itself")
    options = parser.parse_args()
    if options.runs is None:
        keys = {"seed": options.seed}
        gan = api.train("superres-faces", data=options.data, overrides=keys).place
        content = api.train("superres-faces", data=options.data, overrides=keys | {"adversarial": 0.0}).place
    else:
        gan, content = options.runs
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture(gan, content, options.out, options.generated)
    print(table(scoring.score(gan), scoring.score(content)))  # noqa: T201
    note(str(options.out))


if __name__ == "__main__":
    main()
