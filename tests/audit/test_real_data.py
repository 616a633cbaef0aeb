"""The audit of the public sets against a straightforward check that shares no code with it."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import pytest

from melascope import audit, datasets

pytestmark = pytest.mark.real_data

FILED = {
    "melanoma": "MEL",
    "nevus": "NV",
    "basal cell carcinoma": "BCC",
    "actinic keratosis": "AK",
    "pigmented benign keratosis": "PBK",
    "seborrheic keratosis": "SK",
    "dermatofibroma": "DF",
    "vascular lesion": "VASC",
    "squamous cell carcinoma": "SCC",
}


class Plain:
    """isic9 and ISIC 2019, read with nothing but the standard library."""

    def __init__(self, data: Path) -> None:
        self.files = []
        for path in sorted((data / "isic9").glob("*/*/*.jpg")):
            content = hashlib.md5(path.read_bytes()).hexdigest()
            self.files.append((path.stem, path.parts[-3], FILED[path.parts[-2]], content, str(path)))
        self.official, self.lesion = {}, {}
        with (data / "isic2019" / "ISIC_2019_Training_GroundTruth.csv").open() as file:
            for row in csv.DictReader(file):
                name = row.pop("image").replace("_downsampled", "")
                self.official[name] = next(code for code, value in row.items() if float(value) == 1)
        with (data / "isic2019" / "ISIC_2019_Training_Metadata.csv").open() as file:
            for row in csv.DictReader(file):
                if row["lesion_id"]:
                    self.lesion[row["image"].replace("_downsampled", "")] = row["lesion_id"]

    def groups(self, key: int) -> dict[str, list[tuple[str, ...]]]:
        found = defaultdict(list)
        for file in self.files:
            found[file[key]].append(file)
        return found


@pytest.fixture(scope="module")
def plain(shared_data: Path) -> Plain:
    return Plain(shared_data)


@pytest.fixture(scope="module")
def isic9(shared_data: Path) -> pd.DataFrame:
    tables = [shared_data / "isic2019" / f"ISIC_2019_Training_{name}.csv" for name in ("GroundTruth", "Metadata")]
    return datasets.scan(datasets.read(shared_data / "isic9", authority=tables))


@pytest.fixture(scope="module")
def audited(isic9: pd.DataFrame) -> audit.Audit:
    return audit.audit(isic9)


def _found(audited: audit.Audit, kind: str) -> set[frozenset[str]]:
    rows = audited.problems[audited.problems["kind"] == kind]
    return {frozenset(part["path"]) for _, part in rows.groupby("group")}


def test_every_identical_pair_is_found(plain, audited):
    expected = {frozenset(f[4] for f in files) for files in plain.groups(3).values() if len(files) > 1}
    assert _found(audited, "byte_identical") == expected
    assert len(expected) == 157


def test_every_id_under_two_labels_is_found(plain, audited):
    expected = {frozenset(f[4] for f in files) for files in plain.groups(0).values() if len({f[2] for f in files}) > 1}
    assert _found(audited, "id_conflict") == expected
    assert len(expected) == 155


def test_every_photograph_in_train_and_test_is_found(plain, audited):
    expected = {frozenset(f[4] for f in files) for files in plain.groups(0).values() if len({f[1] for f in files}) > 1}
    assert _found(audited, "photograph_leak") == expected
    assert len(expected) == 18


def test_every_lesion_in_train_and_test_is_found(plain, audited):
    lesions = defaultdict(list)
    for file in plain.files:
        if file[0] in plain.lesion:
            lesions[plain.lesion[file[0]]].append(file)
    expected = {frozenset(f[4] for f in files) for files in lesions.values() if len({f[1] for f in files}) > 1}
    assert _found(audited, "lesion_leak") == expected
    assert len(expected) == 38


def test_every_disagreement_with_the_official_labels_is_found(plain, audited):
    matrix = Counter((f[2], plain.official[f[0]]) for f in plain.files if f[0] in plain.official)
    told = {
        (filed, official): int(count)
        for filed, row in audited.disagreement.iterrows()
        for official, count in row.items()
        if count
    }
    assert told == dict(matrix)
    wrong = {
        f[4]
        for f in plain.files
        if f[0] in plain.official and {"PBK": "BKL", "SK": "BKL"}.get(f[2], f[2]) != plain.official[f[0]]
    }
    assert set().union(*_found(audited, "authority_conflict")) == wrong
    assert len(wrong) == 102


def test_clean_is_what_a_straightforward_reading_of_the_protocol_gives(plain, isic9, audited):
    # Two pairs of identical files have ids of their own; the straightforward reading merges those too.
    content = {f[0]: f[3] for f in plain.files}
    photographs = defaultdict(list)
    for file in plain.files:
        photographs[content[file[0]]].append(file)
    label: dict[str, str] = {}
    contradictory = 0
    for key, files in photographs.items():
        official = {plain.official[f[0]] for f in files if f[0] in plain.official}
        filed = {{"PBK": "BKL", "SK": "BKL"}.get(f[2], f[2]) for f in files}
        labels = official or filed
        if len(labels) > 1:
            contradictory += len(files)
        else:
            label[key] = labels.pop()
    in_test = {key for key in label if any(f[1] == "Test" for f in photographs[key])}
    lesions = {plain.lesion.get(f[0]) for key in in_test for f in photographs[key]} - {None}
    tied = {
        key for key in label if key not in in_test and any(plain.lesion.get(f[0]) in lesions for f in photographs[key])
    }
    prepared = audit.apply_protocol(isic9, audited, "clean")
    assert prepared.name == "clean"
    kept = {key: code for key, code in label.items() if key not in tied}
    rows = {content[row.image_id]: row for row in prepared.table.itertuples()}
    assert {key: row.diagnosis for key, row in rows.items()} == kept
    assert len(rows) == len(prepared.table)
    assert {key for key, row in rows.items() if row.split == "test"} == in_test
    reasons = prepared.excluded["reason"].value_counts().to_dict()
    assert reasons == {
        "filed under several diagnoses, no authority": contradictory,
        "the lesion is in Test": 47,
        "the photograph is in Test": 13,
        "copy of a photograph that is kept": 84,
    }
    assert (contradictory, len(prepared.table), len(in_test)) == (112, 2101, 113)
    assert prepared.table["label_from"].value_counts().to_dict() == {"authority": 1872, "filed": 229}
    part = datasets.split(prepared.table, seed=0)
    assert not part.cross_fitted
    assert audit.leakage(prepared.table, part.part)["share_any"] == 0


def test_as_filed_says_how_much_it_leaks(isic9, audited):
    prepared = audit.apply_protocol(isic9, audited, "as-filed")
    assert len(prepared.table) == 2357
    assert prepared.leak == {
        "test_photographs": 118,
        "share_photograph": 18,
        "share_lesion": 39,
        "share_patient": 0,
        "share_any": 44,
    }


def test_ham10000_has_two_identical_pairs_and_lesions_stay_whole(shared_data):
    folder = shared_data / "ham10000"
    table = datasets.scan(datasets.read(folder / "HAM10000_metadata.csv", images=folder / "images"))
    contents = Counter(hashlib.md5(path.read_bytes()).hexdigest() for path in (folder / "images").glob("*.jpg"))
    found = audit.audit(table)
    assert found.summary()["kinds"]["byte_identical"]["groups"] == sum(n > 1 for n in contents.values()) == 2
    prepared = audit.apply_protocol(table, found, "clean")
    assert prepared.classes == ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    assert len(prepared.table) == len(contents) == 10_013
    fold = datasets.folds(prepared.table, 5, seed=0)
    pairs = pd.DataFrame({"lesion": prepared.table["lesion_id"], "fold": fold}).drop_duplicates()
    assert len(pairs) == 7_470
    counts = pd.crosstab(prepared.table["diagnosis"], fold)
    # Per diagnosis no fold is off an even fifth by more than a lesion's six photographs at each end.
    assert (counts.sub(counts.sum(axis=1) / 5, axis=0).abs() <= 6).all(axis=None)
