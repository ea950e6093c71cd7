"""Several processes train one run: torchrun starts them, on one machine or several; each has its share of a batch.

The first of them leads: it alone decides, scores and writes, and tells the others before every step what comes next.
All draw the noise of the whole batch and use their share of it, so that two processes do what one would have done.
Gradients are averaged in one flat all-reduce after each backward pass: DistributedDataParallel does so in hooks of the
backward pass, which miss what comes from gradients of gradients.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from zerosum.errors import Lost, ZerosumError, setting
from zerosum.progress import be_silent

#: what the leader says comes next: nothing, a step, or a state to take over
END, STEP, STATE = range(3)
#: seconds after which a process that does not answer is given up; the others wait as long for a score. $ZEROSUM_TIMEOUT
PATIENCE = 1800.0

Value = TypeVar("Value")


@contextmanager
def joined() -> Iterator[None]:
    """Among the processes that torchrun has started, if it has; a process of its own otherwise."""
    if not dist.is_available() or dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    patience = timedelta(seconds=float(os.environ.get("ZEROSUM_TIMEOUT", PATIENCE)))
    with _all_there():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=patience)
    if not leads():
        be_silent()
    try:
        yield
    finally:
        dist.destroy_process_group()


def size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if size() > 1 else 0


def leads() -> bool:
    return rank() == 0


def graphics_card() -> int:
    """The number of this process's GPU on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def share(batch: int) -> slice:
    """This process's part of a batch, of which each has as many; ZerosumError where that does not come out even."""
    if batch % size():
        less = batch - batch % size()
        raise ZerosumError(
            f"batch = {batch} cannot be shared evenly by {size()} processes: {setting('batch', less or size())}"
        )
    each = batch // size()
    return slice(rank() * each, (rank() + 1) * each)


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Each tensor becomes its mean over all processes, in place, with the same bits in all of them."""
    if size() == 1:
        return
    mine = list(tensors)
    flat = torch.cat([tensor.reshape(-1).float() for tensor in mine])
    with _all_there():
        dist.all_reduce(flat)
    flat /= size()
    for tensor, mean in zip(mine, torch.split(flat, [tensor.numel() for tensor in mine]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


@contextmanager
def leading() -> Iterator[None]:
    """Context for rank 0: on exit, also by an exception, it tells the other ranks to stop."""
    try:
        yield
    except Lost:
        raise
    except BaseException:
        with suppress(Lost):
            tell(END)
        raise
    tell(END)


def tell(order: int) -> None:
    """The leader says what comes next."""
    if size() > 1:
        with _all_there():
            dist.broadcast(torch.tensor(order), 0)


def listen() -> int:
    """What the leader says comes next."""
    order = torch.tensor(END)
    with _all_there():
        dist.broadcast(order, 0)
    return int(order)


def from_leader(value: Value) -> Value:
    """The leader's value, in every process."""
    if size() == 1:
        return value
    box = [value]
    with _all_there():
        dist.broadcast_object_list(box, 0)
    return box[0]


def in_turn(make: Callable[[], Value]) -> Value:
    """Calls `make` on rank 0, then on the other ranks, which find its caches. A failure on one ends all of them."""
    result: list[Value] = []
    for mine in (leads(), not leads()):
        failure: ZerosumError | None = None
        if mine:
            try:
                result.append(make())
            except ZerosumError as error:
                failure = error
        code = torch.tensor(failure.exit_code if failure else 0)
        if size() > 1:
            with _all_there():
                dist.all_reduce(code, dist.ReduceOp.MAX)
        if failure:
            raise failure
        if code:
            raise SystemExit(int(code))  # whom it happened to says what it was
    return result[0]


def led(make: Callable[[], Value]) -> Value:
    """Made by the leader alone, and the same in every process; if it fails, all end."""
    return from_leader(in_turn(lambda: make() if leads() else cast(Value, None)))


@contextmanager
def _all_there() -> Iterator[None]:
    """What torch raises once another process is gone or silent becomes a line that says what to do."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines() or [""]
        raise Lost(
            "another process of this training died or does not answer; the run goes on from its last checkpoint, with "
            f"any number of processes, by: zerosum resume RUN ({reason[0][:120]})"
        ) from None
