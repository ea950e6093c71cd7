"""The core knows nothing of pictures and of games: those words stand in rooms of their own."""

import re
from pathlib import Path

import pytest

import zerosum

ROOT = Path(zerosum.__file__).parent

#: rooms of pictures, and what draws pages and charts for people
PICTURES = (
    *(
        "modalities/picture.py",
        "sections/picture.py",
        "data/pictures/",
        "metrics/pictures/",
        "engine/trained/pictures/",
    ),
    *(f"networks/{name}.py" for name in ("dcgan", "directions", "operators", "patch", "resnet", "srresnet", "unet")),
    "networks/world.py",
    *("charts.py", "plots.py", "reporting/embed.py", "data/rows_drawing.py"),
    "data/shape.py",  # the one place that says how samples lie in memory
)
#: rooms that ask which game is played, or say it: tasks, the sections that name them, and pictures' own
GAMES = ("tasks/", "sections/", *PICTURES)
PICTURE_WORDS = re.compile(r"\bchannels\b|\bpixels?\b|\bPNG\b|127\.5|channels_last")
GAME_WORDS = re.compile(
    r"data\.input|condition\.method *[!=]=|condition\.method not in|condition\.method in"
    r"|isinstance\([^()]*\b(Painter|Translator|WorldGan|DriveSource|DomainSource|PairSource)\b"
)


def found(words: re.Pattern[str], rooms: tuple[str, ...], texts: dict[str, str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        if not name.startswith(rooms)
        for number, line in enumerate(text.splitlines(), 1)
        if words.search(line)
    ]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    files = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
    assert {"games/step.py", "engine/training/loop.py", "data/source.py"} <= files.keys()
    return {name: path.read_text(encoding="utf-8") for name, path in files.items()}


def test_no_word_of_pictures(texts: dict[str, str]) -> None:
    assert found(PICTURE_WORDS, PICTURES, texts) == []


def test_no_branch_on_the_game(texts: dict[str, str]) -> None:
    assert found(GAME_WORDS, GAMES, texts) == []


@pytest.mark.parametrize("room", PICTURES)
def test_rooms_that_are_let_out_are_there(room: str, texts: dict[str, str]) -> None:
    assert any(name.startswith(room) for name in texts)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (PICTURE_WORDS, "x = pixels.float() / 127.5 - 1"),
        (PICTURE_WORDS, "network.to(memory_format=torch.channels_last)"),
        (GAME_WORDS, 'if recipe.data.input == "drive":'),
        (GAME_WORDS, "if isinstance(gan, Painter | WorldGan):"),
        (GAME_WORDS, 'if recipe.condition.method == "given":'),
    ],
)
def test_a_wrong_line_would_be_found(words: re.Pattern[str], line: str) -> None:
    assert len(found(words, ("data/pictures/",), {"engine/runs/run.py": line, "data/pictures/a.py": line})) == 1
