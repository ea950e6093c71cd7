"""The page of a study: claims, tables and pictures by setting."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.conftest import FID, HOSTILE, Page, ReadPage, write
from tests.reporting.test_run_page import assert_accessible, assert_standalone, pictures


def change(path: Path, **values: Any) -> None:
    write(path, json.loads(path.read_text()) | values)


def table_rows(page: Page, section: str) -> list[list[str]]:
    """The words of each row of a section's first table."""
    table = page.html[page.html.index(f'id="{section}"') :].split("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in table.split("<tr")[1:]]
    return [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in row] for row in rows]


def test_the_answer_comes_first(study_folder: Path, read_page: ReadPage) -> None:
    page = read_page(study_folder)
    assert_standalone(page)
    assert_accessible(page)
    pictures(page)
    text = page.text
    assert text.index("Does the width of the generator matter?") < text.index("The answer") < text.index("Settings and")
    assert "3 claims: 1 supported, 1 contradicted, 1 not decided." in text
    assert "✓ supported fid(wide) < fid(narrow)" in text
    assert "ratio 0.500 95 % interval 0.400 to 0.625 effect size −2.50" in text
    assert "seed 0 seed 1 fid(wide) 8.25 9 fid(narrow) 12.5 11.5 the interval lies below 1" in text
    assert "? not decided, points as expected" in text
    assert "difference 1.25 value seed 0" in text  # neither interval nor effect
    assert "✗ contradicted" in text and "difference 0.300 95 % interval 0.250 to 0.350 effect size 6" in text
    assert sum(drawing.get("class") == "forest" for drawing in page.all("svg")) == 2
    assert "The quick form" in text and "Budget: a minute" in text


def test_settings_with_mean_spread_best_and_floor(study_folder: Path, read_page: ReadPage) -> None:
    page = read_page(study_folder)
    assert "all settings recipe digits wide generator.width = 16 wider generator.width = 32" in page.text
    rows = table_rows(page, "settings-head")
    assert rows[0][:4] == ["setting", "runs", "seconds of a run", f"{FID} less is better"]
    assert rows[1][:4] == ["narrow", "2 of 2", "2.50 ± 0.71", "12 ± 0.71"]
    assert rows[2][:4] == ["wide", "2 of 2", "4", "8.25 (best mean)"]
    assert rows[3][:4] == ["wider", "0 of 2", "–", "–"]
    assert rows[4][0] == "real samples (floor)" and re.fullmatch(r"[\d.,]+", rows[4][3])
    # equal means: none is the best
    assert [row[4] for row in rows[1:4]] == ["0.500 ± 0", "0.500", "–"]


def test_scores_of_claims_and_the_main_ones_come_first(study_folder: Path, read_page: ReadPage) -> None:
    results = json.loads((study_folder / "results.json").read_text())
    kinds = ("memorised", "fid", "kid", "precision", "recall", "density", "coverage", "diversity", "accuracy")
    for run in results["runs"]:
        run["scores"] = {f"{kind}50@random": 0.5 for kind in kinds}
    change(study_folder / "results.json", runs=results["runs"])
    page = read_page(study_folder)
    heads = [head.partition("50")[0] for head in table_rows(page, "settings-head")[0][3:]]
    assert heads == ["fid", "diversity", "accuracy", "precision", "recall"]  # a claim asks for the second
    folded = page.html[page.html.index("The other scores") :]
    assert all(f"{kind}50@random</code>" in folded for kind in ("memorised", "kid", "density", "coverage"))


def test_samples_side_by_side(study_folder: Path, read_page: ReadPage) -> None:
    (study_folder / "runs" / "00002-wide-0" / "samples" / "000002.png").unlink()
    page = read_page(study_folder)
    frames = [a["id"] for _, a in page.tags if "frame" in a.get("class", "").split()]
    assert frames == ["step-0", "step-4", "step-6"]  # what both settings have
    alts = [image["alt"] for image in page.all("img")]
    assert alts[:2] == ["narrow: generated samples after 0 steps", "wide: generated samples after 0 steps"]


def test_small_multiples_share_their_axes(study_folder: Path, read_page: ReadPage) -> None:
    page = read_page(study_folder)
    part = page.html[page.html.index('id="course-head"') : page.html.index('id="runs-head"')]
    charts = part.split("<figure")[1:]
    assert len(charts) == 6  # losses, outputs and the first score, of two settings
    ticks = [re.findall(r'<text x="-7"[^>]*>(.*?)</text>', chart) for chart in charts]
    assert ticks[0] == ticks[1] and ticks[2] == ticks[3] and ticks[4] == ticks[5]
    assert charts[0].count('class="curve tone0"') == 2 and charts[1].count('class="curve tone0"') == 1


