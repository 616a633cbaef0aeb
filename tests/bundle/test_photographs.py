from __future__ import annotations

import os
from pathlib import Path

import pytest

from melascope.bundle import find
from melascope.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "b/two.JPG",
        "b/one.jpeg",
        "a/deep/er/three.png",
        "a/notes.txt",
        "a/.hidden.jpg",
        ".cache/four.jpg",
        "a/one.heatmap.jpg",
        "a/one.Neighbours.png",
        "odd name [1].tif",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "photos" / "empty").mkdir()
    return tmp_path / "photos"


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_is_searched_with_its_subfolders(root: Path) -> None:
    found = find([root])
    assert names(found.files, root) == ["odd name [1].tif", "a/deep/er/three.png", "b/one.jpeg", "b/two.JPG"]
    assert found.notes == []


def test_files_are_taken_as_they_are_and_once(root: Path) -> None:
    (root / "b" / "link.jpg").symlink_to(root / "b" / "two.JPG")
    found = find([root / "a/notes.txt", root / "b" / "two.JPG", root / "b", root / "a" / ".." / "b" / "one.jpeg"])
    assert [path.name for path in found.files] == ["notes.txt", "two.JPG", "one.jpeg"]


def test_patterns(root: Path) -> None:
    assert names(find([f"{root}/b/*"]).files, root) == ["b/one.jpeg", "b/two.JPG"]
    assert names(find([f"{root}/**/*.png"]).files, root) == ["a/deep/er/three.png"]
    assert names(find([f"{root}/a/*.txt"]).files, root) == ["a/notes.txt"]
    assert names(find([f"{root}/*"]).files, root) == [
        "odd name [1].tif",
        "a/deep/er/three.png",
        "b/one.jpeg",
        "b/two.JPG",
    ]
    assert "a/notes.txt" not in names(find([f"{root}/**"]).files, root)


def test_a_name_with_brackets_is_a_name_where_it_exists(root: Path) -> None:
    assert names(find([root / "odd name [1].tif"]).files, root) == ["odd name [1].tif"]


def test_what_gave_nothing_is_said_and_the_rest_goes_on(root: Path) -> None:
    found = find([root / "empty", root / "b", f"{root}/*.bmp", root / "gone.jpg"])
    assert [path.name for path in found.files] == ["one.jpeg", "two.JPG", "gone.jpg"]
    assert len(found.notes) == 2
    assert "holds no photographs" in found.notes[0]
    assert found.notes[1] == f"Nothing matches {root}/*.bmp."


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("empty", "holds no photographs"),
        ("gone.jpg", "gone.jpg does not exist."),
        ("*.bmp", "Nothing matches"),
    ],
)
def test_nothing_at_all_is_an_error_of_one_sentence(root: Path, asked: str, words: str) -> None:
    with pytest.raises(DataError, match=words.replace("*", r"\*")) as caught:
        find([root / asked])
    assert "\n" not in str(caught.value)


def test_a_folder_with_other_files_only_says_so(root: Path) -> None:
    (root / "empty" / "table.csv").write_text("x")
    with pytest.raises(DataError, match="only 1 other file"):
        find([root / "empty"])


def test_nothing_asked(root: Path) -> None:
    with pytest.raises(DataError, match="No photograph was named"):
        find([])


def test_a_folder_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = find([root])
    assert "three.png" not in [path.name for path in found.files]
    assert found.notes == [f"{root}/a may not be read (Permission denied); its photographs were left out."]
    with pytest.raises(DataError, match="may not be read"):
        find([root / "a"])
