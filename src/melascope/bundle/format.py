"""The deployable file, `*.melascope`: a zip of a network, its decisions and their evidence.

`model.onnx` and `decision.json` are, by hash, the model's identity; so are
`novelty.npz` and `modality.npz` where they stand, since a finding depends on
them. Beside them may stand `neighbours.npz`, `evaluation.json`, `card.md`,
`trained_on/*.npy` and licences; `manifest.json` holds the sha256 of each.
Nothing in a bundle is code or pickle.

Members are stored, not compressed: weights hardly shrink, and so a few bytes
can never unfold into gigabytes. The zip's comment is the sha256 of all bytes
before it, so that no byte, not even in the zip's own tables, can change
unnoticed. The same content gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melascope.bundle import modality, neighbours, novelty
from melascope.bundle.decision import Decider
from melascope.bundle.graph import signature
from melascope.bundle.trained_on import TrainedOn
from melascope.errors import BundleError

if TYPE_CHECKING:
    from melascope.bundle.modality import Modality
    from melascope.bundle.neighbours import Neighbours
    from melascope.bundle.novelty import Novelty
    from melascope.images.geometry import Geometry

SCHEMA = 1
MANIFEST = "manifest.json"
REQUIRED = (MANIFEST, "model.onnx", "decision.json")
DECIDING = ("model.onnx", "decision.json", novelty.MEMBER, modality.MEMBER)
"""The members that a decision depends on; together, by hash, they are the model's identity."""
_LOOKS = (novelty.MEMBER, neighbours.MEMBER, modality.MEMBER)
_MB = 1 << 20
LIMITS: Mapping[str, int] = {
    MANIFEST: _MB,
    "model.onnx": 2047 * _MB,
    "decision.json": _MB,
    "evaluation.json": 64 * _MB,
    "card.md": 4 * _MB,
    "trained_on/sha256.npy": 1024 * _MB,
    "trained_on/perceptual.npy": 1024 * _MB,
    novelty.MEMBER: novelty.LIMIT,
    neighbours.MEMBER: neighbours.LIMIT,
    modality.MEMBER: modality.LIMIT,
}
"""The members that a bundle may have, and the largest size of each in bytes; licences come on top."""

