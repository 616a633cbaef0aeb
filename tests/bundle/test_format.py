from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import TrainedOn, load_bundle, write_bundle
from melascope.errors import BundleError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny.bundle(tmp_path / "tiny.melascope").path


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, members: dict[str, bytes], hashed: bool = True, **entry: int) -> Path:
    """Write members as a bundle, with a manifest and a seal that fit unless `hashed` is False."""
    if hashed and "manifest.json" in members:
        manifest = json.loads(members["manifest.json"])
        manifest["members"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in members.items()
            if name != "manifest.json"
        }
        members = {**members, "manifest.json": json.dumps(manifest).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", entry.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.comment = b"0" * 64
    body = buffer.getvalue()[:-64]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    return path


def refused(path: Path, *words: str) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


def test_what_was_written_is_read(tmp_path: Path) -> None:
    trained_on = TrainedOn.of(["ab" * 32, "cd" * 32], np.arange(64, dtype=np.uint8).reshape(2, 32))
    written = tiny.bundle(
        tmp_path / "a.melascope",
        evaluation={"schema": 1, "parts": {}},
        card="# Card\nÄrzte",
        trained_on=trained_on,
        licences={"CC-BY-NC-4.0.txt": "text"},
    )
    read = load_bundle(tmp_path / "a.melascope")
    assert read.decision == tiny.decision()
    assert read.classes == tiny.CLASSES
    assert (read.geometry.height, read.geometry.mode) == (32, "crop")
    assert read.onnx == tiny.network()
    assert read.evaluation == {"schema": 1, "parts": {}}
    assert read.card == "# Card\nÄrzte"
    assert read.licences == {"CC-BY-NC-4.0.txt": "text"}
    assert read.trained_on is not None
    assert read.trained_on.contains(["cd" * 32, "ef" * 32, None]).tolist() == [True, False, False]
    assert read.identity == written.identity
    assert len(read.identity) == 64


def test_the_identity_is_that_of_network_and_decision_only(tmp_path: Path) -> None:
    plain = tiny.bundle(tmp_path / "a.melascope")
    judged = tiny.bundle(tmp_path / "b.melascope", evaluation={"schema": 1}, card="card")
    other = tiny.bundle(tmp_path / "c.melascope", onnx=tiny.network(seed=1))
    renamed = tiny.bundle(tmp_path / "d.melascope", decision=tiny.decision(version="2"))
    assert plain.identity == judged.identity
    assert len({plain.identity, other.identity, renamed.identity}) == 3


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    shuffled = dict(reversed(tiny.decision().items()))
    tiny.bundle(tmp_path / "a.melascope", licences={"b": "2", "a": "1"})
    tiny.bundle(tmp_path / "b.melascope", decision=shuffled, licences={"a": "1", "b": "2"})
    assert (tmp_path / "a.melascope").read_bytes() == (tmp_path / "b.melascope").read_bytes()


def test_a_flip_of_any_byte_is_refused(path: Path) -> None:
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        tables = archive.start_dir
    rng = np.random.default_rng(0)
    # Every byte of the zip's own tables and of the first headers, and some of the rest.
    places = {*range(200), *range(tables, len(data)), *rng.integers(0, len(data), 200).tolist()}
    for place in sorted(places):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(BundleError):
            load_bundle(path)


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.9, 0.999])
def test_a_file_cut_short_is_refused(path: Path, kept: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path, "empty" if kept == 0 else "copy it again")


def test_a_longer_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    refused(path)


@pytest.mark.parametrize("name", ["model.onnx", "decision.json"])
def test_a_missing_member_is_named(path: Path, name: str) -> None:
    members = members_of(path)
    del members[name]
    refused(rewrite(path, members), f'"{name}" is missing')
    refused(rewrite(path, members, hashed=False), f'"{name}" is missing')


def test_without_a_manifest_it_is_no_bundle(path: Path) -> None:
    members = members_of(path)
    del members["manifest.json"]
    refused(rewrite(path, members), "is not a Melascope bundle")


def test_a_member_listed_but_absent_is_named(tmp_path: Path) -> None:
    path = tiny.bundle(tmp_path / "a.melascope", card="card").path
    members = members_of(path)
    del members["card.md"]
    refused(rewrite(path, members, hashed=False), '"card.md" is missing')


def test_a_member_that_is_not_listed_is_refused(path: Path) -> None:
    refused(rewrite(path, {**members_of(path), "card.md": b"new"}, hashed=False), "not in its manifest")


def test_an_exchanged_member_is_refused(path: Path) -> None:
    changed = {**members_of(path), "model.onnx": tiny.network(seed=5)}
    refused(rewrite(path, changed, hashed=False), '"model.onnx" is damaged')


