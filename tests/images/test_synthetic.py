from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from melascope.diagnosis import DIAGNOSES
from melascope.errors import DataError, ImageError
from melascope.images import decode, lesion, write_dataset
from melascope.images.synthetic import render


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def centre_and_rim(pixels: np.ndarray) -> tuple[float, float]:
    height, width = pixels.shape[:2]
    middle = pixels[3 * height // 7 : 4 * height // 7, 3 * width // 7 : 4 * width // 7]
    rim = np.concatenate([pixels[height // 3 : 2 * height // 3, : width // 10].reshape(-1, 3)])
    return float(middle.mean()), float(rim.mean())


@pytest.mark.parametrize("code", sorted(DIAGNOSES))
def test_every_diagnosis_can_be_generated(code: str) -> None:
    pixels = lesion(5, code, size=32)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 3
    assert lesion(5, code, size=(24, 40)).shape == (24, 40, 3)


def test_one_seed_is_one_image_in_every_process() -> None:
    program = (
        "import hashlib; from melascope.images import lesion;"
        "print(hashlib.sha256(lesion(42, 'melanoma', 48).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert printed.stdout.strip() == hashlib.sha256(lesion(42, "melanoma", 48).tobytes()).hexdigest()
    assert np.array_equal(lesion(np.random.default_rng(42), "MEL", 48), lesion(42, "MEL", 48))
    assert not np.array_equal(lesion(43, "MEL", 48), lesion(42, "MEL", 48))


def test_a_generator_goes_on_drawing() -> None:
    rng = np.random.default_rng(0)
    assert not np.array_equal(lesion(rng, "NV", 32), lesion(rng, "NV", 32))


def test_lesions_stand_out_from_their_skin_on_every_tone() -> None:
    for tone in range(1, 7):
        darker = [rim - centre for centre, rim in (centre_and_rim(lesion(s, "MEL", 32, tone)) for s in range(12))]
        assert np.mean(darker) > 8, tone


def test_skin_tone_is_followed() -> None:
    means = [np.mean([lesion(seed, "NV", 24, tone).mean() for seed in range(12)]) for tone in range(1, 7)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 1.7 * means[-1]


def test_photographs_of_one_lesion_are_alike_but_not_the_same() -> None:
    one, two = render(1, 10, "BCC", 48, 2), render(1, 11, "BCC", 48, 2)
    other = render(2, 10, "BCC", 48, 2)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, other)
    again = [render(1, view, "BCC", 48, 2).mean(axis=(0, 1)) for view in range(30, 46)]
    strangers = [render(number, 30, "BCC", 48, 2).mean(axis=(0, 1)) for number in range(30, 46)]
    # The colour of a lesion relative to its skin stays when only the camera changes.
    assert np.std([a[0] / a[2] for a in again]) < np.std([s[0] / s[2] for s in strangers])


def test_artefacts_do_not_know_the_diagnosis() -> None:
    """The rim of the picture, where hair, ruler, vignette and skin are but no lesion, is the same for all classes."""
    for seed in range(6):
        rims = {code: lesion(seed, code, 64)[:3].astype(int) for code in ("NV", "BKL")}
        assert np.abs(rims["NV"] - rims["BKL"]).mean() < 6


def test_melanoma_is_larger_and_more_varied_than_nevus_but_overlaps() -> None:
    from melascope.images.synthetic_looks import draw_look

    looks = {code: [draw_look(np.random.default_rng(s), code) for s in range(300)] for code in ("MEL", "NV")}
    for name in ("radius", "irregularity", "asymmetry", "variegation"):
        melanoma = np.array([getattr(look, name) for look in looks["MEL"]])
        nevus = np.array([getattr(look, name) for look in looks["NV"]])
        above = (melanoma[:, None] > nevus).mean()
        assert 0.7 < above < 0.995, name


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"diagnosis": "mole rat"}, DataError),
        ({"diagnosis": "MEL", "skin_tone": 7}, ValueError),
        ({"diagnosis": "MEL", "size": 2}, ValueError),
    ],
)
def test_impossible_lesions_are_refused(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        lesion(0, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("set") / "lesions", photographs=80, seed=3, size=24)


def test_dataset_has_class_folders_and_a_table(dataset: Path) -> None:
    found = sorted(path.relative_to(dataset).as_posix() for path in dataset.glob("*/*"))
    names = ["basal cell carcinoma", "melanoma", "nevus", "seborrheic keratosis"]
    assert found == [f"{part}/{name}" for part in ("Test", "Train") for name in names]
    photographs = list(dataset.glob("*/*/*.jpg"))
    assert len(photographs) == 80 + 3
    with (dataset / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image_id", "lesion_id", "patient_id", "diagnosis", "age", "sex", "site"]
    assert len(rows) == len({row["image_id"] for row in rows}) == 80
    by_lesion: dict[str, set[str]] = {}
    for row in rows:
        by_lesion.setdefault(row["lesion_id"], set()).add(row["diagnosis"])
    assert len(by_lesion) < 80
    assert all(len(diagnoses) == 1 for diagnoses in by_lesion.values())
    assert len({row["patient_id"] for row in rows}) < len(by_lesion)


def test_exactly_the_planted_problems_are_there(dataset: Path) -> None:
    problems = json.loads((dataset / "planted.json").read_text())["problems"]
    assert all((dataset / path).is_file() for problem in problems for path in problem["paths"])
    by_kind = {kind: problem for problem in problems for kind in problem["kinds"]}
    photographs = {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.glob("*/*/*.jpg")}

    def refusal(data: bytes) -> str | None:
        try:
            decode(data)
        except ImageError as error:
            return error.kind
        return None

    unreadable = {path: kind for path, data in photographs.items() if (kind := refusal(data))}
    assert sorted(unreadable.values()) == ["not_an_image", "truncated"]
    assert set(unreadable) == {path for p in problems if "unreadable" in p["kinds"] for path in p["paths"]}

    digests: dict[bytes, list[str]] = {}
    for path, data in photographs.items():
        digests.setdefault(data, []).append(path)
    same = sorted(sorted(paths) for paths in digests.values() if len(paths) > 1)
    assert same == sorted(sorted(p["paths"]) for p in problems if "byte_identical" in p["kinds"])
    assert {path.split("/")[0] for path in by_kind["photograph_leak"]["paths"]} == {"Train", "Test"}
    right, wrong = by_kind["id_conflict"]["paths"]
    assert Path(right).stem == Path(wrong).stem
    assert (Path(right).parent.name, Path(wrong).parent.name) == ("melanoma", "nevus")

    with (dataset / "metadata.csv").open(newline="") as file:
        lesions = {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}
    parts: dict[str, set[str]] = {}
    for path in photographs:
        if Path(path).stem in lesions:
            parts.setdefault(lesions[Path(path).stem], set()).add(path.split("/")[0])
    leaking = {lesion_id for lesion_id, where in parts.items() if len(where) > 1}
    assert leaking == {lesions[image_id] for image_id in by_kind["lesion_leak"]["image_ids"]}


def test_dataset_is_the_same_for_one_seed_and_is_not_made_twice(dataset: Path, tmp_path: Path) -> None:
    again = write_dataset(tmp_path / "again", photographs=80, seed=3, size=24)
    assert files(again) == files(dataset)
    called: list[int] = []
    write_dataset(again, photographs=80, seed=3, size=24, progress=lambda _stage, done, _total: called.append(done))
    assert called == []
    assert files(write_dataset(tmp_path / "other", photographs=80, seed=4, size=24)) != files(dataset)


def test_an_interrupted_dataset_is_not_there_and_goes_on(dataset: Path, tmp_path: Path) -> None:
    def interrupt(_stage: str, done: int, _total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    target = tmp_path / "set"
    target.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_dataset(target, photographs=80, seed=3, size=24, progress=interrupt)
    assert not any(target.iterdir())
    assert files(write_dataset(target, photographs=80, seed=3, size=24)) == files(dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_dataset_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="something else"):
        write_dataset(tmp_path, photographs=40, size=16)
    made = write_dataset(tmp_path / "set", photographs=40, size=16)
    with pytest.raises(DataError, match="something else"):
        write_dataset(made, photographs=40, size=16, seed=1)
    with pytest.raises(ValueError, match="at least 40"):
        write_dataset(tmp_path / "few", photographs=10)
    with pytest.raises(DataError, match="mole rat"):
        write_dataset(tmp_path / "unknown", photographs=40, size=16, shares={"nevus": 1, "mole rat": 1})


def test_other_classes_can_be_asked_for(tmp_path: Path) -> None:
    made = write_dataset(tmp_path / "set", photographs=40, size=16, shares={"vascular lesion": 1, "dermatofibroma": 1})
    assert sorted(path.name for path in (made / "Train").iterdir()) == ["dermatofibroma", "vascular lesion"]