_LICENCE = re.compile(r"licences/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LICENCE_LIMIT = _MB
_MOST_MEMBERS = 200
_LARGEST = 4095 * _MB
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MADE_ON_UNIX = 3


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle.

    Attributes:
        path: Where it was read from.
        manifest: `{"schema", "format", "members": {name: {"sha256", "bytes"}}}`.
        decision: `decision.json`: classes, geometry, calibration, operating points, prediction set.
        evaluation: `metrics.json` of its evaluation, or None.
        card: The model card, Markdown, or None.
        onnx: The network.
        trained_on: Fingerprints of the training photographs, or None.
        licences: Name to text.
        novelty: Says how unlike the training photographs one is, or None.
        neighbours: Finds similar photographs of known diagnosis, or None.
        modality: Says whether a photograph is dermoscopic, or None.
        arrays: The bytes of the last three, by member, as `write` takes them.
    """

    path: Path
    manifest: dict[str, Any]
    decision: dict[str, Any]
    evaluation: dict[str, Any] | None
    card: str | None
    onnx: bytes = field(repr=False)
    trained_on: TrainedOn | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    novelty: Novelty | None = None
    neighbours: Neighbours | None = None
    modality: Modality | None = None
    arrays: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @cached_property
    def identity(self) -> str:
        """The model's identity: sha256 over the hashes of the members that decide about a photograph.

        They are `model.onnx`, `decision.json`, and `novelty.npz` and `modality.npz` where they are there.
        """
        members = self.manifest["members"]
        return _sha256("".join(members[name]["sha256"] for name in DECIDING if name in members).encode())

    @property
    def classes(self) -> tuple[str, ...]:
        """The codes of the diagnoses, in the order of the logits."""
        return tuple(self.decision["classes"])

    @cached_property
    def geometry(self) -> Geometry:
        """How a photograph becomes the network's input."""
        from melascope.images.geometry import Geometry

        return Geometry.from_json(self.decision["geometry"])


def write(
    path: str | os.PathLike[str],
    onnx: bytes,
    decision: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None = None,
    card: str | None = None,
    trained_on: TrainedOn | None = None,
    licences: Mapping[str, str] | None = None,
    arrays: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle; the file appears whole or not at all, and equal content gives equal bytes.

    Args:
        path: The file, usually `*.melascope`; replaced if it exists.
        onnx: The network.
        decision: See `docs/bundle.md`.
        evaluation: The content of `metrics.json`.
        card: The model card, Markdown.
        trained_on: Fingerprints of the training photographs.
        licences: File name to text.
        arrays: Member name (`novelty.npz`, `neighbours.npz`, `modality.npz`) to the bytes that its `make` gave.

    Raises:
        BundleError: When the content would be refused on loading.
        OSError: When the file cannot be written; nothing is left behind.
    """
    members: dict[str, bytes] = {"model.onnx": bytes(onnx), "decision.json": _to_json("decision.json", decision)}
    if evaluation is not None:
        members["evaluation.json"] = _to_json("evaluation.json", evaluation)
    if card is not None:
        members["card.md"] = card.encode()
    if trained_on is not None:
        members.update(trained_on.members())
    members.update(sorted((arrays or {}).items()))
    for name, text in sorted((licences or {}).items()):
        members[f"licences/{name}"] = text.encode()
    manifest = {
        "schema": SCHEMA,
        "format": "melascope bundle",
        "members": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in members.items()},
    }
    members = {MANIFEST: _to_json(MANIFEST, manifest), **members}
    for name, data in members.items():
        _check_member(name, len(data))
    target = Path(path)
    bundle = _understood(target, manifest, members)
    _write_atomically(target, _zipped(members))
    return bundle


def load(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and verify all of it before anything in it is used.

    Raises:
        BundleError: When the file is missing, damaged, incomplete, of another
            version, or its parts contradict each other.
    """
    source = Path(path)
    data = _read(source)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members, seal = _members(archive), archive.comment
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OSError):
        if not data.startswith(b"PK"):
            raise BundleError(f"{source} is not a Melascope bundle.") from None
        raise BundleError(f"{source} is damaged or cut short; copy it again.") from None
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from None
    try:
        manifest = _verified(members)
        if seal != _sha256(data[: len(data) - len(seal)]).encode():
            raise BundleError(
                "the file was changed after it was written (its seal does not match); copy it again from its source."
            )
        return _understood(source, manifest, members)
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from None


def _read(source: Path) -> bytes:
    try:
        if source.is_dir():
            raise BundleError(f"{source} is a folder; a bundle is a file, such as RUN/model.melascope.")
        if source.stat().st_size > _LARGEST:
            raise BundleError(f"{source} is larger than {_LARGEST // _MB:,} MB, more than any bundle may be.")
        data = source.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{source} does not exist. A bundle is made by: melascope run DATA --out RUN") from None
    except OSError as error:
        raise BundleError(f"{source} cannot be read ({error.strerror or error}).") from None
    if not data:
        raise BundleError(f"{source} is empty (0 bytes); copy it again.")
    return data


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Read the members after checking names, number and sizes."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if MANIFEST not in names:
        raise BundleError("this zip file is not a Melascope bundle (it has no manifest.json).")
    if len(entries) > _MOST_MEMBERS:
        raise BundleError(f"it has {len(entries)} members; at most {_MOST_MEMBERS} are allowed.")
    # The version comes first: a bundle of a later one may rightly hold what is unknown here.
    first = next(entry for entry in entries if entry.filename == MANIFEST)
    _check_entry(first)
    _check_schema(_from_json(MANIFEST, archive.read(first)))
    for entry in entries:
        if names.count(entry.filename) > 1:
            raise BundleError(f'it has two members named "{entry.filename}".')
        _check_entry(entry)
    return {entry.filename: archive.read(entry) for entry in entries}


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    _check_member(name, entry.file_size)
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise BundleError(f'its member "{name}" is compressed or encrypted, which a bundle never is.')


def _check_member(name: str, size: int) -> None:
    if name.startswith(("/", "\\")) or ".." in name or "\\" in name or ":" in name or "\0" in name:
        raise BundleError(f"it has a member with an unsafe name ({name!r}).")
    limit = _LICENCE_LIMIT if _LICENCE.fullmatch(name) else LIMITS.get(name)
    if limit is None:
        raise BundleError(f"it has a member that does not belong there ({name!r}).")
    if size > limit:
        raise BundleError(f'its member "{name}" has {size:,} bytes; at most {limit:,} are allowed.')


def _check_schema(manifest: Any) -> None:
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        newer = isinstance(schema, int) and schema > SCHEMA
        raise BundleError(
            f"it is of bundle version {schema}, and this Melascope reads version {SCHEMA}; "
            + ("install a newer Melascope." if newer else "export the model again.")
        )


def _verified(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the manifest after comparing every member with it."""
    manifest = _from_json(MANIFEST, members[MANIFEST])
    listed = manifest.get("members")
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        raise BundleError("its manifest.json lists no members.")
    for name in (*REQUIRED[1:], *listed):
        if name not in members:
            raise BundleError(f'its member "{name}" is missing; copy the bundle again from its source.')
    for name, data in members.items():
        if name == MANIFEST:
            continue
        if name not in listed:
            raise BundleError(f'its member "{name}" is not in its manifest.')
        if listed[name].get("sha256") != _sha256(data):
            raise BundleError(f'its member "{name}" is damaged (wrong sha256); copy the bundle again from its source.')
    return manifest


def _understood(path: Path, manifest: dict[str, Any], members: Mapping[str, bytes]) -> Bundle:
    """Return the bundle after checking that its parts make sense and fit each other."""
    decision = _from_json("decision.json", members["decision.json"])
    evaluation = _from_json("evaluation.json", members["evaluation.json"]) if "evaluation.json" in members else None
    bundle = Bundle(
        path=path,
        manifest=manifest,
        decision=decision,
        evaluation=evaluation,
        card=_text("card.md", members["card.md"]) if "card.md" in members else None,
        onnx=members["model.onnx"],
        trained_on=TrainedOn.from_members(dict(members)),
        licences={
            name.removeprefix("licences/"): _text(name, data)
            for name, data in members.items()
            if name.startswith("licences/")
        },
        novelty=novelty.Novelty.of(members[novelty.MEMBER]) if novelty.MEMBER in members else None,
        neighbours=neighbours.Neighbours.of(members[neighbours.MEMBER]) if neighbours.MEMBER in members else None,
        modality=modality.Modality.of(members[modality.MEMBER]) if modality.MEMBER in members else None,
        arrays={name: members[name] for name in _LOOKS if name in members},
    )
    Decider.of(decision, evaluation)
    shapes = signature(bundle.onnx)
    if shapes.classes != len(bundle.classes):
        raise BundleError(
            f"model.onnx tells {shapes.classes} classes apart, but decision.json names {len(bundle.classes)}."
        )
    wanted = bundle.geometry
    if (shapes.height, shapes.width) != (wanted.height, wanted.width):
        raise BundleError(
            f"model.onnx takes images of {shapes.height} x {shapes.width}, but decision.json says "
            f"{wanted.height} x {wanted.width}."
        )
    for name, part in ((novelty.MEMBER, bundle.novelty), (neighbours.MEMBER, bundle.neighbours),
                       (modality.MEMBER, bundle.modality)):  # fmt: skip
        if part is not None and part.embedding not in (None, shapes.embedding):
            raise BundleError(
                f"model.onnx gives embeddings of {shapes.embedding} numbers, {name} needs {part.embedding}."
            )
    return bundle


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, _NO_DATE)
            entry.create_system = _MADE_ON_UNIX
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
        # A place of the seal's length, so that the tables before it are final.
        archive.comment = b"0" * 64
    body = buffer.getvalue()[:-64]
    return body + _sha256(body).encode()


def _write_atomically(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BundleError(f"{name} is not UTF-8 text.") from None


def _to_json(name: str, value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BundleError(f"{name} cannot be written as JSON ({error}).") from None


def _from_json(name: str, data: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise BundleError(f"{name} is not valid JSON.") from None
    if not isinstance(value, dict):
        raise BundleError(f"{name} is not a JSON object.")
    return value
