"""The page of a run: all that it shows, of whole folders and of damaged ones."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import zerosum as zs
from tests.conftest import Call, OwnGenerator, tiny_recipe, tiny_source
from tests.reporting.conftest import HOSTILE, Page, ReadPage
from zerosum.errors import ZerosumError
from zerosum.reporting import embed, run_page


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(zs.report(finished, tmp_path_factory.mktemp("page")))


def pictures(page: Page) -> list[Image.Image]:
    """Every picture of the page, decoded."""
    found: list[Image.Image] = []
    for image in page.all("img"):
        start, data = image["src"].split(",", 1)
        assert start == "data:image/webp;base64"
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        decoded.load()
        assert (str(decoded.width), str(decoded.height)) == (image["width"], image["height"])
        found.append(decoded)
    return found


def assert_standalone(page: Page) -> None:
    """Nothing on the page leads out of it, and its policy allows nothing else."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "poster", "action", "background", "xlink:href"):
            assert re.match(r"#|data:", attributes.get(name, "#")), (tag, attributes)
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert "url(" not in page.html and "@import" not in page.html
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


def assert_accessible(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert all(len(image["alt"]) > 5 for image in page.all("img"))
    assert all(
        drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in page.all("svg") if "role" in drawing
    )
    heads = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert heads[0] == 1 and heads.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(heads, heads[1:], strict=False))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for reference in [label["for"] for label in page.all("label")] + [
        section["aria-labelledby"] for section in page.all("section")
    ]:
        assert reference in ids


def test_the_page_stands_alone_and_can_be_read_by_all(page: Page) -> None:
    assert_standalone(page)
    assert_accessible(page)
    assert len(page.html) < 5_000_000
    style = page.html[page.html.index("<style>") : page.html.index("</style>")]
    assert "@media print" in style and "prefers-color-scheme: dark" in style and "@page" in style


def test_what_was_trained(page: Page) -> None:
    assert page.all("title") and "00000-tiny · zerosum" in page.text
    for words in (
        "Modern conditional GAN, digits of scikit-learn (8x8): trained for 6 steps",
        "on 1,498 images of 1x8x8 from digits",
        "finished",
        "real images seen 48",
        "device cpu precision fp32",
        "Losses say who is winning",
        "The diagnosis found nothing wrong.",
    ):
        assert words in page.text


def test_settings_that_differ_from_the_recipe_are_marked(page: Page) -> None:
    rows = page.html[page.html.index('id="settings-head"') :].split("<tr")
    marked = {re.findall(r"<code>(.*?)</code>", row)[0]: row for row in rows if "<mark>" in row}
    assert {"steps", "batch", "generator.width", "critic.width", "scores.features", "precision"} <= set(marked)
    assert "<mark>8</mark>" in marked["batch"] and ">64</td>" in marked["batch"]
    assert not {"objective", "name", "about", "optimizer.lr"} & set(marked)
    assert "objective: non-saturating" in page.text  # in the whole recipe


def test_samples_in_order_with_the_real_images(page: Page) -> None:
    frames = [attributes["id"] for _, attributes in page.tags if "frame" in attributes.get("class", "").split()]
    assert frames == ["step-0", "step-2", "step-4", "step-6"]
    (slider,) = page.all("input")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "3")
    assert "Generated samples after 6 steps" in page.html and "Real samples of digits" in page.html
    assert len(pictures(page)) >= 4 + 1 + 1  # the frames, the real samples, the ways between latents


def test_scores_with_floor_and_stamp(page: Page) -> None:
    for words in ("fid50@random", "diversity50@random", "less is better", "Stamp:", "At step 6."):
        assert words in page.text
    charts = [drawing["aria-label"] for drawing in page.all("svg") if "data-chart" in drawing]
    assert any(label.startswith("Losses, over steps 1 to 6: critic from") for label in charts)
    assert any(label.startswith("Critic's mean output") for label in charts)
    assert any(label.startswith("fid50@random, over steps 3 to 6") and "real samples get" in label for label in charts)


def test_ways_between_latents(finished: Path, page: Page) -> None:
    (shown,) = [image for image in page.all("img") if image["alt"].startswith("Each row of generated samples leads")]
    with Image.open(finished / "ways.png") as drawn:
        assert (shown["width"], shown["height"]) == (str(drawn.width), str(drawn.height))
    assert "along a great circle from one latent to another" in page.text
    assert "each column one latent" in page.text  # of the samples, which have a row for each label


