from __future__ import annotations

import errno
import os
import shutil

import pandas as pd
import pytest

from melascope import datasets
from melascope.errors import DataError


def _rows(table: pd.DataFrame) -> dict[str, str]:
    return {
        key: None if pd.isna(code) else code for key, code in zip(table["image_id"], table["diagnosis"], strict=True)
    }


def test_class_folders_with_train_and_test(class_folders):
    table = datasets.read(class_folders)
    assert len(table) == 10
    assert table["diagnosis"].value_counts().to_dict() == {"NV": 5, "MEL": 5}
    assert table["split"].value_counts().to_dict() == {"train": 8, "test": 2}
    assert table["path"].map(os.path.isabs).all()
    assert "official_diagnosis" not in table.columns


def test_class_folders_nested_in_mixed_case_with_odd_endings_and_spaces(tmp_path, write_image):
    jpeg = write_image(tmp_path / "source.jpg").read_bytes()
    wanted = {
        "TRAIN/Basal Cell_Carcinoma/part 1/ISIC_0000001.JPeG": ("BCC", "train"),
        "my set/training/squamous-cell-carcinoma/deep/er/a 1.JFIF": ("SCC", "train"),
        "test/melanoma/ISIC_0000003 (1).jpg": ("MEL", "test"),
        "validation/melanoma/x7": ("MEL", "train"),
        "vascular lesion/ISIC_0000005.backup": ("VASC", None),
    }
    root = tmp_path / "set"
    for name in wanted:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg)
    for ignored in ("melanoma/.ipynb_checkpoints/a.jpg", "__MACOSX/nevus/._a.jpg", "melanoma/Thumbs.db", "notes.txt"):
        (root / ignored).parent.mkdir(parents=True, exist_ok=True)
        (root / ignored).write_bytes(jpeg if ignored.endswith("jpg") else b"no image")
    table = datasets.read(root)
    found = {
        os.path.relpath(row.path, root): (row.diagnosis, None if pd.isna(row.split) else row.split)
        for row in table.itertuples()
    }
    assert found == wanted
    assert set(table["image_id"]) == {"ISIC_0000001", "A 1", "ISIC_0000003", "X7", "ISIC_0000005.BACKUP"}


def test_links_that_lead_in_a_circle_end(class_folders):
    (class_folders / "Train" / "nevus" / "again").symlink_to(class_folders, target_is_directory=True)
    assert len(datasets.read(class_folders)) == 10


def test_a_link_to_itself_is_passed_over(class_folders):
    (class_folders / "Train" / "nevus" / "loop.jpg2").symlink_to(class_folders / "Train" / "nevus" / "loop.jpg2")
    (class_folders / "Train" / "nevus" / "gone").symlink_to(class_folders / "nowhere")
    assert len(datasets.read(class_folders)) == 10


