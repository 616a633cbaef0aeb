"""Several arrays in one bundle member: a zip of `.npy` files as `numpy.savez` writes it, read without trust.

`about.json` stands among them for what is no array. Entries are stored, not
compressed; the sizes that a header claims are compared with the bytes that
are there before anything is allocated; there is no pickle.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from melascope.errors import BundleError

_ABOUT = "about.json"
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_MADE_ON_UNIX = 3
_MOST = 32
LONGEST = 256
"""Bytes of a text in an array of texts."""
_KINDS = frozenset(("f2", "f4", "i1", "u1", "u2", "i4"))


def pack(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays and what is said about them as one member's bytes; equal content gives equal bytes."""
    entries = {_ABOUT: json.dumps(about, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()}
    for name, array in sorted(arrays.items()):
        buffer = io.BytesIO()
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        np.lib.format.write_array(buffer, little, version=(1, 0), allow_pickle=False)
        entries[f"{name}.npy"] = buffer.getvalue()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name, _NO_DATE)
            entry.create_system = _MADE_ON_UNIX
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return whole.getvalue()


def unpack(member: str, data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `pack` gave: what is said, and the arrays.

    Args:
        member: The member's name, for the sentence of a refusal.
        data: Its bytes.

    Raises:
        BundleError: When it is anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(names) > _MOST or len(set(names)) < len(names) or _ABOUT not in names:
                raise ValueError("its entries")
            for entry in entries:
                stored = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
                if not stored or entry.flag_bits & 1 or entry.file_size > len(data):
                    raise ValueError(f"{entry.filename} is compressed")
            content = {entry.filename: archive.read(entry) for entry in entries}
        about = json.loads(content.pop(_ABOUT))
        if not isinstance(about, dict):
            raise ValueError(f"{_ABOUT} is no object")
        arrays = {name.removesuffix(".npy"): _array(name, value) for name, value in content.items()}
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, TypeError) as error:
        raise BundleError(f"{member} is not a set of arrays that Melascope wrote ({error}); make it again.") from None
    return about, arrays


def check(member: str, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Compare arrays with `{name: names of its sizes}` and return the sizes by name; equal names are equal sizes.

    Raises:
        BundleError: When one is missing, too many, of another number of dimensions or another size, or not finite.
    """
    if set(arrays) != set(wanted):
        raise BundleError(f"{member} holds {_listed(arrays)}; it needs {_listed(wanted)}.")
    sizes: dict[str, int] = {}
    for name, letters in wanted.items():
        array = arrays[name]
        if array.ndim != len(letters):
            raise BundleError(f"{member}: {name} has {array.ndim} dimensions; it needs {len(letters)}.")
        for letter, size in zip(letters, array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise BundleError(f"{member}: {name} has {size} where others have {sizes[letter]}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BundleError(f"{member}: {name} holds numbers that are not finite.")
    return sizes


def _array(name: str, data: bytes) -> np.ndarray:
    buffer = io.BytesIO(data)
    if not name.endswith(".npy") or np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError(f"{name} is no array")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    text = dtype.kind == "S" and 0 < dtype.itemsize <= LONGEST
    if fortran or not (text or dtype.str.lstrip("<|") in _KINDS):
        raise ValueError(f"{name} is an array of {dtype}")
    # Python's numbers: a product of stated sizes must not wrap round.
    count = 1
    for size in shape:
        count *= int(size)
    if len(data) - buffer.tell() != count * dtype.itemsize:
        raise ValueError(f"{name} has another length")
    return np.frombuffer(data, dtype, offset=buffer.tell()).reshape(shape)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"
