"""On what a run was trained."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zerosum.engine.training import parallel
from zerosum.engine.training.precision import Precision


def environment(precision: Precision) -> dict[str, Any]:
    """What ran: versions, machine, precision, and the commit if zerosum runs from a git checkout."""
    packages = ("zerosum", "torch", "numpy", "pillow", "safetensors")
    checkout = Path(__file__).parents[3]
    commit = None
    if (checkout / ".git").exists():
        try:
            done = subprocess.run(  # noqa: S603
                ["git", "-C", str(checkout), "rev-parse", "HEAD"],  # noqa: S607
                capture_output=True,
                text=True,
                check=False,
                timeout=10,
            )
            commit = done.stdout.strip() or None
        except (OSError, subprocess.TimeoutExpired):
            commit = None
    return {
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "commit": commit,
        "command": sys.argv,
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(precision.device) if precision.device.type == "cuda" else None,
        },
        "processes": parallel.size(),
        "device": str(precision.device),
        "precision": precision.name,
    }
