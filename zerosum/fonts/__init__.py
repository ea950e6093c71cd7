"""The font that comes with the package, so that names and charts look the same on every machine.

DejaVu Sans has Latin, Greek, Cyrillic, Hebrew and Arabic letters, most of which Pillow's own font lacks. Its licence
lies beside it.
"""

from pathlib import Path

DEJAVU = Path(__file__).with_name("DejaVuSans.ttf")
