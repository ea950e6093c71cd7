"""Memory of one training step is kept for the next."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: from <malloc.h> of the GNU C library
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER, USUAL = 2**30, 2**25


@contextmanager
def reused_memory() -> Iterator[None]:
    """While it lasts, what is freed stays with the process, which then needs no new pages for the next step.

    Returning large blocks and taking them back costs the kernel's zeroing of every page: about a tenth of a step of a
    small DCGAN. Does nothing where the C library is not GNU's.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt, trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
    if mallopt is None or trim is None:
        yield
        return
    if not mallopt(M_MMAP_THRESHOLD, NEVER):
        mallopt(M_MMAP_THRESHOLD, USUAL)  # older versions allow no more
    mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        mallopt(M_MMAP_THRESHOLD, USUAL)
        mallopt(M_TRIM_THRESHOLD, 2 * USUAL)
        trim(0)
