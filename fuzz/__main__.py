"""Coverage-guided fuzzing of what reads strangers' files, with atheris (`pip install atheris`).

    python -m fuzz TARGET [--seconds 60]     one of the families in fuzz/targets.py
    python -m fuzz all [--seconds 60]        each of them for so long

Begins with valid files, and keeps what reaches new code in fuzz/corpus, which git does not know. It ends at the first
input for which a reader does anything but give a result or raise a `ZerosumError`, takes longer than ten seconds, or
needs more than 4 GiB, and leaves that input in fuzz/findings; once mended, such an input becomes a test. The last lines
say how many inputs were tried.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FAMILIES = ("recipe", "override", "picture", "zip", "table", "array", "idx", "statistics", "shard", "run")
#: bytes of an input
LONGEST = 8192


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", choices=[*FAMILIES, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    if asked.target == "all":
        command = [sys.executable, "-m", "fuzz", "--seconds", str(asked.seconds)]
        return max(subprocess.run([*command, family], check=False).returncode for family in FAMILIES)
    fuzz(asked.target, asked.seconds)
    return 0


def fuzz(name: str, seconds: int) -> None:
    """Does not return: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["zerosum", "yaml", "zipfile", "csv", "json", "gzip"]):
        from fuzz.targets import TARGETS, attempt

    target = TARGETS[name]
    corpus, findings = HERE / "corpus" / name, HERE / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number:02d}").write_bytes(seed)
    longest = max(LONGEST, *(2 * path.stat().st_size for path in corpus.iterdir()))
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096", f"-max_len={longest}"]
    options = [*limits, f"-artifact_prefix={findings}{os.sep}{name}-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: attempt(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
