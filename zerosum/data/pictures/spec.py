"""What a set of pictures is: `PictureSpec`, and the picture that is a condition: `Input`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from zerosum.data.shape import Shape
from zerosum.data.spec import Spec, parse_labels

#: pixels on a side that images of a run have at most
MOST_SIDE = 4096
#: channels that a picture which is a condition has at most, and how many times wider than high images are
MOST_CHANNELS, MOST_WIDE = 256, 8


def parse_range(values: Mapping[str, Any]) -> tuple[float, float]:
    """From JSON: ValueError or TypeError for what is no range of values."""
    low, high = map(float, values.get("range", (0.0, 255.0)))
    if not -(2.0**63) < low < high < 2.0**63:
        raise ValueError(f"values from {low:g} to {high:g}")
    return low, high


@dataclass(frozen=True)
class Input:
    """The picture that is a condition: (N, channels, height / factor, width / factor) float32 in [-1, 1]."""

    channels: int
    factor: int = 1
    #: of a drive, see zerosum.data.pictures.drives: frames that are given, frames that follow them, the names of the
    #: driver's actions, and how many numbers tell the style
    frames: int = field(default=0, repr=False)
    ahead: int = field(default=0, repr=False)
    actions: tuple[str, ...] = field(default=(), repr=False)
    style: int = field(default=0, repr=False)
    #: values of its files that became -1 and 1
    range: tuple[float, float] = field(default=(0.0, 255.0), repr=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Input":
        """As `Spec.parse`."""
        frames, ahead, style = (int(values.get(key, 0)) for key in ("frames", "ahead", "style"))
        actions = tuple(map(str, values.get("actions", ())))
        channels, factor = int(values["channels"]), int(values.get("factor", 1))
        result = cls(channels, factor, frames, ahead, actions, style, parse_range(values))
        if not (1 <= result.channels <= MOST_CHANNELS and 1 <= result.factor <= MOST_SIDE):
            raise ValueError(f"a condition of {result.channels} channels, {result.factor} times smaller")
        if min(frames, ahead, style) < 0 or (frames == 0) != (ahead == 0):
            raise ValueError(f"{frames} frames with {ahead} ahead")
        if frames and result.channels not in (n * frames + len(actions) * ahead + style for n in (1, 3, 4)):
            raise ValueError(f"{frames} frames, {ahead} ahead, in {result.channels} channels")
        return result

    def plain(self) -> dict[str, Any]:
        values = asdict(self)
        return values | {"actions": list(self.actions), "range": list(self.range)}


@dataclass(frozen=True, repr=False)
class PictureSpec(Spec):
    """A spec whose samples are pictures, or clips of frames one behind the other; `of` makes one."""

    def __repr__(self) -> str:
        # the fingerprints of runs are of this text
        said: dict[str, Any] = {"channels": self.channels, "resolution": self.resolution, "native": self.native}
        said |= {"labels": self.labels, "combinations": self.combinations, "counts": self.counts}
        return f"Spec({', '.join(f'{name}={value!r}' for name, value in said.items())})"

    @classmethod
    def of(
        cls,
        channels: int,
        resolution: int,
        native: int | None = None,
        labels: Mapping[str, tuple[str, ...]] | None = None,
        combinations: tuple[tuple[int, ...], ...] = (),
        counts: tuple[int, ...] = (),
        given: Input | None = None,
        wide: int = 1,
        values: tuple[float, float] = (0.0, 255.0),
    ) -> Self:
        """resolution: side of the square at which networks work, in pixels. native: side at which samples come out, the
        data's own, or the resolution where that is smaller or pictures differ in size. wide: how many times wider than
        high pictures are; resolution and native are their heights. values: those of the files that became -1 and 1.
        """
        native = resolution if native is None else native
        facts = {"channels": channels, "native": native, "range": list(values)}
        sample = Shape({"channel": channels, "height": resolution, "width": resolution * wide})
        spec = cls("picture", sample, dict(labels or {}), combinations, counts, facts=facts)
        return spec if given is None else spec.with_input(given)

    def with_input(self, given: Input) -> Self:
        """The same with a picture as the condition; of a drive, samples are then clips."""
        height, width = self.resolution, self.resolution * self.wide
        shape = Shape({"channel": given.channels, "height": height // given.factor, "width": width // given.factor})
        planes = self.channels * (given.ahead or 1)
        return replace(
            self,
            sample=Shape({"channel": planes, "height": height, "width": width}),
            given=shape,
            actions=given.actions,
            facts={**self.facts, "input": given.plain()},
        )

    def ranged(self, values: tuple[float, float]) -> Self:
        """The same, of files whose values these are."""
        return replace(self, facts={**self.facts, "range": list(values)})

    @property
    def channels(self) -> int:
        """Of one picture."""
        return int(self.facts["channels"])

    @property
    def planes(self) -> int:
        """Channels of what a generator makes: of one picture, or of a clip of frames one behind the other."""
        return self.sample.axes["channel"]

    @property
    def resolution(self) -> int:
        """Height at which networks work, in pixels."""
        return self.sample.axes["height"]

    @property
    def native(self) -> int:
        """Height at which samples come out."""
        return int(self.facts["native"])

    @property
    def wide(self) -> int:
        """How many times wider than high pictures are."""
        return self.sample.axes["width"] // self.resolution

    @property
    def range(self) -> tuple[float, float]:
        """Values of the files that became -1 and 1."""
        return parse_range(self.facts)

    @property
    def input(self) -> Input | None:
        """The picture that is the condition, where it is one."""
        values = self.facts.get("input")
        return None if values is None else Input.parse(values)

    @property
    def size(self) -> str:
        return f"{self.channels}x{self.native}x{self.native * self.wide}"

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """From JSON, also that of earlier versions, which knew pictures only."""
        if "modality" not in values:
            facts = values
            resolution, wide = int(values["resolution"]), int(values.get("wide", 1))
        else:
            facts, axes = values["facts"], values["sample"]["axes"]
            resolution = int(axes["height"])
            wide = int(axes["width"]) // max(1, resolution)
        channels, native, found = int(facts["channels"]), int(facts["native"]), facts.get("input")
        if not 1 <= wide <= MOST_WIDE:
            raise ValueError(f"images {wide} times wider than high")
        if channels not in (1, 3, 4) or not 1 <= native <= resolution <= MOST_SIDE:
            raise ValueError(f"images of {channels}x{resolution}x{resolution} from {native}")
        given = None if found is None else Input.parse(found)
        spec = cls.of(channels, resolution, native, *parse_labels(values), given, wide, parse_range(facts))
        if "modality" in values and spec.sample != Shape.parse(values["sample"]):
            raise ValueError(f"samples of {values['sample']['axes']} that do not fit the facts")
        return spec


def pictured(spec: Spec) -> PictureSpec:
    """A spec of pictures."""
    if not isinstance(spec, PictureSpec):
        raise TypeError(f"a spec of {spec.modality}, where pictures are meant")
    return spec
