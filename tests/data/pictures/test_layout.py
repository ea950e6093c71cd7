"""Splits and labels by how pictures lie, in folders and zips: what is found, and what is said of the rest."""

import json
import os
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.data.make import colour, encoded, noise, opened, opened_with_notes, write, write_zip
from zerosum.data.pictures import layout
from zerosum.data.pictures.layout import split_of
from zerosum.data.pictures.source import PictureSource
from zerosum.errors import NoTestSplit, ZerosumError


def pictures(*names: str) -> dict[str, bytes]:
    """A picture of its own for each name."""
    return {name: colour(number) for number, name in enumerate(names)}


def classes(folder: str, count: int, start: int = 0) -> dict[str, bytes]:
    """Pictures of cats and dogs below a folder."""
    return {
        f"{folder}{kind}/{i:03d}.png": colour(start + 100 * k + i)
        for k, kind in enumerate(("cat", "dog"))
        for i in range(count)
    }


def words(source: PictureSource) -> list[str]:
    assert source.labels is not None
    return [source.spec.describe(tuple(row)) for row in source.labels.tolist()]


# splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Train", "TRAIN", "training", "train_set", "trainset", "train2017")),
        *((name, "train") for name in ("Training Images", "images_train", "seg_train", "train-images", "01_train")),
        *((name, "test") for name in ("test", "Test", "testing", "test1", "test_set", "TestImages", "evaluation")),
        *((name, "validation") for name in ("val", "valid", "validation", "Validation_Set", "dev", "val2017")),
        *((name, "") for name in ("cat", "train_station", "contest", "value", "devil", "latest", "trained", "tested")),
        *((name, "") for name in ("train_test_split", "", "42", "\u8bad\u7ec3")),
    ],
)
def test_what_folders_of_splits_are_called(name: str, split: str) -> None:
    found, rest = split_of(name)
    assert (found if not rest else "") == split


