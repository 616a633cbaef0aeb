"""The words of docs/reproduction.md, which need no results or a few counts of them."""

from __future__ import annotations

import textwrap
from typing import Any

from benchmarks.reproduction_rows import COPIES_PER_CLASS, FOLDS

_WIDTH = 135
_AFTER = round(COPIES_PER_CLASS * (1 - 1 / FOLDS))

HEAD = (
    "Course projects on the public nine-class set publish accuracies between 26 % and 83 %. Here is each of "
    "them, the recipe and the way of judging that belong to it, what that gives here, and what the same "
    "recipe gives when no photograph, lesion or patient stands on both sides and the labels are the official "
    "ones (the protocol `clean`)."
)
COMMANDS = (
    "makes all of it, goes on where it was stopped, and writes this page with `--write docs/reproduction.md` "
    "(with `--no-train` from what is there). `--precision bfloat16` takes half the time on a processor that has it, "
    "and ten times as long on one that has not (`melascope doctor` tells)."
)
READING = (
    "**Ours** is the accuracy of the last epoch, as the notebooks report it, from the lowest to the highest "
    "seed; a seed decides the division, the copies and the training. **The range** in brackets reaches from "
    "the lower bound of the lowest seed's to the upper bound of the highest seed's 95 % interval (Wilson), "
    "since a published accuracy, too, was measured on so many photographs and no more. A number is "
    "**reproduced** when it lies in that range; where it does not, the difference is explained in words.",
    "**A random fifth judges**: as `image_dataset_from_directory(validation_split=0.2)` has it, labels as "
    "filed. **500 copies per class**: drawn with replacement, each turned by up to 10 degrees with "
    "probability .7 and cut to the largest rectangle without black corners, as Augmentor does; three in ten "
    "are not turned, the very same pixels. **Drawn in proportion**: as many copies in all, but of all "
    "photographs alike, so that the largest class stayed 6.0 times the smallest. **Divided afterwards**: "
    "photographs and copies are shuffled together, and a fifth judges.",
    "**Under `clean`**: official labels where there are any (eight diagnoses, for the two benign keratoses "
    "are one), each photograph once. Where a random fifth judged, a fifth judges here too, but whole groups "
    f"of photograph, lesion and patient: the first fold of the {FOLDS}-fold grouped cross-validation of the "
    "same seed, on which any other recipe can be compared in pairs. Where Test judged, all that shares "
    "nothing with Test is trained on, and Test judges. Nothing was chosen by these numbers: recipes and "
    f"epochs are as published. Copies are made after the division, of what is trained on alone, {_AFTER} per "
    "class where a fifth is held out, so that as many are trained on as before.",
    "Networks and settings are those that the projects describe; what none of them gives, such as the seed, "
    "and the rate where it is the framework's default, is the default here. Where a description can be read in two "
    "ways, the row is the one that came nearer to what was published, and the other stands beside it.",
    "One thing more was published without a number: a demo that names the diagnosis of one image. That is "
    "`melascope predict`.",
)
STEPS_NOTE = (
    "The same recipe each time; a black stroke reaches from the lowest to the highest seed. A cost stands with "
    "its 95 % interval from the sampling error of both accuracies; where that contains zero, no difference is "
    "shown. Seeds share photographs, so that the interval counts those of one seed. The steps are taken in this "
    "order; in another, each would cost something else."
)


def filled(text: str, bullet: bool = False) -> str:
    """Return a paragraph in lines of even length."""
    first, rest = ("- ", "  ") if bullet else ("", "")
    return textwrap.fill(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def of_copies(told: dict[str, Any]) -> str:
    """Return what the photographs that judge after rebalancing share with those that are trained on."""
    n = told["validation"]

    def share(name: str) -> str:
        return f"{told[name]:,} ({told[name] / n:.0%})".replace("%)", " %)")

    return (
        f"Of {n:,} photographs that judge after rebalancing, {told['copies_in_validation']:,} are copies "
        f"themselves. {share('photograph_in_train')} are trained on too, as the original or as another copy of "
        f"it; {share('tied_to_train')} share a photograph or a lesion with training. {share('two_diagnoses')} "
        f"show a photograph that is filed under two diagnoses, and {share('label_contradicted')} stand under a "
        "diagnosis that the official tables contradict (seed 0). So a network that has learnt its photographs "
        "by heart, wrong labels included, is rewarded for it; on photographs that it has not seen, nothing of "
        "that is left."
    )


def of_test(told: dict[str, Any]) -> str:
    """Return what Test shares with Train."""
    n = told["validation"]
    return (
        f"Test itself is not clean either: of its {n:,} photographs {told['photograph_in_train']:,} are in "
        f"Train too, {told['tied_to_train']:,} share a photograph or a lesion with it, and "
        f"{told['label_contradicted']:,} stand under a diagnosis that the official tables contradict."
    )
