"""The tables of `python -m benchmarks`: ratios, distance to the machine's limit, memory, start, sampling, scoring."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from torch.utils.flop_counter import flop_registry

from benchmarks import plain
from benchmarks.race import PLAIN, Lap, race
from benchmarks.works import COUNT, WORKS, digits, prepare, seconds
from zerosum.engine.training.loop import Totals, take_step
from zerosum.engine.training.precision import choose
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.pictures.classifier import Classifier

WAYS = (PLAIN, "fp32", "auto")
#: turns of each way, and steps of each turn: a turn is long enough for caches and threads to wake up
TURNS = {"dcgan-32": (15, 5), "dcgan-64": (7, 1), "cdcgan": (9, 1), "cgan": (15, 10), "wgan-gp": (9, 1)}

Row = list[str]


def table(rows: list[Row]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def machine() -> str:
    """The processor, its cores and what it multiplies, the memory, the versions."""
    device = choose("auto", "auto").device
    model, memory = platform.processor() or platform.machine(), ""
    if (info := Path("/proc/cpuinfo")).is_file():
        text = info.read_text(encoding="utf-8")
        names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
        flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in text]
        model = f"{names[0] if names else model} ({', '.join(flags) or 'no AVX2'})"
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    graphics = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return (
        f"{model}, {torch.get_num_threads()} threads{memory}{graphics}; {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )


def ratios(laps: dict[str, dict[str, Lap]]) -> str:
    """Images a second of each way, and how many times the plain one."""
    head = ["work", "plain, images/s", "of it loading", "zerosum", "ratio", "goal", "zerosum, fp32 forced", "ratio"]
    rows = [[*head, "peak memory, plain and zerosum"]]
    for name, work in WORKS.items():
        slow, single, fast = (laps[name][way] for way in WAYS)
        loading = statistics.median(slow.loading) / slow.median
        rows.append(
            [
                work.title,
                f"{work.images / slow.median:,.0f}",
                f"{loading:.0%}",
                f"{work.images / fast.median:,.0f}",
                f"**{slow.median / fast.median:.2f}** ({slow.least / fast.least:.2f})",
                f"{work.goal}",
                f"{work.images / single.median:,.0f}",
                f"**{slow.median / single.median:.2f}** ({slow.least / single.least:.2f})",
                f"{slow.peak / 2**20:,.0f} and {fast.peak / 2**20:,.0f} MiB",
            ]
        )
    return table(rows)


def run_all(folder: Path) -> dict[str, dict[str, Lap]]:
    longer = 4 if choose("auto", "auto").device.type == "cuda" else 1  # where a step takes a millisecond
    return {name: race(name, WAYS, rounds, folder, turn * longer) for name, (rounds, turn) in TURNS.items()}


def count_operations(name: str, folder: Path) -> int:
    """Floating-point operations of the convolutions and matrix products of one step, with torch's own convolutions."""
    run = prepare(WORKS[name], "fp32", folder)
    with plain.torch_convolutions(), Counter() as counter:
        take_step(run, Totals())
    return int(counter.total)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch's flop counter knows of each operation; that one cannot follow gradients of gradients."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def best_product(dtype: torch.dtype, device: torch.device, rounds: int = 12) -> float:
    """Operations a second of the fastest of some matrix products; on a GPU with TF32, as its convolutions have it."""
    best, sizes = 0.0, [(1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 512), (8192, 512, 128)]
    if device.type == "cuda":
        sizes.append((8192, 8192, 8192))
    usual, torch.backends.cuda.matmul.allow_tf32 = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )
    for rows, inner, columns in sizes:
        one = torch.randn(rows, inner, device=device, dtype=dtype)
        other = torch.randn(inner, columns, device=device, dtype=dtype)

        def product(one: torch.Tensor = one, other: torch.Tensor = other) -> None:
            torch.mm(one, other)

        product()
        fastest = min(seconds(product, device) for _ in range(rounds))
        best = max(best, 2 * rows * inner * columns / fastest)
    torch.backends.cuda.matmul.allow_tf32 = usual
    return best