def test_a_repacked_bundle_is_refused(path: Path) -> None:
    members = members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    refused(path, "was changed after it was written")


@pytest.mark.parametrize(("schema", "word"), [(2, "newer Melascope"), (0, "export the model again"), (None, "None")])
def test_another_version_is_refused(path: Path, schema: int | None, word: str) -> None:
    members = members_of(path)
    manifest = json.loads(members["manifest.json"])
    manifest["schema"] = schema
    # A later version may hold what is unknown here; its number is what the user must hear of.
    members = {**members, "manifest.json": json.dumps(manifest).encode(), "later.bin": b"?"}
    refused(rewrite(path, members), "version", word)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "licences/../../evil", "a\\b", "C:evil", "licences/a/../b"])
def test_paths_that_lead_out_are_refused(path: Path, name: str) -> None:
    refused(rewrite(path, {**members_of(path), name: b"x"}), "unsafe name")


@pytest.mark.parametrize(
    "name", ["code.py", "weights.pkl", "licences/", "licences/.hidden", "embeddings.npz", "MODEL.ONNX"]
)
def test_members_that_do_not_belong_there_are_refused(path: Path, name: str) -> None:
    refused(rewrite(path, {**members_of(path), name: b"x"}), "does not belong there")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_two_members_of_one_name_are_refused(path: Path, name: str) -> None:
    members = members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in [*members.items(), (name, members[name])]:
            archive.writestr(member, data)
    refused(path, f'two members named "{name}"')


def test_too_many_members_are_refused(path: Path) -> None:
    more = {f"licences/{i}": b"" for i in range(300)}
    refused(rewrite(path, {**members_of(path), **more}), "at most 200")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(path: Path) -> None:
    bomb = {**members_of(path), "card.md": bytes(3 << 20)}
    refused(rewrite(path, bomb, compression=zipfile.ZIP_DEFLATED), "compressed")


def test_a_member_larger_than_allowed_is_refused(path: Path) -> None:
    refused(rewrite(path, {**members_of(path), "card.md": b"x" * (5 << 20)}), "at most")


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_json_that_is_none_is_refused(path: Path, text: bytes) -> None:
    members = members_of(path)
    refused(rewrite(path, {**members, "decision.json": text}), "decision.json")
    refused(rewrite(path, {**members, "evaluation.json": text}), "evaluation.json")


def test_a_card_that_is_no_text_is_refused(path: Path) -> None:
    refused(rewrite(path, {**members_of(path), "card.md": b"\xff"}), "card.md is not UTF-8")


@pytest.mark.parametrize("data", [b"", b"x" * 200, np.lib.format.magic(1, 0)])
def test_a_list_of_training_photographs_that_is_none_is_refused(path: Path, data: bytes) -> None:
    refused(rewrite(path, {**members_of(path), "trained_on/sha256.npy": data}), "trained_on/sha256.npy")


def test_a_pickled_array_is_refused(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    refused(rewrite(path, {**members_of(path), "trained_on/sha256.npy": buffer.getvalue()}), "array of uint8")


def test_classes_that_do_not_match_the_network_are_refused(path: Path) -> None:
    wrong = json.dumps(tiny.decision(classes=["MEL", "NV"], prediction_set=None)).encode()
    refused(rewrite(path, {**members_of(path), "decision.json": wrong}), "4 classes", "names 2")


def test_a_geometry_that_does_not_match_the_network_is_refused(path: Path) -> None:
    wrong = json.dumps(tiny.decision(geometry={"height": 32, "width": 64, "mode": "pad"})).encode()
    refused(rewrite(path, {**members_of(path), "decision.json": wrong}), "32 x 32", "32 x 64")


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" * 10])
def test_another_file_is_no_bundle(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "is not a Melascope bundle")


def test_missing_files_folders_and_closed_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path / "none.melascope", "does not exist")
    refused(tmp_path, "is a folder")
    closed = tmp_path / "closed.melascope"
    closed.write_bytes(b"x")

    def no(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", no)
    refused(closed, "cannot be read (Permission denied)")


def test_nothing_is_written_that_would_be_refused(tmp_path: Path) -> None:
    target = tmp_path / "a.melascope"
    with pytest.raises(BundleError, match="temperature"):
        write_bundle(target, tiny.network(), tiny.decision(calibration={"method": "temperature", "temperature": 0}))
    with pytest.raises(BundleError, match="JSON"):
        write_bundle(target, tiny.network(), tiny.decision(version=float("nan")))
    with pytest.raises(BundleError, match="unsafe name"):
        write_bundle(target, tiny.network(), tiny.decision(), licences={"../a": "x"})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_bundle_and_no_other_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tiny.bundle(path, onnx=tiny.network(seed=1))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_bundle_gets_the_usual_permissions(path: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
