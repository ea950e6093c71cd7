"""Reports: one standalone HTML page for a run or a study, read from its folder."""

from pathlib import Path

from zerosum.errors import ZerosumError, option
from zerosum.reporting.page import render
from zerosum.reporting.reading import is_run, is_study, read_run, read_study
from zerosum.reporting.run_page import run_context
from zerosum.reporting.study_page import study_context
from zerosum.whole import whole


def report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes one HTML page about a run or a study and returns its path.

    folder: of a run, at any time from its first step on, or of a study. out: the page, or a folder for it; by default
    report.html in the folder. The page needs no network; what is missing or damaged in the folder is left out, and
    said. Raises ZerosumError where there is neither a run nor a study, and where the page cannot be written.
    """
    folder = Path(folder)
    place = folder / "report.html" if out is None else Path(out)
    place = place / "report.html" if place.is_dir() else place
    if is_study(folder):
        page = render("study.html", study_context(read_study(folder)))
    elif is_run(folder):
        page = render("run.html", run_context(read_run(folder)))
    else:
        raise ZerosumError(f"{folder} is neither a run nor a study: it has no recipe.yaml and no plan.json")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole(place) as draft:
            draft.write_bytes(page.encode("utf-8", errors="replace"))
    except OSError as error:
        raise ZerosumError(
            f"cannot write {place}: {error.strerror or error}; choose another place with {option('out')}"
        ) from None
    return place
