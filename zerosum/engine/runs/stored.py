"""What a run folder gives to somebody who comes back to it: its data and generator, and whether it may go on."""

from pathlib import Path

from torch import nn

from zerosum.data.source import Source
from zerosum.data.spec import Spec
from zerosum.engine.runs.checkpoint import load_generator, weights_size
from zerosum.engine.runs.environment import environment
from zerosum.engine.runs.files import is_count, read_json
from zerosum.engine.runs.reading import pick, stored_recipe
from zerosum.engine.trained.gan import Gan
from zerosum.engine.training import parallel
from zerosum.engine.training.precision import Precision, choose
from zerosum.engine.training.threads import settled
from zerosum.errors import ZerosumError, at_door, option, setting
from zerosum.modalities import parse_spec
from zerosum.progress import note
from zerosum.recipe import Recipe
from zerosum.tasks import task_of

#: recipe keys that a resumed run may change, because they do not change what has been trained so far
RESUMABLE = (
    *("steps", "tick", "snapshot", "checkpoint", "keep", "deterministic", "cuda_graphs", "threads"),
    *("data.uri", "data.memory", "name", "about"),
)
RESUMABLE_PARTS = ("scores.", "diagnosis.")


def stored_spec(folder: Path) -> Spec:
    values = read_json(folder / "data.json")
    try:
        return parse_spec(values)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
        raise ZerosumError(f"{folder / 'data.json'}: does not describe data: {said[:200]}") from None


def stored_gan(folder: Path, generator: nn.Module | None = None, checkpoint: str = "last") -> Gan:
    """The averaged generator of a run folder, ready to sample. See `zerosum.load`."""
    recipe, spec = stored_recipe(folder), stored_spec(folder)
    path = pick(folder / "checkpoints", checkpoint)
    task = task_of(recipe)
    network = generator if generator is not None else task.make_generator(recipe, spec, weights_size(path))
    load_generator(network, path)
    device = choose("fp32", recipe.device if recipe.device == "cpu" else "auto").device
    network.eval().to(device=device, memory_format=spec.sample.layout)  # type: ignore[call-overload]
    return task.gan(recipe, network, spec, device)


def check_same(folder: Path, recipe: Recipe, source: Source) -> None:
    """ZerosumError with the differences if a run would go on under another recipe or on other data."""
    stored = stored_recipe(folder)
    changed = {
        key: pair
        for key, pair in stored.differences(recipe).items()
        if key not in RESUMABLE and not key.startswith(RESUMABLE_PARTS)
    }
    if changed:
        listed = "; ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in changed.items())
        changes = ["..."] if len(changed) > 3 else [setting(key, new) for key, (_, new) in changed.items()]
        command = at_door(
            f"zerosum train {folder / 'recipe.yaml'} --init-from {folder} {' '.join(changes)}",
            f'zs.train("{folder / "recipe.yaml"}", init_from="{folder}", {", ".join(changes)})',
        )
        raise ZerosumError(
            f"{folder} cannot go on under another recipe: {listed}. To go on, leave that as it was; a new run with "
            f"these weights: {command}"
        )
    values = read_json(folder / "data.json")
    if values.get("fingerprint") != source.fingerprint:
        then = str(values.get("images"))[:20]
        counts = f"{then} samples then, {len(source)} now"
        counts = f"{then} samples as before, but others" if then == str(len(source)) else counts
        raise ZerosumError(
            f"{folder} cannot go on: the data has changed since ({counts}). Give the data that it was trained on with "
            f"{option('data')}, or begin a new run with its weights, {option('init-from')}"
        )


def stored_threads(folder: Path) -> int | None:
    """With how many threads a run was trained last; None if that is unknown, or if several processes train it."""
    before = read_json(folder / "environment.json")
    machine = before.get("machine")
    count = machine.get("threads") if isinstance(machine, dict) else None
    alone = before.get("processes", 1) == 1 and parallel.size() == 1
    return count if alone and isinstance(count, int) and is_count(count) and count >= 1 else None


def warn_of_changes(folder: Path, recipe: Recipe, precision: Precision) -> None:
    """Notes differences (versions, threads, device) with which a resumed run is not the same to the last bit."""
    before, now = read_json(folder / "environment.json"), environment(precision)
    versions, machine = (part if isinstance(part := before.get(key), dict) else {} for key in ("versions", "machine"))
    threads = settled(recipe, stored_threads(folder), now["machine"]["threads"])
    changed = [
        f"{name} was {str(old)[:40]}, is {new}"
        for name, old, new in (
            ("torch", versions.get("torch"), now["versions"]["torch"]),
            ("the processor's capability", machine.get("capability"), now["machine"]["capability"]),
            ("the number of threads", machine.get("threads"), threads),
            ("the number of processes", before.get("processes", 1), now["processes"]),
            ("precision", before.get("precision"), now["precision"]),
            ("device", before.get("device"), now["device"]),
        )
        if old != new
    ]
    if changed:
        note(f"{folder} goes on, but not to the last bit as it would have: {'; '.join(changed)}")
