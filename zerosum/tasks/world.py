"""The next frames of a recorded drive, from the last ones and what the driver does."""

from zerosum.data.pictures.drives import DriveSource
from zerosum.data.source import Source
from zerosum.engine.trained.pictures.world import WorldGan
from zerosum.metrics.pictures.driving import DrivingYardstick
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Measure
from zerosum.sections.data import Data
from zerosum.tasks.task import Task


class World(Task):
    """The generator goes on from frames that are given, and is told what is done."""

    kind = WorldGan

    def yardstick(self, data: Data, source: Source, held_out: Source | None, looking: Looking) -> Measure:
        if not isinstance(source, DriveSource):
            raise TypeError("a world is measured by a recorded drive")
        return DrivingYardstick(source, held_out if isinstance(held_out, DriveSource) else source)
