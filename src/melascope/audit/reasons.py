"""The sentence on each kind of problem, and the verdict that they add up to."""

from __future__ import annotations

import pandas as pd

from melascope.audit.policy import Policy
from melascope.audit.problems import distinct, readable
from melascope.counted import plural
from melascope.datasets import ambiguous_names, photographs

CLEAN, USABLE, NOT_USABLE = "clean", "usable with exclusions", "not usable"

_SENTENCES = {
    "unreadable": "{images:,} files cannot be read.",
    "byte_identical": "{groups:,} photographs are stored more than once, byte for byte ({files}).",
    "same_photograph": "{groups:,} photographs are stored more than once in different files ({files}).",
    "id_conflict": "{groups:,} photographs are filed under more than one diagnosis ({files}).",
    "authority_conflict": "The authority contradicts the filed diagnosis of {groups:,} photographs ({files}).",
    "photograph_leak": "{groups:,} photographs stand in Train and in Test.",
    "lesion_leak": "{groups:,} lesions or patients have photographs in Train and in Test ({files}).",
    "lesion_repeat": "{groups:,} lesions have several photographs ({files}), {so}.",
    "other_set_leak": "{images:,} photographs stand in another set too, or show a lesion or patient of it.",
    "shortcut": "The diagnosis can be told without the lesion, in {groups:,} ways: {evidence}.",
    "outlier": "{images:,} photographs are far from the rest in size, shape, brightness or sharpness, or misnamed.",
    "imbalance": "The diagnoses are uneven: {classes} are rare.",
    "label_suspect": "The diagnoses of {images:,} photographs may be wrong: a model trained on the others disagrees.",
    "personal_data": "{images:,} files carry personal data, or seem to have text burned in.",
}
_ONE = {
    "unreadable": "1 file cannot be read.",
    "byte_identical": "1 photograph is stored more than once, byte for byte ({files}).",
    "same_photograph": "1 photograph is stored more than once in different files ({files}).",
    "id_conflict": "1 photograph is filed under more than one diagnosis ({files}).",
    "authority_conflict": "The authority contradicts the filed diagnosis of 1 photograph.",
    "photograph_leak": "1 photograph stands in Train and in Test.",
    "lesion_leak": "1 lesion or patient has photographs in Train and in Test ({files}).",
    "lesion_repeat": "1 lesion has several photographs ({files}), {so}.",
    "other_set_leak": "1 photograph stands in another set too, or shows a lesion or patient of it.",
    "shortcut": "The diagnosis can be told without the lesion: {evidence}.",
    "outlier": "1 photograph is far from the rest in size, shape, brightness or sharpness, or misnamed.",
    "imbalance": "The diagnoses are uneven: {classes} is rare.",
    "label_suspect": "The diagnosis of 1 photograph may be wrong: a model trained on the others disagrees.",
    "personal_data": "1 file carries personal data, or seems to have text burned in.",
}


def judge(table: pd.DataFrame, problems: pd.DataFrame, policy: Policy) -> tuple[str, list[str]]:
    """Return the verdict (`clean`, `usable with exclusions` or `not usable`) and its reasons, a sentence each.

    What only warns leaves a set clean. A set is not usable when more than the
    policy's share (half) of its files cannot be read, or when fewer than two
    diagnoses are left without what is unreadable or contradicts itself.
    """
    fatal = _fatal(table, policy)
    reasons = fatal + [_sentence(kind, rows, policy) for kind, rows in problems.groupby("kind", sort=False)]
    unlabelled = int(readable(table)["diagnosis"].isna().sum())
    if unlabelled:
        reasons.append(f"{plural(unlabelled, 'photograph has', 'photographs have')} no diagnosis.")
    names = ambiguous_names(table)
    if names:
        reasons.append(
            f"{plural(len(names), 'file name')}, such as {names[0]}, {'stands' if len(names) == 1 else 'stand'} for "
            "photographs that look different; each is taken for a photograph of its own."
        )
    excluding = any(policy.changes(str(kind)) for kind in problems["kind"].unique())
    return (NOT_USABLE if fatal else USABLE if excluding else CLEAN), reasons


def _sentence(kind: object, rows: pd.DataFrame, policy: Policy) -> str:
    groups, images = rows["group"].nunique(), rows["path"].nunique()
    sentences = _ONE if groups == 1 else _SENTENCES
    template = sentences.get(str(kind), f"{kind}: {plural(groups, 'problem')} ({{files}}).")
    return template.format(
        groups=groups,
        images=images,
        files=plural(images, "file"),
        so="of which one each is kept" if policy.excludes("lesion_repeat") else "which belong into one part",
        classes=", ".join(rows["diagnosis"].dropna().unique()),
        evidence=rows["evidence"].iloc[0],
    )


def _fatal(table: pd.DataFrame, policy: Policy) -> list[str]:
    rows = readable(table)
    gone = len(table) - len(rows)
    fatal = []
    if gone and gone >= policy.most_unreadable * len(table):
        fatal.append(f"Not usable: {gone:,} of {plural(len(table), 'file')} cannot be read.")
        if rows.empty:
            return fatal
    labels = rows["diagnosis"]
    shown = photographs(rows)
    conflict = distinct(labels, shown) > 1
    if "official_diagnosis" in rows.columns:
        labels = rows["official_diagnosis"].fillna(labels)
        conflict &= (rows["official_diagnosis"].notna().groupby(shown).transform("sum") == 0).to_numpy()
    left = labels[~conflict].dropna().unique()
    if len(left) < 2:
        what = "1 diagnosis" if len(left) else "no diagnosis"
        fatal.append(f"Not usable: {what} is left that does not contradict itself; two are needed.")
    return fatal
