"""What a file says beside its pixels: personal data, and whose photograph it is.

EXIF, XMP, IPTC, comments and PNG text are read from the file's own bytes; no
pixel is decoded. Personal data are named by their kind ("artist's name"),
never by their value, so that a report which warns of a name does not spread it.
Damaged metadata yield what could be read of them; nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from melascope.images.metadata import Fact, facts

KINDS = (
    "GPS position",
    "place's name",
    "artist's name",
    "owner's name",
    "name of a person shown",
    "comment that may hold a name",
    "comment that holds a date",
    "date taken",
    "date of a change",
    "camera's serial number",
    "lens's serial number",
    "image's unique id",
)
"""The kinds of personal data that `personal` names, in its order."""

_KIND_OF = {
    "gps": "GPS position",
    "place": "place's name",
    "artist": "artist's name",
    "owner": "owner's name",
    "person": "name of a person shown",
    "taken": "date taken",
    "changed": "date of a change",
    "serial": "camera's serial number",
    "lens_serial": "lens's serial number",
    "unique_id": "image's unique id",
}
# What cameras and programs write where a person could write.
_BY_MACHINE = re.compile(
    r"adobe|photoshop|gimp|lead tech|creator|created|software|camera|digital|quality|jpeg|imagemagick|lavc|paint|"
    r"copyright|licen|creative commons|university|hospital|library|archive|charset|default|unknown|untitled|"
    r"lesion|nevus|melanoma|dermoscop|dermat|skin|image|photo|picture|screenshot|samsung|apple|canon|nikon|sony|olympus",
    re.IGNORECASE,
)
_ABOUT_A_PERSON = re.compile(r"\b(patient|name|dob|born|birth|geb|mrn|ssn)\b\s*[:=]", re.IGNORECASE)
_NAME = re.compile(
    r"\b[^\W\d_]{2,}\^[^\W\d_]+|"  # DOE^JOHN, as DICOM writes it
    r"^\s*[A-Z][^\W\d_]+,\s*[A-Z][^\W\d_]+\b|"
    r"^\s*(?:(?:Mr|Mrs|Ms|Dr)\.?\s+)?[A-Z][a-z'\-]+(?:\s[A-Z]\.)?\s[A-Z][a-z'\-]+\s*(?:$|[,;(\d])|"
    r"^\s*[A-Z]{2,}\s[A-Z]{2,}(?:\s+\*?\d|\s*$)"
)
_DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-./:](?:0?[1-9]|1[0-2])[-./:](?:0?[1-9]|[12]\d|3[01])|"
    r"(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:19|20)\d\d)(?!\d)"
)
_EMPTY_DATE = re.compile(r"^[\s0:\-]*$")

_LICENCES = (
    (r"cc0|cc-0|publicdomain/zero|public domain dedication", "CC-0"),
    (r"by-nc-nd|noncommercial-noderiv", "CC BY-NC-ND"),
    (r"by-nc-sa|noncommercial-sharealike", "CC BY-NC-SA"),
    (r"by-nc|attribution-noncommercial", "CC BY-NC"),
    (r"by-nd|attribution-noderiv", "CC BY-ND"),
    (r"by-sa|attribution-sharealike", "CC BY-SA"),
    (r"\bcc[- ]by\b|licenses/by/|creative commons attribution", "CC BY"),
    (r"all rights reserved", "all rights reserved"),
    (r"public domain|publicdomain/mark", "public domain"),
)


def personal(data: bytes) -> list[str]:
    """Return which kinds of personal data a file carries beside its pixels, of `KINDS`; it raises nothing.

    Args:
        data: The file's bytes: JPEG, PNG, TIFF, WebP or GIF.

    Example:
        >>> personal(Path("from_a_phone.jpg").read_bytes())
        ['GPS position', 'date taken']
    """
    found: set[str] = set()
    for fact in facts(data):
        if fact.kind == "comment":
            found.update(_in_comment(fact.value))
        elif fact.kind in ("taken", "changed"):
            if not _EMPTY_DATE.match(fact.value):
                found.add(_KIND_OF[fact.kind])
        elif fact.kind in _KIND_OF and fact.value.strip(" \t\r\n\0-0"):
            found.add(_KIND_OF[fact.kind])
    return [kind for kind in KINDS if kind in found]


def _in_comment(text: str) -> Iterable[str]:
    if _ABOUT_A_PERSON.search(text) or (_NAME.search(text) and not _BY_MACHINE.search(text)):
        yield "comment that may hold a name"
    if _DATE.search(text):
        yield "comment that holds a date"


def attribution(data: bytes) -> str | None:
    """Return the licence, the copyright and the artist that a file states, or None; it raises nothing.

    The artist is named here, unlike in `personal`: most licences ask for it.

    Example:
        >>> attribution(Path("lesion.jpg").read_bytes())
        'CC BY-NC; (c) Medical University of Vienna; by ViDIR Group'
    """
    said = facts(data)
    rights = _distinct(said, "rights")
    licence = next((name for name in map(licence_name, _distinct(said, "licence") + rights) if name), None)
    parts = [licence] if licence else _distinct(said, "licence")[:1]
    # The sentence on the licence is not said twice, a copyright line is kept as it is.
    parts += [text for text in rights if text not in parts][:2]
    parts += [f"by {name}" for name in _distinct(said, "artist")[:2]]
    return "; ".join(parts) or None


def licence_name(text: str) -> str | None:
    """Return the licence that a text or an address names, without its version, or None where none is known."""
    plain = re.sub(r"[\s_]+", "-", text.strip().lower())
    for pattern, name in _LICENCES:
        if re.search(pattern.replace(" ", "-"), plain):
            return name
    return None


def _distinct(said: Iterable[Fact], kind: str) -> list[str]:
    texts = (re.sub(r"\s+", " ", fact.value.replace("\0", " ")).strip()[:200] for fact in said if fact.kind == kind)
    return list(dict.fromkeys(text for text in texts if text))
