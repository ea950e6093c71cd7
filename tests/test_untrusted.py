"""Files of strangers: a result or one line, whatever is in them; no code, no other files, bounded memory."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zerosum as zs
from fuzz.__main__ import FAMILIES
from fuzz.targets import TARGETS, attempt, valid_run
from tests.data.make import colour, encoded, idx_folder, noise, opened, write, write_zip
from zerosum.data import tables
from zerosum.data.pictures import arrays, images
from zerosum.data.pictures.drawing import save_grid
from zerosum.data.pictures.files import Files
from zerosum.data.pictures.spec import PictureSpec
from zerosum.engine.runs.files import read_findings, read_lines, read_scores, read_ticks
from zerosum.engine.runs.reading import stored_recipe
from zerosum.engine.runs.stored import stored_spec
from zerosum.errors import ZerosumError
from zerosum.loading import MOST_RECIPE
from zerosum.networks import import_network, make_generator
from zerosum.recipe import Recipe

EXAMPLES = 25


@st.composite
def mutated(draw: st.DrawFn, family: str) -> bytes:
    """A valid file with some bits flipped, cut, repeated, spliced with another, or numbers pushed to their ends."""
    seeds = TARGETS[family].seeds()
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "cut", "drop", "repeat", "splice", "extreme", "insert"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
            case "splice":
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case "extreme":
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"9" * 30, b"[" * 999])
                )
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
    return bytes(data)


def check(family: str, count: int) -> None:
    @settings(deadline=None, max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(mutated(family))
    def mutate(data: bytes) -> None:
        with bounded(2**29):
            attempt(TARGETS[family], data)

    mutate()


@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_is_read_gives_a_result_or_one_line(family: str) -> None:
    check(family, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_at_length(family: str) -> None:
    check(family, 80 * EXAMPLES)


@pytest.mark.parametrize("family", FAMILIES)
def test_valid_files_are_taken(family: str) -> None:
    assert set(FAMILIES) == set(TARGETS)
    assert all(attempt(TARGETS[family], seed) for seed in TARGETS[family].seeds())


@contextmanager
def bounded(most: int = 2**28) -> Iterator[None]:
    """At most so many further bytes of memory are in use at any moment."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        yield
        return
    clear.write_text("5")  # the kernel forgets the highest use so far
    before = resident("VmRSS")
    yield
    assert resident("VmHWM") - before < most


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def test_memory_is_measured() -> None:
    with pytest.raises(AssertionError), bounded():
        np.ones(2**26)


# run folders


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A valid run's folder."""
    write(tmp_path / "run", valid_run())
    assert zs.load(tmp_path / "run").sample(1).shape == (1, 1, 8, 8)
    return tmp_path / "run"


LINKS = (
    *("recipe.yaml", "data.json", "checkpoints", "checkpoints/step-000002", "checkpoints/step-000002/state.json"),
    *("scores.jsonl", "samples-64.png", "samples/new.png", ".lock", "checkpoints/best.json"),
)


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_a_run_are_refused(name: str, run: Path, tmp_path: Path) -> None:
    """Both what would be read through them and what would be written."""
    place, outside = run / name, tmp_path / "outside"
    place.rename(outside) if place.exists() else outside.write_text("precious")
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    for use in (zs.load, zs.resume, zs.score, lambda folder: zs.train("digits", init_from=folder, out=tmp_path)):
        with pytest.raises(ZerosumError, match=rf"{name}: is a link out of the run's folder, which is not followed"):
            use(run)
    if outside.is_file() and not (run / name).is_dir() and name.endswith((".png", ".lock")):
        assert outside.read_text() == "precious"


def test_links_within_a_run_are_followed(run: Path) -> None:
    (run / "checkpoints" / "latest").symlink_to("step-000002")
    zs.load(run)
    (run / "loop").symlink_to("loop")
    with pytest.raises(ZerosumError, match="loop: is a link that leads nowhere"):
        zs.load(run)


def test_a_pipe_is_not_waited_for(run: Path) -> None:
    (run / "stats.jsonl").unlink()
    os.mkfifo(run / "stats.jsonl")
    with pytest.raises(ZerosumError, match="neither a file nor a folder"):
        zs.load(run)


