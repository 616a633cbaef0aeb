"""The policy: which problem excludes a photograph, which only warns.

A policy is a small TOML file; what it does not name stays at the default:

    [problems]
    outlier = "exclude"
    lesion_repeat = "warn"

    [usable]
    most_unreadable = 0.5
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from melascope.errors import DataError

ACTIONS = ("exclude", "warn", "correct")

DEFAULTS: Mapping[str, str] = {
    "unreadable": "exclude",
    "byte_identical": "exclude",
    "same_photograph": "exclude",
    "id_conflict": "exclude",
    "authority_conflict": "correct",
    "photograph_leak": "exclude",
    "lesion_leak": "exclude",
    "lesion_repeat": "warn",
    "other_set_leak": "exclude",
    "shortcut": "warn",
    "outlier": "warn",
    "imbalance": "warn",
    "label_suspect": "warn",
    "personal_data": "warn",
}
"""What each kind of problem leads to.

`exclude` leaves photographs out, of copies and leaks only the superfluous ones; `correct` takes the authority's label.
"""

_ALLOWED = dict.fromkeys(DEFAULTS, ("exclude", "warn")) | {
    "unreadable": ("exclude",),
    "id_conflict": ("exclude",),
    "photograph_leak": ("exclude",),
    "lesion_leak": ("exclude",),
    "authority_conflict": ("correct", "exclude"),
    "imbalance": ("warn",),
    "shortcut": ("warn",),
}
_WHY = {
    "unreadable": ", since nothing can be done with such a file",
    "id_conflict": ", since a label is never guessed",
    "photograph_leak": ", since a test that shares photographs with training is no test",
    "lesion_leak": ", since a test that shares lesions with training is no test",
    "imbalance": ", since it stands for a diagnosis and names no photograph",
    "shortcut": ", since it stands for the whole set and names no photograph",
}


@dataclass(frozen=True)
class Policy:
    """What each problem leads to.

    Attributes:
        problems: One of `ACTIONS` for each kind of problem.
        most_unreadable: With this share of unreadable files, or more, a set is `not usable`.

    Example:
        >>> Policy().excludes("outlier")
        False
    """

    problems: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULTS))
    most_unreadable: float = 0.5

    def excludes(self, kind: str) -> bool:
        """Return whether a kind of problem excludes; one that the policy does not know warns."""
        return self.problems.get(kind) == "exclude"

    def changes(self, kind: str) -> bool:
        """Return whether a kind of problem excludes photographs or corrects their labels."""
        return self.problems.get(kind) in ("exclude", "correct")

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON-ready data."""
        return {"problems": dict(self.problems), "usable": {"most_unreadable": self.most_unreadable}}


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy from a TOML file.

    Raises:
        DataError: When the file cannot be read, or a name or a value in it is unknown or impossible.
    """
    try:
        tree = tomllib.loads(Path(path).read_bytes().decode())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid TOML: {error}.") from None
    _known(path, "section", tree, ("problems", "usable"))
    for name, section in tree.items():
        if not isinstance(section, dict):
            raise DataError(f"{path}: {name} is a section, [{name}], with a line for each of its values.")
    given, usable = tree.get("problems", {}), tree.get("usable", {})
    _known(path, "problem", given, DEFAULTS)
    for kind, action in given.items():
        allowed = _ALLOWED[kind]
        if action not in allowed:
            words = " or ".join(f'"{word}"' for word in allowed)
            raise DataError(f"{path}: {kind} = {action!r} is impossible; it is {words}{_WHY.get(kind, '')}.")
    _known(path, "value of [usable]", usable, ("most_unreadable",))
    most = usable.get("most_unreadable", Policy.most_unreadable)
    if isinstance(most, bool) or not isinstance(most, int | float) or not 0 <= most <= 1:
        raise DataError(f"{path}: most_unreadable = {most!r} is impossible; it is a share from 0 to 1.")
    return Policy({**DEFAULTS, **given}, float(most))


def from_json(tree: Mapping[str, Any]) -> Policy:
    """Return the policy that `Policy.to_json` wrote; what it lacks stays at the default."""
    most = tree.get("usable", {}).get("most_unreadable", Policy.most_unreadable)
    return Policy({**DEFAULTS, **tree.get("problems", {})}, float(most))


def _known(path: str | os.PathLike[str], what: str, given: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(names)}."
            raise DataError(f'{path}: "{name}" is no {what}{hint}')
