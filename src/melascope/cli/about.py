"""What a table says of the photographs that are predicted: lesion, patient, age and site."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from melascope.errors import DataError

_NEEDED = ("image_id", "lesion_id")
_KEPT = ("lesion_id", "patient_id", "age", "site")
_MISSING = frozenset(("unknown", "not known", "na", "n/a", "nan", "none", "null", "-", "?"))
_LONGEST = 30


def read_about(table: Path) -> dict[str, dict[str, str]]:
    """Return canonical image id to what the CSV says: `lesion_id`, `patient_id`, `age`, `site`, where it says them.

    Raises:
        DataError: When it cannot be read, lacks a column, gives a photograph two lesions, or a lesion two patients.
    """
    from melascope.image_id import canonical_id
    from melascope.spreadsheet import unquoted

    found: dict[str, dict[str, str]] = {}
    patients: dict[str, str] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = sorted(set(_NEEDED).difference(reader.fieldnames or ()))
            if missing:
                raise DataError(f"{table} has no column {' and no column '.join(missing)}.")
            for line in reader:
                told = {name: unquoted(line[name]).strip() for name in _KEPT if line.get(name)}
                told = {name: text for name, text in told.items() if text}
                if not line["image_id"] or not told:
                    continue
                image_id = canonical_id(unquoted(line["image_id"]))
                where = f"(line {reader.line_num})"
                for name, text in found.setdefault(image_id, told).items():
                    if told.get(name, text) != text:
                        what = {"lesion_id": "two lesions", "patient_id": "two patients"}.get(
                            name, f"two values of {name}"
                        )
                        raise DataError(
                            f"{table} gives {image_id} {what}, {text} and {told[name]} {where}; a photograph shows one."
                        )
                found[image_id] = {**found[image_id], **told}
                lesion, patient = told.get("lesion_id"), told.get("patient_id")
                if lesion and patient and patients.setdefault(lesion, patient) != patient:
                    raise DataError(
                        f"{table} gives lesion {lesion} to two patients, {patients[lesion]} and {patient} {where}."
                    )
    except FileNotFoundError:
        raise DataError(f"{table} does not exist.") from None
    except UnicodeDecodeError:
        raise DataError(f"{table} is not text in UTF-8; save it again as a CSV in UTF-8.") from None
    except IsADirectoryError:
        raise DataError(f"{table} is a folder where a CSV table is needed.") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a CSV table ({error}).") from None
    return found


def unread_ages(table: Path, about: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return a sentence on the ages of a table that are no number of years; None where all can be used."""
    from melascope.bundle.doubts import age_band
    from melascope.counted import plural

    ages = [told["age"] for told in about.values() if told.get("age", "").casefold() not in ("", *_MISSING)]
    unread = [age for age in ages if age_band(age) is None]
    if not unread:
        return None
    example = unread[0] if len(unread[0]) <= _LONGEST else f"{unread[0][:_LONGEST]}..."
    values, they = plural(len(unread), "value"), "it is" if len(unread) == 1 else "they are"
    return f'In the column age of {table}, {values} cannot be read as a number of years ("{example}"); {they} not used.'