@pytest.mark.parametrize("top", ["", "data/", "a/b/"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "folders", [("train", "test"), ("Train", "Test"), ("training_set", "test_set"), ("pets_train", "pets_test")]
)
def test_splits_below_a_common_folder(top: str, zipped: bool, folders: tuple[str, str], tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {**classes(f"{top}{folders[0]}/", 5), **classes(f"{top}{folders[1]}/", 3, 50)}
    files |= {f"{top}preview.png": colour(999), f"{top}readme.txt": "words"}
    place = write_zip(tmp_path / "set.zip", files) if zipped else write(tmp_path / "set", files)
    source, notes = opened_with_notes(place)
    assert source.spec.labels == {"class": ("cat", "dog")}
    assert len(source) == 10
    assert notes[0].startswith(
        f"{place}: 10 pictures; 6 kept for testing; 1 beside the folders of splits ({top}preview.png)"
    )
    assert notes[1] == f"{place}: labels: folders of classes cat, dog"
    held_out = opened(place, "test")
    assert len(held_out) == 6
    assert held_out.spec.labels == source.spec.labels
    assert not {image.tobytes() for image in source.images} & {image.tobytes() for image in held_out.images}


def test_validation_pictures_are_held_out_where_there_are_no_others(tmp_path: Path) -> None:
    files = classes("train/", 5) | classes("validation/", 3, 50)
    source, notes = opened_with_notes(write(tmp_path, files))
    assert (len(source), len(opened(tmp_path, "test"))) == (10, 6)
    assert "6 kept for validation" in notes[0]
    write(tmp_path, classes("test/", 2, 80))
    assert (len(opened(tmp_path)), len(opened(tmp_path, "test"))) == (10, 4)


def test_splits_below_classes(tmp_path: Path) -> None:
    files = {
        f"{kind}/{split}/{i}.png": colour(10 * k + i)
        for k, kind in enumerate(("cat", "dog"))
        for split, n in (("train", 4), ("test", 2))
        for i in range(n)
    }
    source = opened(write(tmp_path, files))
    assert (len(source), source.spec.labels) == (8, {"class": ("cat", "dog")})
    assert len(opened(tmp_path, "test")) == 4


def test_test_pictures_inside_a_training_folder_are_held_out(tmp_path: Path) -> None:
    files = classes("train/train/", 4) | classes("train/val/", 2, 50) | classes("test/", 3, 80)
    source = opened(write(tmp_path, files))
    assert (len(source), source.spec.labels) == (8, {"class": ("cat", "dog")})
    assert len(opened(tmp_path, "test")) == 6


def test_what_lies_beside_a_test_folder_is_for_training(tmp_path: Path) -> None:
    source = opened(write(tmp_path, classes("", 4) | classes("test/", 2, 50)))
    assert (len(source), source.spec.labels) == (8, {"class": ("cat", "dog")})
    assert len(opened(tmp_path, "test")) == 4


def test_test_pictures_alone_are_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path / "set", classes("test/", 2))
    with pytest.raises(ZerosumError, match=r"holds only pictures of test, which are not trained on"):
        opened(tmp_path / "set")
    assert len(opened(tmp_path / "set" / "test")) == 4  # the folder itself was named
    assert len(opened(tmp_path / "set", "test")) == 4


def test_a_class_called_train_is_asked_about(tmp_path: Path) -> None:
    files = pictures("car/1.png", "car/2.png", "bus/1.png", "train/1.png", "train/2.png")
    with pytest.raises(
        ZerosumError, match=r"is its folder train a split or a class\? Beside it are pictures in bus, car"
    ):
        opened(write(tmp_path / "a", files))
    both = {f"{split}/{name}": data for split in ("train", "test") for name, data in files.items()}
    assert opened(write(tmp_path / "b", both)).spec.labels == {"class": ("bus", "car", "train")}
    assert words(opened(tmp_path / "b", "test")).count("train") == 2


def test_other_folders_beside_splits_are_told(tmp_path: Path) -> None:
    _, notes = opened_with_notes(write(tmp_path, classes("train/", 4) | classes("test/", 2) | classes("extra/", 3)))
    assert "6 beside the folders of splits (extra/cat/000.png, extra/cat/001.png, extra/cat/002.png ...)" in notes[0]


# class folders


def test_a_picture_beside_folders_of_classes(tmp_path: Path) -> None:
    files = classes("", 20) | {"preview.png": colour(7)}
    for labelled in (True, False):
        source, notes = opened_with_notes(write(tmp_path, files), labelled=labelled)
        assert len(source) == 40
        assert notes[0] == f"{tmp_path}: 40 pictures; 1 beside the folders of classes (preview.png)"
    few = opened_with_notes(tmp_path, bad_share=0.01)
    assert (len(few[0]), few[0].labels) == (41, None)
    assert few[1][1] == f"{tmp_path}: labels: none: 1 picture beside the folders cat, dog"


def test_hundreds_of_folders_are_classes(tmp_path: Path) -> None:
    picture = colour(0, 8, 8)
    files = {f"{kind:03d}/{i}.png": picture for kind in range(200) for i in range(2)}
    source, notes = opened_with_notes(write_zip(tmp_path / "set.zip", files))
    assert len(source.spec.labels["class"]) == 200
    assert notes[1].endswith("labels: folders of classes 000, 001, 002, 003, 004 and 195 more")


def test_one_class_in_two_unicode_forms(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    files = {f"{forms[i % 2]}/{i}.png": colour(i) for i in range(4)} | {
        f"th\u00e9/{i}.png": colour(9 + i) for i in range(2)
    }
    source = opened(write_zip(tmp_path / "set.zip", files))
    assert source.spec.labels == {"class": ("caf\u00e9", "th\u00e9")}
    assert source.spec.counts == (4, 2)


# tables


def rows(*lines: str, end: str = "\n") -> str:
    return end.join(lines) + end


def listed(folder: str = "", count: int = 6, separator: str = ",", slash: str = "/") -> list[str]:
    return [
        f"{folder}{i:03d}.png".replace("/", slash) + separator + ("ch\u00e9ri" if i % 2 else "chat")
        for i in range(count)
    ]


def six(folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{i:03d}.png": colour(i) for i in range(6)}


TABLES: dict[str, str | bytes] = {
    "plain": rows("file_name,kind", *listed("images/")),
    "bom": "\ufeff" + rows("file_name,kind", *listed("images/"), end="\r\n"),
    "semicolons": rows("file_name;kind", *listed("images/", separator=";")),
    "tabs": rows("file_name\tkind", *listed("images/", separator="\t")),
    "backslashes": rows("file_name,kind", *listed("images/", slash="\\")),
    "a folder of Windows": rows("file_name,kind", *("C:\\data\\images\\" + line for line in listed())),
    "a folder of another machine": rows("file_name,kind", *("/home/me/set/" + line for line in listed())),
    "without folders": rows("file_name,kind", *listed()),
    "without endings": rows("file_name,kind", *(line.replace(".png", "") for line in listed("images/"))),
    "cp1252": rows("file_name,kind", *listed("images/")).encode("cp1252"),
    "utf-16": rows("file_name,kind", *listed("images/")).encode("utf-16"),
    "utf-16 without a mark": rows("file_name,kind", *listed("images/")).encode("utf-16-le"),
    "old Macs": rows("file_name,kind", *listed("images/"), end="\r"),
    "capitals": rows(
        "File Name,kind",
        *(line.upper().replace("CHAT", "chat").replace("CH\u00c9RI", "ch\u00e9ri") for line in listed("images/")),
    ),
    "decomposed": unicodedata.normalize("NFD", rows("file_name,kind", *listed("images/"))),
    "another name": rows("picture,kind", *listed("images/")),
    "an index": rows(",file_name,kind", *(f"{i},{line}" for i, line in enumerate(listed("images/")))),
    "an index saved twice": rows(
        "Unnamed: 0,file_name,kind", *(f"{i},{line}" for i, line in enumerate(listed("images/")))
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("zipped", [False, True])
def test_tables_of_every_system(name: str, zipped: bool, tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {**six("images/"), "metadata.csv": TABLES[name]}
    place = write_zip(tmp_path / "set.zip", files) if zipped else write(tmp_path / "set", files)
    source, notes = opened_with_notes(place)
    assert source.spec.labels == {"kind": ("chat", "ch\u00e9ri")}
    assert words(source) == ["chat", "ch\u00e9ri"] * 3
    for row in range(6):
        np.testing.assert_array_equal(source.images[row], noise(16, 16, 3, seed=row).transpose(2, 0, 1))
    assert notes[1] == f"{place}: labels: metadata.csv (kind)"
    assert any("Windows-1252" in note for note in notes) is (name == "cp1252")
    assert any("no attribute" in note for note in notes) is ("index" in name)


def test_names_of_a_mac_in_a_zip(tmp_path: Path) -> None:
    names = [f"caf\u00e9-{i}.png" for i in range(4)]
    files: dict[str, bytes | str] = {unicodedata.normalize("NFD", name): colour(i) for i, name in enumerate(names)}
    files |= {"__MACOSX/._x.png": b"\0", ".DS_Store": b"x"}
    files["metadata.csv"] = rows("file_name,kind", *(f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)))
    source, notes = opened_with_notes(write_zip(tmp_path / "mac.zip", files))
    assert words(source) == list("abab")
    assert "2 hidden (.DS_Store, __MACOSX/._x.png)" in notes[0]


def test_members_of_windows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for i in range(4):
            info = zipfile.ZipInfo("x")
            info.filename = f"set\\{('cat', 'dog')[i % 2]}\\{i}.png"  # ZipInfo itself would cut or turn the name
            file.writestr(info, colour(i))
    assert opened(tmp_path / "set.zip").spec.labels == {"class": ("cat", "dog")}


def test_old_names_in_a_zip(tmp_path: Path) -> None:
    """Programs write UTF-8 without saying so; what is neither that nor said is told."""
    path = write_zip(tmp_path / "set.zip", {f"{kind}/{i}.png": colour(i) for i, kind in enumerate(("c..t", "dog"))})
    for word, told in (("\u00e9".encode(), False), (b"\x82\x81", True)):
        content = path.read_bytes().replace(b"c..t", b"c" + word + b"t")
        (tmp_path / "old.zip").write_bytes(content)
        source, notes = opened_with_notes(tmp_path / "old.zip")
        assert ("c\u00e9t" in source.spec.labels["class"]) is not told
        assert any("unknown encoding" in note for note in notes) is told


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"file_name": f"{i:03d}.png", "kind": "ab"[i % 2], "round": i % 2 == 0, "age": float(i % 3), "boxes": [1, 2]}
        for i in range(6)
    ]
    write(tmp_path, six() | {"metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()})
    source, notes = opened_with_notes(tmp_path)
    assert source.spec.labels == {"kind": ("a", "b"), "round": ("false", "true"), "age": ("0", "1", "2")}
    assert any("boxes hold lists or objects" in note for note in notes)
    write(tmp_path, {"metadata.jsonl": b'{"file_name": "000.png"}\n[1]\n'})
    with pytest.raises(ZerosumError, match=r"line 2: expected an object"):
        opened(tmp_path)
    write(tmp_path, {"metadata.jsonl": b'{"file_name": \n'})
    with pytest.raises(ZerosumError, match=r"line 1: not valid JSON"):
        opened(tmp_path)


def test_several_tables_are_joined(tmp_path: Path) -> None:
    files: dict[str, object] = {**six("a/"), **{f"b/{i:03d}.png": colour(50 + i) for i in range(6)}}
    files["a/metadata.csv"] = rows("file_name,kind,more", *(line + ",1" for line in listed()))
    files["b/metadata.csv"] = rows("kind,file_name", *(",".join(reversed(line.split(","))) for line in listed()))
    source, notes = opened_with_notes(write(tmp_path, files))
    assert len(source) == 12
    assert source.spec.labels == {"kind": ("chat", "ch\u00e9ri")}
    assert notes[1] == f"{tmp_path}: labels: 2 tables, a/metadata.csv, b/metadata.csv (kind)"
    assert any("more stand in some of its tables only" in note for note in notes)
    write(tmp_path, {"metadata.csv": rows("file_name,kind", "a/000.png,chat")})
    with pytest.raises(ZerosumError, match=r"000\.png stands there already in .*metadata\.csv, line 2"):
        opened(tmp_path)


def test_a_table_at_the_top_lists_both_splits(tmp_path: Path) -> None:
    files: dict[str, object] = {**six("train/"), **{f"test/{i:03d}.png": colour(50 + i) for i in range(6)}}
    files["metadata.csv"] = rows("file_name,kind", *listed("train/"), *listed("test/"))
    source, held_out = opened(write(tmp_path, files)), opened(tmp_path, "test")
    assert words(source) == words(held_out) == ["chat", "ch\u00e9ri"] * 3
    np.testing.assert_array_equal(held_out.images[2], noise(16, 16, 3, seed=52).transpose(2, 0, 1))


def stylegan(labels: object) -> Mapping[str, bytes | str]:
    files = {f"{i // 2:05d}/img{i:08d}.png": colour(i) for i in range(6)}
    return {**files, "dataset.json": json.dumps({"labels": labels})}


@pytest.mark.parametrize("form", ["pairs", "mapping"])
def test_stylegan_sets(form: str, tmp_path: Path) -> None:
    pairs: list[tuple[str, int]] = [(f"{i // 2:05d}/img{i:08d}.png", i % 2) for i in range(6)]
    files = stylegan(pairs if form == "pairs" else dict(pairs))
    source, notes = opened_with_notes(write_zip(tmp_path / "set.zip", files))
    assert words(source) == ["0", "1"] * 3
    assert notes[1].endswith("labels: dataset.json (class)")


def test_stylegan_sets_without_classes(tmp_path: Path) -> None:
    source, notes = opened_with_notes(write(tmp_path / "a", stylegan(None)))
    assert source.labels is None  # its folders are no classes
    assert notes[1].endswith("labels: none: dataset.json holds none")
    for labels in ([[f"0000{i // 2}/img{i:08d}.png", [0.5, 1.0]] for i in range(6)], "words", [["a"]]):
        with pytest.raises(ZerosumError, match=r"dataset\.json: (its labels are vectors|expected)"):
            opened(write(tmp_path / "b", stylegan(labels)))
    files = classes("", 3) | {"dataset.json": b'{"images": []}'}  # another program's
    assert opened(write(tmp_path / "c", files)).spec.labels == {"class": ("cat", "dog")}


def test_celeba_as_it_comes(tmp_path: Path) -> None:
    names = [f"{i:06d}.jpg" for i in range(1, 13)]
    files: dict[str, object] = {
        f"img_align_celeba/{name}": encoded(noise(16, 16, 3, seed=i), "JPEG") for i, name in enumerate(names)
    }
    table = [
        "13",
        "Smiling Male",
        *(f"{name}  {1 if i % 2 else -1} -1" for i, name in enumerate([*names, "000099.jpg"])),
    ]
    files["list_attr_celeba.txt"] = rows(*table)
    files["list_eval_partition.txt"] = rows(
        *(f"{name} {0 if i < 8 else 1 if i < 10 else 2}" for i, name in enumerate(names))
    )
    source, notes = opened_with_notes(write(tmp_path, files))
    assert source.spec.labels == {"Smiling": ("-1", "1"), "Male": ("-1",)}
    assert len(source) == 8
    assert "2 kept for testing; 2 kept for validation" in notes[0]
    assert any("1 of its 13 files are not there" in note for note in notes)
    assert len(opened(tmp_path, "test")) == 2
    (tmp_path / "list_attr_celeba.txt").unlink()  # as Kaggle has it
    lines = [f"{name},{1 if i % 2 else -1},-1" for i, name in enumerate(names)]
    write(tmp_path, {"list_attr_celeba.csv": rows("image_id,Smiling,Male", *lines)})
    assert opened(tmp_path, attributes={"Smiling": None}).spec.counts == (4, 4)


def test_a_table_of_another_name_is_pointed_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        six("images/") | {"labels.csv": rows("id,kind", *(line.replace(".png", "") for line in listed())).encode()},
    )
    source, notes = opened_with_notes(tmp_path)
    assert source.labels is None
    assert notes[1] == (
        f"{tmp_path}: labels: none; labels.csv lists these pictures too: to take labels from it, "
        "overrides={\"data.table\": 'labels.csv'}"
    )
    source, notes = opened_with_notes(tmp_path, table="labels.csv")
    assert words(source) == ["chat", "ch\u00e9ri"] * 3
    with pytest.raises(ZerosumError, match=r"no table 'label\.csv' in it: did you mean 'labels\.csv'"):
        opened(tmp_path, table="label.csv")
    write(tmp_path, {"labels.csv": b"x,y\n1,2\n"})
    assert opened_with_notes(tmp_path)[1][1] == f"{tmp_path}: labels: none"


def test_rows_without_a_picture(tmp_path: Path) -> None:
    table = rows("file_name,kind", *listed(count=40))
    write(tmp_path, {f"{i:03d}.png": colour(i) for i in range(39)} | {"metadata.csv": table.encode()})
    source, notes = opened_with_notes(tmp_path)
    assert len(source) == 39
    assert any("1 of its 40 files are not there, or no pictures: 039.png (line 41)" in note for note in notes)
    with pytest.raises(ZerosumError, match=r"1 of its 40 files are not there"):
        opened(tmp_path, bad_share=0.01)


def test_labels_that_a_split_lacks_are_said(tmp_path: Path) -> None:
    files: dict[str, object] = {**six("train/"), "test/a.png": colour(9), "test/b.png": colour(10)}
    write(tmp_path, {**files, "train/metadata.csv": rows("file_name,kind", *listed())})
    assert len(opened(tmp_path)) == 6
    held_out, notes = opened_with_notes(tmp_path, "test", attributes={"kind": None})
    assert (len(held_out), held_out.labels) == (2, None)
    assert notes[1].endswith("labels: none: train/metadata.csv lists none of these pictures")
    (tmp_path / "train" / "metadata.csv").rename(tmp_path / "test" / "metadata.csv")
    write(tmp_path, {"test/metadata.csv": rows("file_name,kind", "a.png,x")})
    with pytest.raises(ZerosumError, match=r"lists none of these pictures; data\.attributes asks for kind"):
        opened(tmp_path, attributes={"kind": None})


def test_held_out_pictures_need_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "flat", classes("train/", 3) | {f"test/{i}.png": colour(50 + i) for i in range(4)})
    assert opened(tmp_path / "flat").spec.labels == {"class": ("cat", "dog")}
    held_out = opened(tmp_path / "flat", "test")
    assert (len(held_out), held_out.labels) == (4, None)
    write(tmp_path / "some", classes("train/", 3) | {f"test/cat/{i}.png": colour(50 + i) for i in range(4)})
    assert words(opened(tmp_path / "some", "test")) == ["cat"] * 4


# what is found is said


def test_every_file_is_counted_once(tmp_path: Path) -> None:
    files: dict[str, object] = {**classes("train/", 20), **classes("test/", 5, 60)}
    files |= {
        "train/cat/broken.png": b"no picture",
        "train/cat/x.heic": b"",
        "notes.txt": "",
        "a/b.docx": b"",
        ".git/x": b"",
    }
    files |= {"train/dog/photo": colour(200), "preview.jpg": colour(201)}
    write(tmp_path, files)
    _, notes = opened_with_notes(tmp_path)
    assert notes[0] == (
        f"{tmp_path}: 41 pictures; 1 unreadable; 10 kept for testing; 1 beside the folders of splits (preview.jpg); "
        "1 picture of a kind that is not read (train/cat/x.heic); 1 hidden (.git); 2 other files (a/b.docx, notes.txt)"
    )
    numbers = [int(part.strip().split()[0]) for part in notes[0].partition(": ")[2].split(";")]
    assert sum(numbers) == len(files)


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def locked(folder: Path) -> object:
        if Path(folder).name == "dog":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    write(tmp_path, classes("", 3))
    with pytest.raises(ZerosumError, match=r"1 folder may not be read \(dog/ \(Permission denied\)\).*nobody knows"):
        opened(tmp_path)
    source, notes = opened_with_notes(tmp_path, bad_share=1.0)
    assert len(source) == 3
    assert "1 folder that may not be read" in notes[0]


def test_links_to_folders(tmp_path: Path) -> None:
    store = write(tmp_path / "store", classes("", 6))
    folder = write(tmp_path / "set", {f"cat/{i}.png": colour(i) for i in range(6)})
    (folder / "dog").symlink_to(store / "dog")
    with pytest.raises(
        ZerosumError, match=r"6 of 12 pictures are lost.*1 link out of the folder \(dog, 6 pictures behind"
    ):
        opened(folder)
    source = opened(folder, links=True)
    assert source.spec.counts == (6, 6)
    (store / "dog" / "again").symlink_to(store / "dog")  # no end
    (store / "dog" / "up").symlink_to(folder)
    assert len(opened(folder, links=True)) == 12


def test_deep_folders_and_odd_names(tmp_path: Path) -> None:
    deep = "/".join("d" * 1 for _ in range(300))
    source = opened(write(tmp_path, {f"{deep}/a.png": colour(0), "b\n.png": colour(1), "\udcff.png": colour(2)}))
    assert len(source) == 3


def test_no_test_split(tmp_path: Path) -> None:
    with pytest.raises(NoTestSplit):
        opened(write(tmp_path, classes("", 3)), "test")


def test_archives_inside_are_pointed_out(tmp_path: Path) -> None:
    write(tmp_path, {"train.zip": b"PK", "readme.md": b""})
    with pytest.raises(
        ZerosumError, match=r"no pictures .* in it; left out: 2 other files.*give one of the files in it.*train\.zip"
    ):
        opened(tmp_path)


def test_doctests() -> None:
    import doctest

    from zerosum.data.pictures import values

    assert doctest.testmod(layout).failed == 0
    assert doctest.testmod(values).failed == 0
