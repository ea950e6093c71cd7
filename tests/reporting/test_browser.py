"""The pages in a real browser: nothing is refused, nothing sticks out, the slider slides, dark is dark, paper is A4."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import zerosum as zs

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")

#: written into the page: what it looks like once it stands
PROBE = """
const box = (element) => element.getBoundingClientRect();
const wide = innerWidth;
document.documentElement.dataset.probe = JSON.stringify({
  wide,
  page: document.documentElement.scrollWidth,
  // what scrolls by itself, and what only readers of screens see, may be wider
  outside: [...document.querySelectorAll("main *, header *")]
    .filter((one) => !one.closest(".scroll, .hidden") && (box(one).right > wide + 1 || box(one).left < -1))
    .map((one) => one.outerHTML.slice(0, 120)),
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  line: getComputedStyle(document.querySelector(".plot .curve")).stroke,
  now: [...document.querySelectorAll(".frame")].filter((one) => box(one).height > 0).map((one) => one.id),
  slider: document.querySelector(".controls input")?.getAttribute("aria-valuetext"),
  controls: document.querySelector(".controls").checkVisibility(),
  pictures: [...document.querySelectorAll("img")].every((one) => one.complete && one.naturalWidth > 0),
  open: [...document.querySelectorAll("details[open]")].map((one) => one.id),
  readout: document.querySelector(".readout").textContent,
});
"""
POINT = """
const plot = document.querySelector(".plot"), at = plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove", {clientX: at.left + at.width * 0.9, clientY: at.top + 50}));
"""
PLAY = """
const range = document.querySelector(".controls input");
range.value = 1;
range.dispatchEvent(new Event("input"));
"""


@dataclass(frozen=True)
class Seen:
    values: dict[str, Any]
    #: what the browser complained about
    console: list[str]


def start(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A browser without a window, a sandbox (CI runs as root in a container) or a network."""
    usual = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio"]
    away = ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [str(BROWSER), *usual, *away, "--enable-logging=stderr", "--virtual-time-budget=1000", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def look(page: Path, *arguments: str, before: str = "", fragment: str = "", width: int = 1200) -> Seen:
    """The page of a folder with the probe in it, which its policy has to allow like its own script."""
    script = before + PROBE
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = page.read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{allowed}' ", 1)
    probed = page.with_name("probed.html")
    probed.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    done = start(*arguments, f"--window-size={width},900", "--dump-dom", probed.as_uri() + fragment, folder=page.parent)
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr
    values = json.loads(found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return Seen(values, [line for line in done.stderr.splitlines() if "CONSOLE" in line])


@pytest.fixture(scope="module")
def run_report(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zs.report(finished, tmp_path_factory.mktemp("run"))


@pytest.fixture
def study_report(study_folder: Path, tmp_path: Path) -> Path:
    return zs.report(study_folder, tmp_path)


def test_a_run_on_a_desk(run_report: Path) -> None:
    seen = look(run_report, before=POINT)
    assert seen.console == []
    assert seen.values["outside"] == [] and seen.values["page"] <= seen.values["wide"]
    assert seen.values["pictures"] and seen.values["controls"]
    assert seen.values["now"] == ["step-6"] and seen.values["slider"] == "step 6"
    assert re.fullmatch(r"step \d: critic [\d.]+, generator [\d.]+", seen.values["readout"])


def test_a_run_on_a_phone_in_the_dark(run_report: Path) -> None:
    seen = look(run_report, "--blink-settings=preferredColorScheme=0", before=PLAY, width=390)
    assert seen.console == []
    assert seen.values["outside"] == [] and seen.values["page"] <= seen.values["wide"]
    assert seen.values["now"] == ["step-2"] and seen.values["slider"] == "step 2"
    assert seen.values["paper"] == "rgb(20, 23, 27)" and seen.values["line"] == "rgb(125, 178, 240)"


def test_a_link_leads_to_a_step(run_report: Path) -> None:
    assert look(run_report, fragment="#step-4").values["now"] == ["step-4"]


def test_a_study_on_a_phone(study_report: Path) -> None:
    seen = look(study_report, fragment="#run-1", width=390)
    assert seen.console == []
    assert seen.values["outside"] == [] and seen.values["page"] <= seen.values["wide"]
    assert seen.values["now"] == ["step-6"] and seen.values["open"] == ["run-1"]
    assert seen.values["paper"] == "rgb(252, 251, 248)"


def test_without_scripts_and_on_paper(run_report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = run_report.read_text(encoding="utf-8")
    page.write_text(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    seen = look(page)
    assert seen.values["now"] == ["step-0", "step-2", "step-4", "step-6"] and not seen.values["controls"]
    paper = tmp_path / "page.pdf"
    start("--no-pdf-header-footer", f"--print-to-pdf={paper}", run_report.as_uri(), folder=tmp_path)
    assert paper.read_bytes().startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95996 841.91998]" in paper.read_bytes() or b"595" in paper.read_bytes()
    picture = tmp_path / "page.png"
    start("--window-size=800,600", f"--screenshot={picture}", run_report.as_uri(), folder=tmp_path)
    with Image.open(picture) as shot:
        assert shot.size == (800, 600)
        assert len(shot.convert("RGB").getcolors(2**20) or []) > 50