def limits(laps: dict[str, dict[str, Lap]], folder: Path) -> str:
    """How near a whole step comes to the best matrix product of the same precision."""
    precision = choose("auto", "auto")
    peaks = {way: best_product(dtype, precision.device) for way, dtype in _dtypes(precision.name).items()}
    rows = [["work", "GFLOP a step", *[f"{way}: GFLOP/s, share of the best product" for way in peaks], "goal"]]
    for name, work in WORKS.items():
        operations = count_operations(name, folder)
        shares = []
        for way, peak in peaks.items():
            rate = operations / laps[name]["fp32" if way == "fp32" else "auto"].median
            shares.append(f"{rate / 1e9:.0f}, **{rate / peak:.2f}**")
        rows.append([work.title, f"{operations / 1e9:.1f}", *shares, "" if work.share is None else f"{work.share}"])
    said = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {way}" for way, peak in peaks.items())
    return table(rows) + f"\nBest matrix product: {said}.\n"


def _dtypes(precision: str) -> dict[str, torch.dtype]:
    return {"bf16": torch.bfloat16, "fp32": torch.float32} if precision == "bf16" else {"fp32": torch.float32}


def start() -> str:
    """Whole processes, as a person meets them."""
    program = [sys.executable, "-m", "zerosum"]
    with tempfile.TemporaryDirectory() as place:
        once = [*program, "train", "digits", "--out", place, "--set", "steps=1", "--set", "scores.every=0"]
        commands = {
            "`zerosum --help`": ([*program, "--help"], 0.5),
            "`zerosum train digits`, one step": (once, 5.0),
        }
        rows = [["from the command to the end, warm files", "seconds (least)", "goal"]]
        for words, (command, goal) in commands.items():
            taken = [_process(command) for _ in range(4)][1:]
            rows.append([words, f"{statistics.median(taken):.2f} ({min(taken):.2f})", f"{goal}"])
    return table(rows)


def _process(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def flat_memory(folder: Path) -> str:
    """Resident memory along a run of the first work, in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from benchmarks.speed import resident_along; "
        "print(*resident_along(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    sizes = [int(size) / 2**20 for size in done.stdout.split()]
    rows = [["steps", *(str(step) for step in ALONG)], ["resident MiB", *(f"{size:,.0f}" for size in sizes)]]
    return table(rows)


ALONG = (20, 50, 100, 200, 400)


def resident_along(folder: Path) -> list[int]:
    from zerosum.engine.training.memory import reused_memory

    sizes = []
    with reused_memory():
        run = prepare(WORKS["dcgan-32"], "auto", folder)
        for done in range(1, ALONG[-1] + 1):
            take_step(run, Totals())
            if done in ALONG:
                pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))
    return sizes


def sampling(folder: Path) -> str:
    """Images a second made by a trained generator, and looked at by the classifier that scores use."""
    device = choose("auto", "auto").device
    rows = [["", "plain, images/s", "zerosum, images/s", "ratio"]]
    work = WORKS["cdcgan"]
    run = prepare(work, "auto", folder)
    generator = plain.dcgan_generator(work.side, 1, 128, work.latent, 10).to(device).eval()

    def plainly() -> None:
        with torch.no_grad():
            for _ in range(COUNT // work.batch):
                z = torch.randn(work.batch, work.latent, 1, 1, device=device)
                hot = torch.zeros(work.batch, 10, 1, 1, device=device)
                generator(z, hot).cpu()

    rows.append(
        _row("making images (`cdcgan`, with a seed each)", plainly, lambda: list(run.gan.batches(COUNT)), device)
    )
    network = Classifier(1, 28, (10,)).eval().to(device)
    extractor = Extractor("classifier", network, device, sizes=(10,))
    pixels, labels = digits()
    loader = DataLoader(plain.Pictures(list(pixels), labels.tolist(), 28), work.batch)

    def look_plainly() -> None:
        with torch.no_grad():
            for x, _ in loader:
                network(x.to(device))

    stack = torch.from_numpy(pixels)[:, None]
    rows.append(
        _row("looking at them (features of MNIST's classifier)", look_plainly, lambda: extractor.look(stack), device)
    )
    return table(rows)


def _row(words: str, slow: Callable[[], object], fast: Callable[[], object], device: torch.device) -> Row:
    times: dict[str, list[float]] = {"slow": [], "fast": []}
    for _ in range(4):
        times["slow"].append(seconds(slow, device))
        times["fast"].append(seconds(fast, device))
    one, other = (statistics.median(taken[1:]) for taken in times.values())
    return [words, f"{COUNT / one:,.0f}", f"{COUNT / other:,.0f}", f"**{one / other:.2f}**"]
