"""Fetching from a server on this machine that speaks the archive's API: what is asked, written and gone on with."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import pandas as pd
import pytest
from tests.archive_server import DIAGNOSES, Server, status

from melascope import datasets
from melascope.datasets import archive_download
from melascope.datasets.archive import ISIC9, KNOWN, Patience, fetch, read_ids
from melascope.datasets.archive_diagnosis import code_of, path_of
from melascope.errors import DataError

QUICK = Patience(attempts=3, pause=0.01, connect=2.0, silence=2.0)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def archive():
    with Server() as server:
        yield server


@pytest.fixture
def get(archive, tmp_path):
    def call(out="set", **options):
        return fetch(tmp_path / out, server=archive.api, patience=QUICK, **options)

    return call


def test_a_set_by_its_short_name(archive, get, tmp_path):
    stages = {}
    fetched = get(name="ham10000", progress=lambda stage, done, total: stages.update({stage: (done, total)}))
    assert (fetched.wanted, fetched.fetched, fetched.kept, fetched.failed) == (6, 6, 0, [])
    assert fetched.notes == ["The archive lists 6 photographs of ham10000; 10,015 were published."]
    assert stages == {"listing photographs": (6, 6), "fetching photographs": (6, 6)}
    for name, data in archive.photographs.items():
        assert (tmp_path / "set" / "images" / f"{name}.jpg").read_bytes() == data
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        ".fetch", "ATTRIBUTION.md", "images", "licences.csv", "metadata.csv",
    ]  # fmt: skip
    assert not list((tmp_path / "set" / "images").glob(".*"))
    assert all("melascope" in agent for agent in archive.agents)


@pytest.mark.parametrize("images", [None, "images"])
def test_what_was_fetched_is_read_as_a_set(images, archive, get, tmp_path):
    get(name="ham10000")
    folder = tmp_path / "set"
    table = datasets.read(folder / "metadata.csv", images=images and folder / images)
    table = datasets.scan(table)
    assert table["error_kind"].isna().all()
    assert table["diagnosis"].tolist()[:3] == ["NV", "MEL", "VASC"]
    assert table["diagnosis"].isna().tolist() == [False, False, False, True, False, False]
    first = table.iloc[0]
    assert (first["image_id"], first["lesion_id"], first["patient_id"]) == ("ISIC_0000001", "IL_0000000", "IP_0000000")
    assert (first["age"], first["sex"], first["site"]) == (40.0, "female", "anterior torso")
    assert (first["source"], first["license"]) == ("Anonymous", "CC-0")
    assert (first["modality"], first["confirmed_by"]) == ("dermoscopic", "histopathology")


def test_metadata_licences_and_attribution(archive, get, tmp_path):
    get(name="ham10000")
    rows = pd.read_csv(tmp_path / "set" / "metadata.csv", dtype="string").set_index("image_id")
    row = rows.loc["ISIC_0000002"]
    assert row["sha256"] == hashlib.sha256(archive.photographs["ISIC_0000002"]).hexdigest()
    assert row["archive_diagnosis"] == " > ".join(DIAGNOSES[1].values())
    assert row["archive_melanocytic"] == "True"
    licences = pd.read_csv(tmp_path / "set" / "licences.csv", dtype="string").set_index("image_id")
    assert licences.loc["ISIC_0000002", "attribution"] == "ViDIR | Group, Vienna"
    text = (tmp_path / "set" / "ATTRIBUTION.md").read_text()
    assert "10.1038/sdata.2018.161" in text
    assert "| [CC-BY](https://creativecommons.org/licenses/by/4.0/) | ViDIR / Group, Vienna | 1 |" in text


def test_nothing_is_fetched_twice(archive, get, tmp_path):
    get(name="ham10000")
    (tmp_path / "set" / "images" / "ISIC_0000003.jpg").write_bytes(b"cut")
    (tmp_path / "set" / "images" / "ISIC_0000004.jpg").unlink()
    archive.asked.clear()
    fetched = get(name="ham10000")
    assert (fetched.fetched, fetched.kept) == (2, 4)
    assert archive.count("/files/") == 2
    assert archive.count("images/search") == 0


def test_files_that_are_there_without_a_note_are_taken_over_if_whole(archive, get, tmp_path):
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    (images / "ISIC_0000001.jpg").write_bytes(archive.photographs["ISIC_0000001"])
    (images / "ISIC_0000002.jpg").write_bytes(b"x" * len(archive.photographs["ISIC_0000002"]))
    fetched = get(name="ham10000")
    assert (fetched.fetched, fetched.kept) == (5, 1)
    assert (images / "ISIC_0000002.jpg").read_bytes() == archive.photographs["ISIC_0000002"]


def test_a_listing_goes_on_where_it_broke_off(archive, get, tmp_path):
    archive.fail("cursor=4", status(500), times=3)
    with pytest.raises(DataError, match=r"list of photographs cannot be had.*failed 3 times: status 500"):
        get(name="ham10000")
    with (tmp_path / "set" / ".fetch" / "listing.jsonl").open("a") as file:
        file.write('\n{"id": "ISIC_00')
    archive.asked.clear()
    assert get(name="ham10000").fetched == 6
    assert [path for path in archive.asked if "search" in path] == [
        "/api/v2/images/search/?limit=100&collections=7&cursor=4"
    ]


def test_a_limit_takes_the_first_and_a_larger_one_goes_on(archive, get, tmp_path):
    assert get(name="ham10000", limit=3).fetched == 3
    assert archive.count("cursor=4") == 0
    fetched = get(name="ham10000", limit=5)
    assert (fetched.wanted, fetched.fetched, fetched.kept) == (5, 2, 3)
    assert len(datasets.read(tmp_path / "set" / "metadata.csv")) == 5


def test_ctrl_c_leaves_a_folder_that_agrees_with_itself(archive, get, tmp_path):
    def interrupt(stage, done, total):
        if stage == "fetching photographs" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(name="ham10000", connections=1, progress=interrupt)
    there = sorted(path.stem for path in (tmp_path / "set" / "images").glob("*.jpg"))
    assert 2 <= len(there) < 6
    assert datasets.read(tmp_path / "set" / "metadata.csv")["image_id"].tolist() == there
    fetched = get(name="ham10000")
    assert fetched.fetched + fetched.kept == 6
    assert fetched.kept == len(there)


def test_collections_and_searches(archive, get):
    assert get("a", collection=8).fetched == 2
    assert get("b", name="a SMALL one").fetched == 2
    assert get("c", search="sex:female").fetched == 6
    assert get("d", search="sex:female", collection=8).fetched == 2
    assert any("query=sex%3Afemale" in path and "collections=8" in path for path in archive.asked)


def test_a_doi_is_cited(get, tmp_path):
    get(collection=8)
    assert "- https://doi.org/10.1/x" in (tmp_path / "set" / "ATTRIBUTION.md").read_text()


def test_thumbnails(archive, get):
    get(name="a small one", size="thumbnail")
    assert archive.count("?thumbnail") == 2
    with pytest.raises(DataError, match="holds another set, or in another size"):
        get(name="a small one")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Say what to fetch: a name"),
        ({"name": "ham1000"}, "no collection.*ham10000"),
        ({"name": "twice"}, "2 collections.*--collection: 9, 10"),
        ({"name": "isic9", "search": "sex:male"}, "isic9 is a list of photographs, which stands alone"),
        ({"name": "ham10000", "collection": 7}, "not both"),
        ({"collection": 99}, "no public collection 99"),
        ({"search": "sex:male"}, "no public photograph for"),
        ({"search": "(("}, "does not understand the search"),
        ({"ids": "ids.csv", "collection": 7}, "stands alone"),
        ({"name": "ham10000", "size": "huge"}, 'no size "huge"'),
        ({"name": "ham10000", "connections": 100}, "1 to 16"),
    ],
)
def test_what_cannot_be_fetched(options, said, get):
    with pytest.raises(DataError, match=said):
        get(**options)


def test_another_set_or_table_in_the_folder_is_left_alone(get, tmp_path):
    get(name="ham10000")
    with pytest.raises(DataError, match=r"holds another set.*Challenge 2018"):
        get(collection=8)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metadata.csv").write_text("mine")
    with pytest.raises(DataError, match=r"metadata.csv that no fetch has written"):
        get("mine", collection=8)
    assert (tmp_path / "mine" / "metadata.csv").read_text() == "mine"


def test_the_nine_class_set_is_a_list_that_comes_with_the_package(get):
    filed = read_ids(ISIC9)
    assert len(filed) == 2357
    assert filed["image_id"].nunique() == 2202
    assert get(name="isic9", limit=4).wanted >= 4


def test_a_list_of_ids_with_filed_labels(archive, get, tmp_path):
    listed = tmp_path / "isic9.csv"
    listed.write_text(
        "image_id,diagnosis,split\n"
        "ISIC_0000001,nevus,Train\nISIC_0000001.jpg,melanoma,Test\nisic_0000002,pigmented benign keratosis,Train\n"
        "ISIC_9999999,nevus,Train\n"
    )
    fetched = get(ids=listed, name="isic9")
    assert (fetched.wanted, fetched.fetched) == (3, 2)
    assert fetched.failed == [("ISIC_9999999", "The archive has no public photograph of this id.")]
    assert "ISIC_9999999" in (tmp_path / "set" / "failed.csv").read_text()
    folder = tmp_path / "set"
    table = datasets.read(folder / "metadata.csv", authority=[folder / "official.csv"])
    assert table["image_id"].tolist() == ["ISIC_0000001", "ISIC_0000001", "ISIC_0000002"]
    assert table["diagnosis"].tolist() == ["NV", "MEL", "PBK"]
    assert table["split"].tolist() == ["train", "test", "train"]
    assert table["official_diagnosis"].tolist() == ["NV", "NV", "MEL"]
    assert table["lesion_id"].notna().all()
    assert archive.count("/files/") == 2

    listed.write_text("ISIC_0000001\nISIC_0000003\n")
    listed.rename(tmp_path / "ids.txt")
    fetched = get(ids=tmp_path / "ids.txt")
    assert (fetched.fetched, fetched.kept, fetched.failed) == (1, 1, [])
    assert not (tmp_path / "set" / "failed.csv").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,diagnosis\n../../etc/passwd,nevus\n", 'none of the archive\'s, such as "PASSWD"'),
        ("image_id,diagnosis\nISIC_0000001,nevs\n", 'nearest known name is "nevus"'),
        ("foo\nbar\n", "does not name its photographs"),
        ("", "is empty"),
    ],
)
def test_lists_that_cannot_be_used(text, said, get, tmp_path):
    (tmp_path / "ids.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        get(ids=tmp_path / "ids.csv")
    assert not (tmp_path / "set").exists()


def test_space_is_checked_first(archive, get, monkeypatch):
    monkeypatch.setattr(archive_download.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000))
    with pytest.raises(DataError, match=r"need 0.00 GB.*--size thumbnail or --limit"):
        get(name="ham10000")
    assert archive.count("/files/") == 0


def test_a_person_may_call_it_off(archive, get):
    plans = []

    def no(plan):
        plans.append(plan)
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        get(name="ham10000", before=no)
    assert archive.count("/files/") == 0
    assert (plans[0].wanted, plans[0].missing, plans[0].begun) == (6, 6, False)
    assert plans[0].missing_bytes == sum(map(len, archive.photographs.values()))


def test_a_damaged_state_is_told(get, tmp_path):
    get(name="ham10000")
    (tmp_path / "set" / ".fetch" / "request.json").write_text("{")
    with pytest.raises(DataError, match="is damaged; take the folder"):
        get(name="ham10000")


def test_the_state_is_plain(get, tmp_path):
    get(name="ham10000")
    state = tmp_path / "set" / ".fetch"
    assert json.loads((state / "request.json").read_text())["collections"] == [7]
    assert json.loads((state / "cursor.json").read_text()) == {"next": ""}


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        (("Malignant", "Malignant melanocytic proliferations (Melanoma)"), "MEL"),
        (
            ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ", "Lentigo maligna"),
            "MEL",
        ),
        (("Benign", "Benign melanocytic proliferations", "Nevus", "Nevus, Spitz"), "NV"),
        (("Benign", "Benign melanocytic proliferations", "Lentigo simplex"), None),
        (("Benign", "Benign epidermal proliferations", "Epidermal nevus"), None),
        (("Benign", "Benign epidermal proliferations", "Pigmented benign keratosis"), "PBK"),
        (("Benign", "Benign epidermal proliferations", "Seborrheic keratosis", "Seborrheic keratosis, Clonal"), "SK"),
        (("Benign", "Benign epidermal proliferations", "Lichen planus like keratosis"), "BKL"),
        (("Benign", "Benign soft tissue proliferations - Vascular", "Hemangioma"), "VASC"),
        (("Benign", "Benign soft tissue proliferations - Fibro-histiocytic", "Dermatofibroma"), "DF"),
        (("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"), "BCC"),
        (("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma, NOS"), "SCC"),
        (("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis"), "AK"),
        (("Malignant", "Collision - At least one malignant proliferation"), None),
        ((), None),
    ],
)
def test_the_archives_diagnoses(levels, code):
    fields = {f"diagnosis_{number}": text for number, text in enumerate(levels, 1)}
    assert code_of(fields) == code
    assert path_of(fields) == " > ".join(levels)


def test_the_archives_old_diagnoses():
    assert code_of({"diagnosis": "angiokeratoma"}) == "VASC"
    assert path_of({"diagnosis": "angiokeratoma"}) == "angiokeratoma"


def test_known_sets_name_what_to_cite():
    assert all(known.citations and "https://" in known.citations[0] for known in KNOWN.values())
