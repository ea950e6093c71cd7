"""Pictures from pictures that have a true counterpart: sharpened, from outlines, from pairs."""

from zerosum.data.source import Source
from zerosum.engine.trained.pictures.painter import Painter
from zerosum.errors import ZerosumError
from zerosum.metrics.pictures.extractors import choose_extractor
from zerosum.metrics.pictures.paired import PairedYardstick
from zerosum.metrics.request import Looking
from zerosum.metrics.result import Measure
from zerosum.sections.data import Data
from zerosum.tasks.task import Task


class Translation(Task):
    """The generator starts from a picture whose true counterpart is known."""

    kind = Painter

    def yardstick(self, data: Data, source: Source, held_out: Source | None, looking: Looking) -> Measure:
        """Images are made of the held-out pictures, in their order.

        auto: texture features, since a blur is what goes wrong where the picture says what is to be seen. Raises
        ZerosumError for features = classifier: labels say nothing of sharpness.
        """
        if looking.features == "classifier":
            raise ZerosumError(
                "features = classifier: images made from pictures have no labels; use texture, random or Inception"
            )
        chosen = "texture" if looking.features == "auto" else looking.features
        extractor = choose_extractor(chosen, source.spec, looking.device, looking.inception)
        return PairedYardstick.of(source, held_out, extractor)