def test_a_manifest_that_names_other_files_has_them_not_read(run: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    path = run / "checkpoints" / "step-000002" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"] |= {"../../../secret": "0" * 64, "/etc/passwd": "0" * 64}
    path.write_text(json.dumps(manifest))
    zs.load(run)


@pytest.mark.parametrize("name", ["data.json", "recipe.yaml", "checkpoints/step-000002/manifest.json"])
def test_giant_files_are_not_read(name: str, run: Path) -> None:
    os.truncate(run / name, 2**40)
    with bounded(), pytest.raises(ZerosumError, match=f"{Path(name).name}.*(too large|[Tt]oo big)"):
        zs.load(run)


def weights(run: Path, content: bytes, size: int | None = None) -> None:
    """A file of weights with the right sum."""
    from zerosum.engine.runs.files import sha256

    place = run / "checkpoints" / "step-000002"
    (place / "generator.safetensors").write_bytes(content)
    if size is not None:
        os.truncate(place / "generator.safetensors", size)
    sums = {path.name: sha256(path) for path in place.iterdir() if path.name != "manifest.json"}
    (place / "manifest.json").write_text(json.dumps({"step": 2, "sha256": sums}))


@pytest.mark.parametrize(
    ("header", "length", "size"),
    [
        (b"{}", 2**62, None),
        (b'{"x":{"dtype":"F32","shape":[134217728],"data_offsets":[0,536870912]}}', None, 2**29 + 78),
        (b'{"x":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,4]}}', None, None),
        (b'{"x":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', None, None),
        (b"[" * 100_000, None, None),
        (b'{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},' + b" " * 2**23 + b'"y":1}', None, None),
    ],
)
def test_weights_that_claim_much_take_no_memory(header: bytes, length: int | None, size: int | None, run: Path) -> None:
    weights(run, struct.pack("<Q", length or len(header)) + header + bytes(4), size)
    with bounded(), pytest.raises(ZerosumError, match=r"generator\.safetensors|its file of weights"):
        zs.load(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent": {"size": 2**40}},
        {"generator": {"network": "mlp", "hidden": [2**20, 2**20]}},
        {"generator": {"network": "mlp", "hidden": [2**62]}},
        {"generator": {"network": "mlp", "hidden": [2**100]}},
        {"generator": {"network": "dcgan", "width": 2**20, "max_width": 2**20}, "condition": {"method": "none"}},
    ],
)
def test_a_network_that_no_machine_holds_is_not_begun(changes: dict[str, Any], run: Path) -> None:
    recipe = stored_recipe(run).plain() | changes
    with bounded(), pytest.raises(ZerosumError, match=r"the generator (would have|cannot be made)"):
        make_generator(Recipe.parse(recipe), PictureSpec.of(1, 32, 32, {"class": ("0", "1")}, ((0,), (1,)), (3, 3)))
    # and one that the machine would hold, but that is not what the file of weights holds
    (run / "recipe.yaml").write_text(json.dumps(stored_recipe(run).plain() | {"latent": {"size": 2**24}}))
    with bounded(), pytest.raises(ZerosumError, match="its file of weights is far smaller"):
        zs.load(run)


FACTS = {"channels": 1, "native": 8, "range": [0, 255]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modality", "film"),
        ("sample", {"axes": {"channel": 1, "height": 10**9, "width": 10**9}}),
        ("sample", {"axes": {"channel": 3, "height": 8, "width": 8}}),
        ("sample", 3),
        ("facts", []),
        *[("facts", FACTS | wrong) for wrong in ({"channels": 2}, {"channels": 1e400}, {"channels": None})],
        *[("facts", FACTS | wrong) for wrong in ({"native": 0}, {"native": 9}, {"range": [1, 0]})],
        ("labels", []),
        ("labels", {}),
        ("labels", 3),
        ("combinations", [[0], [2]]),
        ("combinations", [[0, 0], [1]]),
        ("combinations", []),
        ("counts", [1]),
        ("counts", [0, 1]),
        ("counts", [float("nan"), 1]),
    ],
)
def test_data_that_cannot_be_are_refused(key: str, value: Any, run: Path) -> None:
    path = run / "data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ZerosumError, match=r"data\.json: does not describe data"):
        stored_spec(run)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "[]", "3", "", "\x00", '{"a":' * 50_000, "NaN"])
@pytest.mark.parametrize("name", ["data.json", "checkpoints/step-000002/manifest.json"])
def test_strange_json(name: str, text: str, run: Path) -> None:
    (run / name).write_text(text)
    with pytest.raises(ZerosumError, match=Path(name).name):
        zs.load(run)


