"""How fast this machine trains: python -m benchmarks

Prints the tables, writes them with the machine's description into docs/speed.md, or --out, and the first of them into
--readme. Takes about six minutes on two cores; leave the machine alone meanwhile.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks import growth, speed
from benchmarks.works import make_pictures
from zerosum.progress import note

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- speed: written by python -m benchmarks -->", "<!-- end of speed -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "speed.md")
    parser.add_argument("--readme", type=Path, help="gets the first table too, between its marks")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        make_pictures(folder)
        note("steps of every work, one way after the other")
        laps = speed.run_all(folder)
        first = f"{speed.ratios(laps)}\n{speed.machine()}.\n"
        note("the machine's limit, memory, start, sampling")
        parts = {
            "ratios": first,
            "limits": speed.limits(laps, folder),
            "memory": speed.flat_memory(folder),
            "start": speed.start(),
            "sampling": speed.sampling(folder),
            "growth": growth.measure(Path(place), options.out.with_name(f"{options.out.stem}-growth.png")),
        }
    options.out.write_text(PAGE.format(**parts), encoding="utf-8")
    if options.readme is not None:
        before, _, rest = options.readme.read_text(encoding="utf-8").partition(BEGIN)
        options.readme.write_text(f"{before}{BEGIN}\n\n{first}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(options.out.read_text(encoding="utf-8"))  # noqa: T201
    note(f"{options.out}, after {(time.perf_counter() - began) / 60:.1f} minutes")


PAGE = """# Speed

Made by `python -m benchmarks`. Absolute numbers are those of one machine on one day; the ratios are what counts: the
ways take turns of one to ten steps; medians of the turns (in brackets the ratio of the fastest ones).

## Beside a common script

The plain script is [benchmarks/plain.py](../benchmarks/plain.py): float32, default memory format, sigmoid and binary
cross-entropy, pictures one by one through Pillow and a DataLoader, gradients of the critic filled in the generator's
step. Networks, batch and optimiser are the same. Colour pictures are JPEG files of 64x64 pixels in a folder, as faces
come; grey ones are in memory, as MNIST is. zerosum reads the files once, before the first step.

{ratios}
## Distance to the limit

Operations of convolutions and matrix products are counted (torch's flop counter) on torch's own layers.

{limits}
## Memory along a run

DCGAN 32x32x3, width 32, batch 128:

{memory}
## Start

{start}
## Sampling and scoring

{sampling}
## How cost grows

{growth}"""


if __name__ == "__main__":
    main()