def test_findings_with_evidence_and_advice(run_folder: Path, read_page: ReadPage) -> None:
    line = {
        "step": 4,
        "finding": "critic_ahead",
        "evidence": "its loss is 0.01",
        "advice": "Try a penalty",
        "action": "warn",
    }
    (run_folder / "findings.jsonl").write_text(json.dumps(line) + "\n")
    page = read_page(run_folder)
    assert "Critic ahead at step 4" in page.text
    assert "Evidence: its loss is 0.01." in page.text and "Advice: Try a penalty." in page.text


def test_a_run_without_a_diagnosis(run_folder: Path, read_page: ReadPage) -> None:
    (run_folder / "evidence.jsonl").unlink()
    assert "No diagnosis was made" in read_page(run_folder).text


def test_learning_rates_that_change_are_drawn(run_folder: Path, read_page: ReadPage, page: Page) -> None:
    assert "Learning rates" not in page.text
    lines = [json.loads(line) for line in (run_folder / "stats.jsonl").read_text().splitlines()]
    for line in lines:
        line["generator/lr"] = line["critic/lr"] = 0.1 / line["step"]
    (run_folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "Learning rates both networks" in read_page(run_folder).text


def test_a_run_in_training(run_folder: Path, read_page: ReadPage) -> None:
    (run_folder / "summary.json").unlink()
    (run_folder / "ways.png").unlink()
    shutil.rmtree(run_folder / "checkpoints")
    page = read_page(run_folder)
    assert "unfinished" in page.text and "Still in training, or cut off" in page.text
    assert "There is no ways.png, which is drawn when a training comes to an end." in page.text
    # one that was resumed after its summary was written
    (run_folder / "summary.json").write_text('{"status": "interrupted", "steps": 3}')
    assert "unfinished" in read_page(run_folder).text
    (run_folder / "summary.json").write_text('{"status": "interrupted", "steps": 6}')
    assert "interrupted" in read_page(run_folder).text


def test_a_run_before_its_first_step(run_folder: Path, read_page: ReadPage) -> None:
    for path in run_folder.iterdir():
        if path.name != "recipe.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = read_page(run_folder)
    for words in ("trained for – of 6 steps", "no samples that can be read", "no line of stats.jsonl", "no scores"):
        assert words in page.text
    assert "environment.json is missing" in page.text
    assert_standalone(page)
    assert_accessible(page)


def test_a_page_of_own_networks_needs_no_network(
    tmp_path: Path, read_page: ReadPage, plot_nothing: Callable[..., None]
) -> None:
    run = zs.train(tiny_recipe(), source=tiny_source(labelled=False), generator=OwnGenerator(), out=tmp_path / "runs")
    page = read_page(run.place)
    assert "An own recipe" in page.text
    assert any(image["alt"].startswith("Each row of generated samples leads") for image in page.all("img"))
    pictures(page)


def test_a_report_imports_nothing_that_a_folder_names(
    run_folder: Path, read_page: ReadPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = (run_folder / "recipe.yaml").read_text()
    (run_folder / "recipe.yaml").write_text(recipe.replace("network: dcgan", "network: strange_module:Net", 1))
    assert "strange_module:Net" in read_page(run_folder).text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("recipe.yaml", b"steps: [", "The recipe cannot be read"),
        ("recipe.yaml", b"name: x\nno_such_key: 1\n", "unknown key &#39;no_such_key&#39;"),
        ("recipe.yaml", b"\xff\xfe\x00", "The recipe cannot be read"),
        ("stats.jsonl", b'{"step": 1}\n{"step": "2"}\n[3]\n{"step": 1e999}\n{"st', "4 of 5 lines are damaged"),
        ("stats.jsonl", b"[" * 100_000, "1 of 1 lines are damaged"),
        ("scores.jsonl", b'{"step": 1, "name": "fid", "value": "low"}\n', "fid"),
        ("scores.jsonl", b'{"step": 1, "name": ["fid"]}\n', "no scores"),
        ("findings.jsonl", b'{"step": 1, "finding": 3}\n', "found nothing wrong"),
        ("data.json", b"[]", "data.json does not hold what it should"),
        ("data.json", b'{"images": "many", "native": [], "labels": 3}', "trained for 6 steps"),
        ("environment.json", b"{", "environment.json is damaged"),
        ("environment.json", b'{"machine": 3, "versions": []}', "environment.json is missing"),
        ("summary.json", b'{"status": {}, "steps": "six", "seconds": null}', "unfinished"),
        ("reals.png", b"\x89PNG\r\n\x1a\n", "The picture of real samples is missing"),
        ("samples/000004.png", b"GIF89a", "Samples"),
        ("ways.png", b"\x89PNG", "There is no ways.png"),
        ("checkpoints/step-000006/generator.safetensors", b"", "Between latents"),
    ],
)
def test_damaged_files(run_folder: Path, read_page: ReadPage, name: str, content: bytes, said: str) -> None:
    (run_folder / name).write_bytes(content)
    page = read_page(run_folder)
    assert said in page.html
    assert_standalone(page)
    assert_accessible(page)
    pictures(page)