@pytest.mark.parametrize(
    "values",
    [
        {"step": "2"},
        {"step": -1},
        {"step": 1e400},
        {"step": True},
        {"seconds": -1},
        {"setbacks": "x"},
        {"step": 10**30},
    ],
)
def test_counters_that_count_nothing(values: dict[str, Any], run: Path) -> None:
    path = run / "checkpoints" / "step-000002" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    weights(run, (path.parent / "generator.safetensors").read_bytes())
    with pytest.raises(ZerosumError, match=r"state\.json: does not say step and seconds"):
        zs.load(run)


def test_lines_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    lines = ['{"step": 1, "images": 2, "x": "y", "z": [1]}', '{"step": "1"}', '{"step": 1e3}', "[]", '{"step": true}']
    lines += ['{"step": 2, "name": "fid1k@random", "value": 1.5, "finding": "collapse"}']
    lines += [
        '{"step": 2, "name": "$\\\\frac", "value": 1.5, "finding": 3}',
        '{"step": 2, "name": "fid", "value": "x"}',
    ]
    lines += ['{"step": 2, "name": "fid", "value": null, "floor": 1' + "0" * 400 + "}", "[" * 100_000, '{"step": 9}']
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join(lines))
    assert [line["step"] for line in read_lines(path)] == [1, 2, 2, 2, 2]
    assert read_ticks(path)[0] == {"step": 1, "images": 2}
    assert [line["name"] for line in read_scores(path)] == ["fid1k@random"]
    assert [line["finding"] for line in read_findings(path)] == ["collapse"]


def test_folders_that_only_look_like_checkpoints(run: Path) -> None:
    for name in ("step-1x", "step-9", "step-²²²²²²", "step-" + "9" * 100, "step-999999"):
        (run / "checkpoints" / name).mkdir()
    assert len(zs.load(run).sample(1)) == 1


def test_code_in_a_run_folder_is_not_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "raise SystemExit('code of a stranger')\n"
    write(run, {"harmless.py": code, "package/__init__.py": code, "space/inner.py": code})
    monkeypatch.syspath_prepend(run)
    monkeypatch.chdir(run)
    for name in ("harmless", "package.networks", "space.inner"):
        with pytest.raises(ZerosumError, match=r"lies in a run folder.*from which no code is run"):
            import_network(f"{name}:Generator", "generator.network")
        (run / "recipe.yaml").write_text(
            json.dumps(stored_recipe(run).plain() | {"generator": {"network": f"{name}:A"}})
        )
        with pytest.raises(ZerosumError, match="no code is run"):
            zs.load(run)


# recipes


def test_a_giant_recipe_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("# " + "x" * MOST_RECIPE)
    with pytest.raises(ZerosumError, match="larger than 256 KiB"):
        Recipe.load(path)


HUGE: list[Any] = [16**5000, -(16**5000), 10**100, "x" * 10_000, [[]] * 10_000]


@pytest.mark.parametrize("key", ["steps", "seed", "batch", "latent.size", "keep", "generator.width"])
@pytest.mark.parametrize("value", HUGE, ids=["large", "small", "googol", "text", "list"])
def test_huge_values_are_named_in_one_short_line(key: str, value: Any) -> None:
    with pytest.raises(ZerosumError) as caught:
        make_generator(Recipe().with_overrides({key: value}), PictureSpec.of(1, 16, 16))
    assert len(str(caught.value)) < 600


def test_a_recipe_of_many_keys_takes_no_time(tmp_path: Path) -> None:
    write(tmp_path, {"many.yaml": "\n".join(f"k{i}: 1" for i in range(20_000))})
    with bounded(), pytest.raises(ZerosumError, match="unknown key"):
        Recipe.load(tmp_path / "many.yaml")


def test_errors_cannot_drive_a_terminal() -> None:
    assert str(ZerosumError("a\x1b[31mb\nc\u202ed")) == "a?[31mb c?d"


# data


def understate(path: Path, size: int, claimed: int) -> None:
    """A zip whose only member claims, in both of its headers, to be smaller than it is."""
    content = path.read_bytes()
    assert content.count(struct.pack("<I", size)) == 2
    path.write_bytes(content.replace(struct.pack("<I", size), struct.pack("<I", claimed)))


