"""What the engine asks of a kind of data: `Modality`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor

from zerosum.data.source import Source, check_source
from zerosum.data.spec import Spec
from zerosum.errors import ZerosumError, option
from zerosum.metrics.extractor import Extractor
from zerosum.metrics.extras import Extra
from zerosum.metrics.request import Drawer, Looking, Request
from zerosum.metrics.result import Scores
from zerosum.sections.data import Data

#: endings that an error names
FEW = 4

#: samples that are drawn, with their labels (N, attributes) or None, in batches
Drawn = Iterable[tuple[Tensor, Tensor | None]]


class Modality:
    """A kind of data. Samples are float32 tensors (N, *lengths of the spec's `sample`) wherever nothing else is said.

    A new one is a subclass in a file of its own, with `open`, `show`, `write` and `extractor` at least, and its
    entries in zerosum.modalities.MODALITIES and zerosum.sections.SECTIONS.
    """

    name: ClassVar[str]
    #: what samples are called in messages
    plural: ClassVar[str] = "samples"
    #: samples in each row of a picture of samples, and rows where there are no labels
    columns: ClassVar[int] = 10
    lines: ClassVar[int] = 8
    #: files that `write` makes, the first by choice
    endings: ClassVar[tuple[str, ...]]
    #: whether single samples are pictures, so that ways between latents can be shown as some in a row
    shows_ways: ClassVar[bool] = False
    #: whether generated samples may be shown beside the training samples nearest to them
    shows_pairs: ClassVar[bool] = False

    def takes(self, path: Path) -> bool:
        """Whether a file of this name holds such samples and no others."""
        return False

    def parse(self, values: dict[str, Any]) -> Spec:
        """The spec that data.json describes. Raises as `Spec.parse`, also for facts that are none."""
        return Spec.parse(values)

    def open(self, data: Data, labelled: bool = True, split: str = "train") -> tuple[Source, list[str]]:
        """The source that a recipe names, and one line for each thing worth telling.

        labelled: read the labels too. split: train, or test for what is held out. Raises ZerosumError for anything that
        is not there or cannot be learnt from, and NoTestSplit where nothing is held out.
        """
        raise ZerosumError(
            f"data of the modality {self.name} is handed over from Python: zs.train(source=zs.make_source(...))"
        )

    def open_labelled(self, data: Data) -> tuple[Source, list[str]]:
        """As `open`, without labels where none can be read, which a line then says."""
        return self.open(data)

    def held_out(self, data: Data, spec: Spec) -> Source | None:
        """What is held out of data that was opened with this spec, described as it is; None where nothing is."""
        raise NotImplementedError

    def truth(self, data: Data, source: Source) -> tuple[Source, Source | None]:
        """The real samples that scores compare with, as they come out, and those of them that are held out."""
        return source, self.held_out(data, source.spec)

    def check(self, source: Source) -> None:
        """ZerosumError unless training can learn from a source of such samples."""
        check_source(source)

    def finished(self, samples: Tensor, spec: Spec) -> Tensor:
        """Samples as they come out, (N, ...): what `Gan.sample` returns."""
        return samples

    def scored(self, finished: Tensor, spec: Spec) -> Tensor:
        """Finished samples as files would hold them, so that files and generators get the same scores."""
        return finished

    def decode(self, finished: Tensor, spec: Spec) -> Any:
        """Finished samples as Python programs know them."""
        return finished.numpy()

    def show(self, finished: Tensor, names: list[str], across: int, spec: Spec, real: Tensor | None) -> Image.Image:
        """A picture of samples, row by row, `across` samples in each.

        names: of the rows. real: as many real samples, to be shown beside them or not.
        """
        raise NotImplementedError

    def write(self, drawn: Drawn, count: int, spec: Spec, path: Path) -> None:
        """Writes `count` finished samples into one file. Raises ZerosumError for another ending than `endings`."""
        raise NotImplementedError

    def write_one(self, finished: Tensor, spec: Spec, path: Path) -> None:
        """A single finished sample (1, ...) into a file of the first ending."""
        self.write([(finished, None)], 1, spec, path)

    def check_path(self, path: Path) -> None:
        """ZerosumError for a file that `write` does not make."""
        if path.suffix.lower() not in self.endings:
            raise ZerosumError(
                f"{path}: {self.plural} are written as {', '.join(self.endings[:FEW])}: choose such a name with "
                f"{option('out')}"
            )

    def extractor(self, training: Any, testing: Any, data: Data | None, looking: Looking) -> Extractor:
        """What looks at samples for the general scores.

        training, testing: `Reals`, to learn features from and to see how good they are. data: the recipe's section
        where it is known. Raises ZerosumError for features that these samples cannot have.
        """
        raise NotImplementedError

    def reading(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """How samples are read for scores: values of the data section by their keys without "data.".

        Raises ZerosumError for keys that say nothing of it.
        """
        if overrides:
            raise ZerosumError(
                f"'{next(iter(overrides))}' says nothing of how {self.plural} are read for scores: leave it out"
            )
        return {}

    def score_drawn(
        self, drawer: Drawer, data: Data | None, source: Source | None, real: Any, asked: Request
    ) -> Scores:
        """Of a trained generator. data, source: what it learnt from. real: what it is compared with instead."""
        raise NotImplementedError

    def open_alike(self, real: Any, data: Data | None, spec: Spec) -> Source:
        """Other real samples, described by this spec. Raises ZerosumError for what they cannot be read from."""
        raise ZerosumError(
            f"real samples of the modality {self.name} are handed over as a source: real=make_source(...)"
        )

    def score_piles(self, fake: Any, real: Any, asked: Request) -> Scores:
        """Of samples that any program made."""
        raise ZerosumError(f"{self.plural} of other programs cannot be scored")

    def show_pairs(self, pairs: Tensor) -> Image.Image:
        """A picture of generated samples, each with the training sample nearest to it: (pairs, 2, ...), as scored."""
        raise NotImplementedError

    def extras(self, spec: Spec) -> list[Extra]:
        """Fresh tallies of the scores that such samples have beyond the general ones."""
        return []

    def stamp(self, spec: Spec) -> dict[str, Any]:
        """What scores of such samples depend on beside the network and the real samples."""
        return {"shape": str(spec.sample)}