def test_names_and_words_are_text(run_folder: Path, read_page: ReadPage) -> None:
    recipe = (run_folder / "recipe.yaml").read_text()
    about = json.dumps(HOSTILE)
    (run_folder / "recipe.yaml").write_text(re.sub(r"^about: .*$", lambda _: f"about: {about}", recipe, flags=re.M))
    line = {"step": 6, "finding": HOSTILE, "evidence": HOSTILE, "advice": HOSTILE, "name": HOSTILE, "value": 1.0}
    for name in ("findings.jsonl", "scores.jsonl"):
        with (run_folder / name).open("a") as file:
            file.write(json.dumps(line | {"stamp": {HOSTILE: HOSTILE}}) + "\n" + json.dumps(line | {"step": 7}) + "\n")
    words = {"device": HOSTILE, "machine": {"system": HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    (run_folder / "environment.json").write_text(json.dumps(words))
    data = json.loads((run_folder / "data.json").read_text())
    data["labels"] = {HOSTILE: [HOSTILE] * 10}
    (run_folder / "data.json").write_text(json.dumps(data))
    renamed = run_folder.rename(run_folder.with_name("<script>alert(1)<"))
    page = read_page(renamed)
    assert_standalone(page)
    assert len(page.all("script")) == 1
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert HOSTILE in page.text


def test_many_samples_are_chosen_evenly(run_folder: Path, read_page: ReadPage) -> None:
    for step in range(8, 200, 2):
        shutil.copy(run_folder / "samples" / "000004.png", run_folder / "samples" / f"{step:06d}.png")
    page = read_page(run_folder)
    frames = [int(a["id"][5:]) for _, a in page.tags if "frame" in a.get("class", "").split()]
    assert len(frames) == run_page.FRAMES
    assert frames == sorted(frames) and frames[0] == 0 and frames[-1] == 198
    assert sum("printed" in a.get("class", "").split() for _, a in page.tags) == run_page.PRINTED


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    Image.effect_noise((100, 50), 80).resize((2000, 1000)).convert("RGB").save(tmp_path / "large.png")
    picture = embed.embed_file(tmp_path / "large.png", "noise")
    assert picture is not None
    assert (picture.width, picture.height) == (embed.WIDEST, 500)
    assert len(picture.uri) < 500_000
    Image.new("1", (7000, 7000)).save(tmp_path / "bomb.png")
    assert embed.embed_file(tmp_path / "bomb.png", "bomb") is None


def test_the_command(finished: Path, run_folder: Path, tmp_path: Path, call: Call) -> None:
    assert call("report", str(run_folder)) == (0, f"{run_folder / 'report.html'}\n", "")
    assert (run_folder / "report.html").stat().st_size > 10_000
    assert call("report", str(finished), "--out", str(tmp_path / "new" / "a.html"))[:2] == (
        0,
        f"{tmp_path / 'new' / 'a.html'}\n",
    )
    assert call("report", str(finished), "--out", str(tmp_path / "new"))[1] == f"{tmp_path / 'new' / 'report.html'}\n"
    assert not (finished / "report.html").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_open_shows_the_page(run_folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def browse(uri: str) -> bool:
        opened.append(uri)
        return len(opened) == 1

    monkeypatch.setattr("webbrowser.open", browse)
    assert call("report", str(run_folder), "--open")[2] == ""
    assert opened == [(run_folder / "report.html").resolve().as_uri()]
    assert "no browser could be started" in call("report", str(run_folder), "--open")[2]


def test_what_is_neither_run_nor_study(tmp_path: Path, call: Call, finished: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        code, out, err = call("report", str(place))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{place} is neither a run nor a study" in err
    code, out, err = call("report", str(finished), "--out", str(tmp_path / "file" / "page.html"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "cannot write" in err and "--out" in err
    with pytest.raises(ZerosumError, match="neither a run nor a study"):
        zs.report(tmp_path)
