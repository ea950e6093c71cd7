"""What the studies of the course gave: python -m benchmarks.course STUDY_FOLDER ...

Writes docs/course.md from the folders of finished studies, with their scores, their claims, and a picture of what every
setting draws at its end.
"""

import argparse
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.speed import machine, table
from zerosum.engine.runs.files import read_json
from zerosum.metrics.vocabulary import kind_of
from zerosum.progress import note
from zerosum.scoring import shown
from zerosum.studying.claims import UNDECIDED
from zerosum.studying.plan import Plan
from zerosum.studying.results import SHOWN

#: of a grid of samples, so much of the top left is shown
CROP = (520, 420)
HEAD = """# The course, and what came of it

Made by `python -m benchmarks.course` from the folders of finished studies. Every study is run by one command,
`zerosum study NAME`, here in its quick form (`--quick`, some minutes on two cores), and `zerosum report FOLDER`
makes the whole page. One seed decides nothing: where there was only one, no claim counts as supported or contradicted,
and only the way it points is told. The full form trains three seeds, and judges.

"""


def section(folder: Path, out: Path) -> str:
    """A study in words, tables and one picture."""
    plan, results = Plan.model_validate(read_json(folder / "plan.json")), read_json(folder / "results.json")
    picture = out.with_name(f"{plan.name}.png")
    draw_samples(folder, results, picture)
    seconds = sum(line["seconds"] or 0 for line in results["runs"])
    form = "quick form" if plan.quick else "full form"
    return (
        f"## `{plan.name}`\n\n{plan.about}. {form.capitalize()}: {len(results['runs'])} runs, "
        f"{seconds / 60:.0f} minutes of training.\n\n{scores(results)}\n{claims(results)}\n"
        f"![what each setting draws at its end]({picture.name})\n\n"
    )


def scores(results: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for found in results["settings"].values() for name in found))
    names = [name for kind in SHOWN for name in names if kind_of(name) == kind]
    rows = [["setting", *names]]
    for setting, found in results["settings"].items():
        cells = [shown(found[name]["mean"], found[name]["std"]) if name in found else "-" for name in names]
        rows.append([f"`{setting}`", *cells])
    return table(rows)


def claims(results: dict[str, Any]) -> str:
    rows = [["claim", "verdict", "numbers"]]
    for claim in results["claims"]:
        said = claim["direction"] if claim["verdict"] == UNDECIDED else claim["verdict"]
        why = claim["why"].replace(": one seed decides nothing", "")
        rows.append([claim["say"], f"**{said or 'not known'}**", f"`{why}`"])
    return table(rows)


def draw_samples(folder: Path, results: dict[str, Any], path: Path) -> None:
    """The last samples of each setting's first seed, side by side under their names."""
    grids = []
    for name in results["settings"]:
        runs = [line for line in results["runs"] if line["setting"] == name and line["folder"]]
        samples = sorted((folder / runs[0]["folder"] / "samples").glob("*.png")) if runs else []
        if samples:
            grid = Image.open(samples[-1]).convert("RGB")
            grids.append((name, grid.crop((0, 0, min(grid.width, CROP[0]), min(grid.height, CROP[1])))))
    columns, head = min(len(grids), 3), 26
    rows = -(-len(grids) // columns)
    sheet = Image.new("RGB", (columns * (CROP[0] + 12), rows * (CROP[1] + head + 12)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for index, (name, grid) in enumerate(grids):
        left, top = index % columns * (CROP[0] + 12), index // columns * (CROP[1] + head + 12)
        draw.text((left + 4, top + 2), name, fill="black", font=font)
        sheet.paste(grid, (left, top + head))
    sheet.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY_FOLDER")
    parser.add_argument("--out", type=Path, default=Path("docs/course.md"))
    options = parser.parse_args()
    text = HEAD + "".join(section(folder, options.out) for folder in options.studies)
    options.out.write_text(f"{text}{machine()}.\n", encoding="utf-8")
    note(str(options.out))


if __name__ == "__main__":
    main()