def test_a_member_that_unpacks_to_more_than_it_claims(tmp_path: Path) -> None:
    size = 300 * 2**20 + 7
    write_zip(tmp_path / "set.zip", {"a.png": bytes(size)})
    understate(tmp_path / "set.zip", size, 1000)
    with bounded(2**27), pytest.raises(ZerosumError, match="none of its 1 pictures can be read"):
        opened(tmp_path / "set.zip")


def test_members_that_lie_one_upon_another(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.png", colour())
        for number in range(9):
            info = zipfile.ZipInfo(f"{number}.png")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(info, name, getattr(file.infolist()[0], name))
            file.filelist.append(info)
    (tmp_path / "set.zip").write_bytes(buffer.getvalue())
    with pytest.raises(ZerosumError, match="lie one upon another"):
        Files(tmp_path / "set.zip")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": colour(), "0bc": b"x"})
    path.write_bytes(path.read_bytes().replace(b"0bc", b"\0bc"))  # a name ends at a zero
    assert len(opened(path)) == 1


def test_a_member_of_damaged_lzma_is_skipped(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.png": colour(0), "b.png": colour(1)}, zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    content[content.index(b"a.png") + 16 : content.index(b"a.png") + 24] = b"\xff" * 8
    path.write_bytes(content)
    assert len(opened(path, bad_share=0.5)) == 1


def test_a_table_too_large_for_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_TABLE", 4 * 2**20)
    write_zip(tmp_path / "set.zip", {"a.png": colour(), "metadata.csv": b"\n" * (5 * 2**20)})
    with bounded(), pytest.raises(ZerosumError, match=r"metadata\.csv: not a readable table: .* bytes is too large"):
        opened(tmp_path / "set.zip")
    write_zip(tmp_path / "set.zip", {"a.png": colour(), "metadata.csv": b"file_name\na.png\n" + b"\n" * (3 * 2**20)})
    with bounded(2**29):
        assert len(opened(tmp_path / "set.zip")) == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_that_unpack_to_too_much(
    save: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "set.npz", x=np.zeros((300, 32, 32), np.uint8))
    idx_folder(tmp_path / "idx", 400)
    monkeypatch.setattr(arrays, "MOST", 2**18)
    for path, said in ((tmp_path / "set.npz", "unpacks to"), (tmp_path / "idx", "GiB of values, more than")):
        with pytest.raises(ZerosumError, match=said):
            opened(path, memory=1e-5)
        opened(path, memory=1e-3)


def test_an_array_that_claims_more_than_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 8, 8)})
    write_zip(tmp_path / "set.npz", {"x.npy": buffer.getvalue()})
    write(tmp_path, {"set.npy": buffer.getvalue()})
    for name in ("set.npz", "set.npy"):
        with bounded(), pytest.raises(ZerosumError, match="not a readable array file"):
            opened(tmp_path / name)


def test_idx_files_that_are_links_out_are_not_followed(tmp_path: Path) -> None:
    idx_folder(tmp_path / "set")
    (tmp_path / "set" / "train-labels-idx1-ubyte.gz").rename(tmp_path / "labels")
    (tmp_path / "set" / "train-labels-idx1-ubyte.gz").symlink_to(tmp_path / "labels")
    with pytest.raises(ZerosumError, match=r"train-labels-idx1-ubyte\.gz is missing"):
        opened(tmp_path / "set")


def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most = [0], [0]
    before = images._convert

    def counted(*arguments: Any) -> Any:
        busy[0] += 1
        most[0] = max(most[0], busy[0])
        try:
            return before(*arguments)
        finally:
            busy[0] -= 1

    monkeypatch.setattr(images, "_convert", counted)
    monkeypatch.setattr(images, "LARGE", 1)
    write(tmp_path, {f"{seed}.png": encoded(noise(200, 200, 3, seed=seed)) for seed in range(12)})
    assert len(opened(tmp_path, resolution=16)) == 12
    assert most == [1]


def test_a_long_name_makes_no_wide_picture(tmp_path: Path) -> None:
    import torch

    with bounded():
        save_grid(torch.zeros(4, 1, 8, 8), 2, tmp_path / "grid.png", ["x" * 10**6, "y"])
    from PIL import Image

    with Image.open(tmp_path / "grid.png") as image:
        assert image.width < 1000
