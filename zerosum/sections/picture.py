"""The data section of recipes for pictures: how files are read, and which picture is given to the generator."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from zerosum.schema import Part
from zerosum.sections.data import Data

#: data.input -> a name in zerosum.tasks
TASKS = {
    "none": "generation",
    "shrunk": "translation",
    "edges": "translation",
    "pair": "translation",
    "domains": "unpaired",
    "drive": "world",
}


class Drive(Part):
    """How a recording of a drive is read, and how much of it makes one clip; see zerosum.data.pictures.drives."""

    #: the CSV, by its name or its path inside the folder; None: every CSV there is
    table: str | None = None
    #: its columns: the frame's file, the time in seconds (None: frames follow each other without a gap), and what the
    #: driver did when the frame was taken, each from -1 to 1
    file: str = "file_name"
    time: str | None = "time"
    actions: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=16)] = ("steering", "throttle")
    #: the actions that change their sign in a mirror; the first is what obedience is measured by
    turns: Annotated[tuple[str, ...], Field(strict=False)] = ("steering",)
    #: frames that are given, and frames that follow them, in each clip
    frames: Annotated[int, Field(ge=1, le=16)] = 3
    ahead: Annotated[int, Field(ge=1, le=32)] = 8
    #: a condition beside frames and actions that stays the same during a drive. colour: mean and spread of each colour
    style: Literal["none", "colour"] = "colour"
    #: clips in which the driver turns are repeated until they are about this share of all
    turning: Annotated[float, Field(ge=0, le=0.9)] = 0.5


_MADE = (
    "The same held-out pictures every time: what is given, what the averaged generator makes of it, and the true "
    "images."
)
#: task -> what a picture of samples shows
SHOWN = {
    "translation": _MADE,
    "unpaired": "The same held-out pictures of each domain every time: as they are, as the averaged generators make "
    "ones of the other domain of them, and back again.",
    "world": "Film strips from the same held-out places every time: the recording, and below it what the averaged "
    "generator plays from its first frames with the same actions.",
}


def _renamed(value: Any) -> Any:
    """Recipes of earlier versions say pile."""
    return "domains" if value == "pile" else value


class PictureData(Data):
    """Pictures. Channels, classes and attribute names come from the data itself."""

    modality: Literal["picture"] = "picture"
    #: side in pixels at which the networks work; None takes the data's own
    resolution: Annotated[int, Field(ge=8, le=256)] | None = None
    #: 1, 3 or 4; None takes what the images have
    channels: Literal[1, 3, 4] | None = None
    #: mirror half of the images, left to right
    mirror: bool = False
    #: the picture that is given to the generator, with condition.method = given. shrunk: the image itself, factor times
    #: smaller; edges: its outlines; pair: its counterpart; domains: any picture of another domain; drive: the frames
    #: before it and what the driver did
    input: Annotated[Literal["none", "shrunk", "edges", "pair", "domains", "drive"], BeforeValidator(_renamed)] = "none"
    factor: Literal[2, 4, 8] = 4
    #: with input = drive
    drive: Drive = Drive()
    #: of a pair, the picture that the generator starts from
    given: Literal["A", "B"] = "A"
    #: the table beside pictures that holds their labels, by its name or its path inside the data; None: metadata.csv,
    #: metadata.jsonl, dataset.json or CelebA's list_attr, where there is one
    table: str | None = None
    #: values of the files that are black and white; None judges by all values of the set
    range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    #: follow links that lead out of the folder, and links to folders
    links: bool = False

    @property
    def task(self) -> str:
        return TASKS[self.input]

    @property
    def what_is_given(self) -> str:
        return "" if self.input == "none" else self.input

    @property
    def has_truth(self) -> bool:
        return self.task in ("translation", "world")

    @property
    def shown(self) -> str:
        return SHOWN.get(self.task, "")

    def problem(self, method: str, cycle: bool) -> str | None:
        if (method == "given") != (self.input != "none"):
            return (
                f"condition.method = {method} with data.input = {self.input}: a picture that is given to the generator "
                "needs both, method=given and an input"
            )
        if cycle != (self.task == "unpaired"):
            there = "with a part cycle" if cycle else "without a part cycle"
            return f"data.input = {self.input} {there}: two domains need both, and nothing else has either"
        return None

    @model_validator(mode="after")
    def _has_a_range(self) -> "PictureData":
        if self.range is not None and not -(2.0**63) < self.range[0] < self.range[1] < 2.0**63:
            raise ValueError(f"data.range = {list(self.range)}: should be [black, white], black below white")
        return self