@pytest.mark.skipif(os.name == "nt", reason="Windows names files in Unicode only")
def test_a_file_name_that_is_not_utf8_is_listed_and_the_rest_is_read(class_folders):
    try:
        (class_folders / "Train" / "nevus" / os.fsdecode(b"caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    scanned = datasets.scan(datasets.read(class_folders))
    assert len(scanned) == 11
    (odd,) = scanned[scanned["error_kind"].notna()].itertuples()
    assert odd.path.endswith("caf\ufffd.jpg")
    assert (odd.error_kind, odd.error) == ("unreadable", "The file's name is not text in UTF-8; rename it.")
    datasets.save(scanned, class_folders / "table.parquet")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "holds no photographs"),
        (lambda root: (root / "melanoma").mkdir(), "holds no photographs"),
        (lambda root: (root / "a.jpg").touch(), "no folder that says their diagnosis"),
        (lambda root: _touch(root / "melanom" / "a.jpg"), 'the nearest known name is "melanoma".*--spelling'),
        (lambda root: _touch(root / "nevus" / "a.jpg", root / "freckle" / "b.jpg"), '"freckle" is not a diagnosis'),
        (lambda root: _touch(root / "nevus" / "a.jpg", root / "b.jpg"), "beside its class folders"),
        (lambda root: _touch(root / "pics" / "a.jpg", root / "labels.csv"), "labels.csv: give that"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path, make, message):
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    with pytest.raises(DataError, match=message):
        datasets.read(root)


def _touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_unknown_folder_is_named_at_the_depth_of_its_sisters(tmp_path):
    _touch(tmp_path / "Train" / "nevus" / "a.jpg", tmp_path / "Train" / "lentigo" / "batch 1" / "b.jpg")
    with pytest.raises(DataError, match='"lentigo" is not a diagnosis'):
        datasets.read(tmp_path)


def test_a_spelling_explains_an_unknown_folder(tmp_path):
    _touch(tmp_path / "Lentigo" / "a.jpg", tmp_path / "nevus" / "b.jpg")
    assert _rows(datasets.read(tmp_path, spellings={"lentigo": "BKL"})) == {"A": "BKL", "B": "NV"}
    with pytest.raises(DataError, match='mapped to "XX"'):
        datasets.read(tmp_path / "Lentigo" / "..", spellings={"lentigo": "XX", "nevus": "NV"})


def test_a_path_that_is_not_there_or_no_data_set_says_so(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        datasets.read(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="neither a folder nor a table"):
        datasets.read(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="goes with a table"):
        datasets.read(tmp_path, images=tmp_path)
    with pytest.raises(DataError, match='no reader "zip"'):
        datasets.read(tmp_path, reader="zip")


def test_a_folder_without_read_permission_is_named(class_folders, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("nevus"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="nevus may not be read; check its permissions"):
        datasets.read(class_folders)


@pytest.fixture
def images(tmp_path, write_image):
    for number in range(1, 6):
        write_image(tmp_path / "images" / f"part {number % 2}" / f"ISIC_{number:07d}.jpg", seed=number)
    return tmp_path / "images"


def _csv(folder, text, name="labels.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


ONE_HOT_2019 = """image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK
ISIC_0000001_downsampled,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0
ISIC_0000002,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0
ISIC_0000003,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0
"""
HAM = """lesion_id,image_id,dx,dx_type,age,sex,localization
HAM_1,ISIC_0000001,bkl,histo,80.0,male,scalp
HAM_1,ISIC_0000002,bkl,histo,,unknown,unknown
HAM_2,ISIC_0000003,akiec,consensus,35.0,female,back
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE_HOT_2019, {"ISIC_0000001": "NV", "ISIC_0000002": "MEL", "ISIC_0000003": None}),
        (HAM, {"ISIC_0000001": "BKL", "ISIC_0000002": "BKL", "ISIC_0000003": "AKIEC"}),
        (
            "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,0.0,0.0\nISIC_0000002,1.0,0.0\nISIC_0000003,0.0,1.0\n",
            {"ISIC_0000001": "NV", "ISIC_0000002": "MEL", "ISIC_0000003": "SK"},
        ),
        ("image_id,melanoma\nISIC_0000001,0.0\nISIC_0000002,1.0\n", {"ISIC_0000001": None, "ISIC_0000002": "MEL"}),
        ("ISIC_0000001,benign\nISIC_0000002,malignant\n", {"ISIC_0000001": None, "ISIC_0000002": "MEL"}),
        (
            "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
            "ISIC_0000001,IP_1,male,45,torso,unknown,benign,0\n"
            "ISIC_0000002,IP_1,male,45,torso,melanoma,malignant,1\n"
            "ISIC_0000003,IP_2,female,50,torso,lichenoid keratosis,benign,0\n",
            {"ISIC_0000001": None, "ISIC_0000002": "MEL", "ISIC_0000003": "BKL"},
        ),
        ("image_id;diagnosis\nisic_0000004.jpg; Nevus \n", {"ISIC_0000004": "NV"}),
        ("\ufeffImage_ID,Diagnosis\nISIC_0000005,mel\n", {"ISIC_0000005": "MEL"}),
    ],
    ids=["2019", "ham10000", "2017", "2017 melanoma", "2016", "2020", "semicolons", "byte order mark"],
)
def test_tables_of_the_challenges(tmp_path, images, text, expected):
    table = datasets.read(_csv(tmp_path, text), images=images)
    assert _rows(table) == expected
    assert table["path"].map(os.path.exists).all()


@pytest.mark.parametrize(
    "text",
    [
        "image_id,diagnosis,part,camera\nISIC_0000001,MEL,train,old\nISIC_0000002,NV,test,new\n",
        "lesion_id,image_id,dx,part,camera\nHAM_1,ISIC_0000001,mel,train,old\nHAM_2,ISIC_0000002,nv,test,new\n",
        "image,MEL,NV,part,camera\nISIC_0000001,1,0,train,old\nISIC_0000002,0,1,test,new\n",
    ],
    ids=["own", "ham10000", "one-hot"],
)
def test_a_table_by_id_keeps_its_parts(tmp_path, images, text):
    table = datasets.read(_csv(tmp_path, text), images=images)
    assert table["part"].tolist() == ["train", "test"]
    assert ("camera" in table) == text.startswith("image_id,diagnosis")  # further columns of a table of our own


def test_ham10000_brings_lesions_ages_and_how_it_was_confirmed(tmp_path, images):
    table = datasets.read(_csv(tmp_path, HAM), images=images).set_index("image_id")
    assert table["lesion_id"].tolist() == ["HAM_1", "HAM_1", "HAM_2"]
    assert table["confirmed_by"].tolist() == ["histo", "histo", "consensus"]
    assert table["age"].tolist()[0] == 80
    assert pd.isna(table.loc["ISIC_0000002", ["age", "sex", "site"]]).all()


def test_what_not_melanoma_means_can_be_said(tmp_path, images):
    path = _csv(tmp_path, "image_id,melanoma\nISIC_0000001,0\nISIC_0000002,1\n")
    table = datasets.read(path, images=images, spellings={"not melanoma": "NV"})
    assert _rows(table) == {"ISIC_0000001": "NV", "ISIC_0000002": "MEL"}


def test_a_saved_table_reads_back_as_it_was(class_folders, tmp_path):
    table = datasets.read(class_folders)
    for name in ("table.csv", "table.parquet"):
        again = datasets.read(datasets.save(table.assign(group="g"), tmp_path / name))
        pd.testing.assert_frame_equal(again[table.columns], table)
        assert (again["group"] == "g").all()


def test_relative_paths_start_at_the_table_or_at_images(class_folders, tmp_path):
    text = "path,diagnosis\nTrain/melanoma/ISIC_0000001.jpg,MEL\n"
    beside = datasets.read(_csv(class_folders, text))
    apart = datasets.read(_csv(tmp_path, text), images=class_folders)
    assert beside["image_id"].tolist() == ["ISIC_0000001"]
    assert beside["path"].tolist() == apart["path"].tolist()


def test_some_missing_files_are_kept_for_the_scan_to_list(tmp_path, images):
    table = datasets.read(_csv(tmp_path, "image_id,diagnosis\nISIC_0000001,MEL\nISIC_0000099,NV\n"), images=images)
    scanned = datasets.scan(table)
    assert [None if pd.isna(kind) else kind for kind in scanned["error_kind"]] == [None, "missing"]


def test_two_files_of_one_id_are_refused_unless_they_are_copies(tmp_path, images, write_image):
    path = _csv(tmp_path, "image_id,diagnosis\nISIC_0000001,MEL\n")
    first = images / "part 1" / "ISIC_0000001.jpg"
    shutil.copy(first, images / "ISIC_0000001 (1).jpg")
    assert len(datasets.read(path, images=images)) == 1
    write_image(images / "small" / "ISIC_0000001.jpg", size=(16, 16))
    with pytest.raises(DataError, match=r"different files for ISIC_0000001.*Point --images"):
        datasets.read(path, images=images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("image_id,diagnosis,age\n", "no rows"),
        ("image_id,diagnosis\nISIC_0000077,MEL\n", "None of 1 photograph .* such as ISIC_0000077"),
        ("image_id,diagnosis\nISIC_0000001,wart\n", '"wart" is not a diagnosis'),
        ("image_id,diagnosis\nISIC_0000001,MEL\n,NV\n", 'empty "image_id", first in row 2'),
        ("name,label\na,MEL\n", "no table that Melascope knows"),
        ("image,MEL,NV\nISIC_0000001,1,1\n", "names 2 classes in row 1"),
        ("image,MEL,NV\nISIC_0000001,.5,.5\n", "something other than 0 or 1"),
        ("image_id,melanoma\nISIC_0000001,maybe\n", '"maybe" in column "melanoma", row 1'),
        ("image_id,diagnosis,age\nISIC_0000001,MEL,old\n", '"old" in column "age"'),
        ("path,diagnosis\nx/ISIC_0000001.jpg,MEL\n", "None of 1 file "),
        ("path,diagnosis\n,MEL\n", "empty"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(tmp_path, images, text, message):
    with pytest.raises(DataError, match=message):
        datasets.read(_csv(tmp_path, text), images=images)


def test_images_that_is_no_folder_says_so(tmp_path, images):
    path = _csv(tmp_path, "image_id,diagnosis\nISIC_0000001,MEL\n")
    with pytest.raises(DataError, match="is not a folder"):
        datasets.read(path, images=path)
    with pytest.raises(DataError, match="does not exist"):
        datasets.read(path, images=tmp_path / "nowhere")


def test_files_that_are_no_tables_say_so(tmp_path, images):
    image = shutil.copy(images / "part 1" / "ISIC_0000001.jpg", tmp_path / "image.csv")
    with pytest.raises(DataError, match="not text in UTF-8"):
        datasets.read(image, images=images)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 is all there is")
    with pytest.raises(DataError, match="cannot be read as a table"):
        datasets.read(tmp_path / "broken.parquet", images=images)


def test_a_reader_of_ones_own_is_asked_first(tmp_path, monkeypatch):
    def rows(source: datasets.Source) -> pd.DataFrame:
        return pd.DataFrame({"image_id": ["X"], "path": [str(source.path / "x.jpg")], "diagnosis": ["MEL"]})

    readers = {**datasets.READERS, "own": datasets.Reader(lambda source: source.cells is None, rows)}
    monkeypatch.setattr("melascope.datasets.readers.READERS", readers)
    assert datasets.read(tmp_path)["image_id"].tolist() == ["X"]


def test_an_authority_adds_official_labels_and_fills_gaps(class_folders, tmp_path):
    labels = _csv(
        tmp_path, "image,MEL,NV,BKL\nISIC_0000001_downsampled,0,1,0\nISIC_0000002,0,1,0\nISIC_9999999,1,0,0\n"
    )
    metadata = _csv(
        tmp_path, "image,age_approx,anatom_site_general,lesion_id,gender\nISIC_0000001,50,back,L1,female\n", "meta.csv"
    )
    table = datasets.read(class_folders, authority=[labels, metadata]).set_index("image_id")
    assert table["official_diagnosis"].dropna().to_dict() == {"ISIC_0000001": "NV", "ISIC_0000002": "NV"}
    assert table.loc["ISIC_0000001", "diagnosis"] == "MEL"
    row = table.loc["ISIC_0000001", ["lesion_id", "sex", "site", "age"]]
    assert row.tolist() == ["L1", "female", "back", 50]
    assert table["lesion_id"].notna().sum() == 1


def test_of_two_authorities_the_finer_label_counts(class_folders, tmp_path):
    coarse = _csv(tmp_path, "image_id,dx,lesion_id\nISIC_0000001,akiec,L1\nISIC_0000002,nv,L2\n", "coarse.csv")
    fine = _csv(tmp_path, "image_id,diagnosis\nISIC_0000001,SCC\nISIC_0000003,MEL\n", "fine.csv")
    expected = {"ISIC_0000001": "SCC", "ISIC_0000002": "NV", "ISIC_0000003": "MEL"}
    for order in ((coarse, fine), (fine, coarse)):
        table = datasets.read(class_folders, authority=order).set_index("image_id")
        assert table["official_diagnosis"].dropna().to_dict() == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["image_id,diagnosis\nISIC_7654321,MEL\n"], "names none of the 10 photographs"),
        (["image_id,diagnosis\nISIC_0000001,MEL\nISIC_0000001,NV\n"], "contradicts itself: ISIC_0000001"),
        (["image_id,diagnosis\nISIC_0000001,MEL\n", "image_id,diagnosis\nISIC_0000001,NV\n"], "another authority MEL"),
        (["diagnosis\nMEL\n"], "does not name its photographs"),
    ],
)
def test_an_authority_that_cannot_be_used_says_why(class_folders, tmp_path, texts, message):
    paths = [_csv(tmp_path, text, f"{number}.csv") for number, text in enumerate(texts)]
    with pytest.raises(DataError, match=message):
        datasets.read(class_folders, authority=paths)


def test_a_missing_authority_says_so(class_folders, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        datasets.read(class_folders, authority=[tmp_path / "gone.csv"])


def test_check_trainable_refuses_one_class_and_warns_of_thin_ones(class_folders):
    table = datasets.read(class_folders)
    assert datasets.check_trainable(table) == []
    with pytest.raises(DataError, match="All 5 photographs have one diagnosis, melanoma"):
        datasets.check_trainable(table[table["diagnosis"] == "MEL"])
    with pytest.raises(DataError, match="No photograph has a diagnosis"):
        datasets.check_trainable(table.assign(diagnosis=pd.NA))
    thin = table.assign(diagnosis=["NV"] * 9 + ["DF"])
    warnings = datasets.check_trainable(thin)
    assert any("single photograph of dermatofibroma" in warning for warning in warnings)
    assert any("no melanoma" in warning for warning in warnings)


@pytest.mark.real_data
def test_the_published_sets_are_read(shared_data):
    ham = datasets.read(shared_data / "ham10000" / "HAM10000_metadata.csv", images=shared_data / "ham10000" / "images")
    assert len(ham) == 10_015
    assert ham["lesion_id"].nunique() == 7_470
    assert ham["diagnosis"].value_counts().to_dict() == {
        "NV": 6705,
        "MEL": 1113,
        "BKL": 1099,
        "BCC": 514,
        "AKIEC": 327,
        "VASC": 142,
        "DF": 115,
    }
    isic2017 = datasets.read(shared_data / "isic2017" / "ISIC-2017_Training_Classes.csv")
    assert isic2017["diagnosis"].value_counts(dropna=False).to_dict() == {pd.NA: 1626, "MEL": 374}
    with pytest.raises(DataError, match=r"HAM10000_metadata\.csv: give that"):
        datasets.read(shared_data / "ham10000")