def test_runs_what_is_missing_and_the_machine(study_folder: Path, read_page: ReadPage) -> None:
    page = read_page(study_folder)
    rows = table_rows(page, "runs-head")
    assert [row[:3] for row in rows[1:]] == [
        ["narrow", "0", "finished"],
        ["narrow", "1", "finished"],
        ["wide", "0", "finished"],
        ["wide", "1", "diverged"],
    ]
    links = {link["href"] for link in page.all("a")}
    assert links == {f"#{a['id']}" for a in page.all("details") if "id" in a}
    assert "There is no run folder runs/00003-wide-1 in the study." in page.text
    assert "Not trained wider, seed 0 wider, seed 1" in page.text
    assert "training time 9 s" in page.text
    assert page.text.count("device cpu") == 1


def test_scores_made_in_different_ways_are_not_put_side_by_side(study_folder: Path, read_page: ReadPage) -> None:
    path = study_folder / "runs" / "00002-wide-0" / "scores.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line | {"stamp": {"seed": 1}}) + "\n" for line in lines))
    page = read_page(study_folder)
    assert "their stamps differ" in page.text
    assert FID not in " ".join(table_rows(page, "settings-head")[0])


def test_a_study_that_has_only_begun(study_folder: Path, read_page: ReadPage) -> None:
    (study_folder / "results.json").unlink()
    page = read_page(study_folder)
    assert_standalone(page)
    assert_accessible(page)
    for words in ("There are no results yet", "3 not decided", "No run has been made yet", "narrow, seed 0"):
        assert words in page.text


def test_a_search(study_folder: Path, read_page: ReadPage) -> None:
    trials = [
        {"setting": "trial-0", "set": {"optimizer.lr": 0.01}, "value": 9.0, "status": "finished"},
        {"setting": "trial-1", "set": {"optimizer.lr": 0.1}, "value": None, "status": "pruned"},
        {"setting": "trial-2", "set": {"optimizer.lr": 0.001}, "value": 7.5, "status": "finished"},
    ]
    search = {"by": "fid", "better": "less", "best": "trial-2", "trials": trials}
    change(study_folder / "results.json", search=search)
    text = read_page(study_folder).text
    assert (
        "fid status trial-2 optimizer.lr = 0.001 7.50 finished trial-0 optimizer.lr = 0.01 9 finished trial-1" in text
    )


@pytest.mark.parametrize("name", ["plan.json", "results.json"])
@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"settings": 3, "runs": [3, {}], "claims": "x", "seeds": {}}', "null"]
)
def test_damaged_files(study_folder: Path, read_page: ReadPage, name: str, content: str) -> None:
    (study_folder / name).write_text(content)
    page = read_page(study_folder)
    assert_standalone(page)
    assert_accessible(page)


def test_strange_values(study_folder: Path, read_page: ReadPage) -> None:
    runs = [
        {"setting": None, "seed": [], "folder": 3, "scores": {FID: "low", "x": 1e400}},
        {"setting": "narrow", "seed": 0, "folder": "../../..", "seconds": "long", "scores": [1]},
        {"setting": "wide", "seed": 0, "folder": "runs/00002-wide-0\u0000"},
    ]
    claims = [{"say": 3, "verdict": ["supported"], "interval": [1, 2, 3], "difference": "x", "values": {"a": {"b": 1}}}]
    change(study_folder / "results.json", runs=runs, claims=claims, search={"trials": [{"set": 3}], "by": HOSTILE})
    page = read_page(study_folder)
    assert_standalone(page)
    assert_accessible(page)
    assert "There is no run folder ../../.. in the study" in page.text
    assert f"Settings by {HOSTILE}" in page.text


def test_names_and_words_are_text(study_folder: Path, read_page: ReadPage) -> None:
    for name in ("plan.json", "results.json"):
        path = study_folder / name
        path.write_text(path.read_text().replace('"narrow"', json.dumps(HOSTILE)).replace("is better", HOSTILE[:9]))
    change(study_folder / "plan.json", about=HOSTILE, budget=HOSTILE)
    page = read_page(study_folder)
    assert_standalone(page)
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 5
