"""The few exceptions of Melascope.

Every message says what is wrong, where, and how to mend it, in one or two
sentences that can be shown to a user as they are. They are raised where the
cause is known and printed once, by the command line or the server.
"""

from __future__ import annotations


class MelascopeError(Exception):
    """Base of every error that a user can mend."""


class MelascopeWarning(UserWarning):
    """Something that a user should know while work goes on; the command line shows it as a note."""


class DataError(MelascopeError):
    """A data set, table or label file cannot be used."""


class SpaceError(DataError):
    """The disk has no room for what is to be written; the data may be as they should."""


class ImageError(MelascopeError):
    """One photograph cannot be used.

    Args:
        kind: `missing`, `empty`, `not_an_image`, `truncated`, `too_large`,
            `unsupported` or `unreadable`.
        message: The sentence for the user.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RecipeError(MelascopeError):
    """A recipe has an unknown key, an impossible value or a missing file."""


class WeightsError(RecipeError):
    """The weights that a recipe names cannot be fetched or read; its values may be as they should."""


class BundleError(MelascopeError):
    """A model bundle is damaged, incomplete or of another version."""


class RunError(MelascopeError):
    """A run folder is in a state that does not allow what was asked."""


class MissingExtraError(MelascopeError, ImportError):
    """An optional part of Melascope is not installed.

    Args:
        extra: The extra that brings it, such as `train`.
        purpose: What it is needed for, as the start of a sentence.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs the extra "{extra}": pip install "melascope[{extra}]".')
        self.extra = extra
