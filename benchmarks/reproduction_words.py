"""The words of docs/reproduction.md, which need no results or a few counts of them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reproduction_rows import COPIES_PER_CLASS, FOLDS, OVERFIT, published_range
from melascope.counted import plural

_WIDTH = 135
_AFTER = round(COPIES_PER_CLASS * (1 - 1 / FOLDS))


def said_range(on_test: bool) -> str:
    """Return the accuracies that were published, such as `48 % and 83 %`."""
    return " and ".join(f"{100 * value:.0f} %" for value in published_range(on_test))


HEAD = (
    f"Course projects on the public nine-class set publish accuracies between {said_range(False)}, and on its Test "
    f"folder between {said_range(True)} (the lowest on 23 photographs). For each number: what the project did, what "
    "the same steps give here, and what they give once no photograph that judges, and no lesion that is known by its "
    "id, was trained on and the labels are the official ones (the protocol `clean`)."
)
COMMANDS = (
    "makes all of it and writes this page (with `--no-train` from what is there). It goes on where it was stopped, and "
    "trains nothing again that is recorded beside the page. It needs the folder set as `isic9` (`Train` and `Test`, a "
    "folder for each of nine diagnoses) and the two tables of the ISIC 2019 training set; the weights that some "
    "commands below name are the arrays of `mobilenetv2-7.onnx` of the ONNX model zoo, which may be given instead. "
    "`--precision bfloat16` takes half the time on some processors that have it, half as long again on others, and ten "
    "times as long on one that has not (`melascope doctor` tells which have it, `python -m benchmarks.training` what "
    "it gains)."
)
READING = (
    "**Ours** is the accuracy of the last epoch, as the notebooks report it, from the lowest to the highest seed. The "
    "seed is the number that starts all random choices: who judges, which copies are made, how training begins.",
    "**In brackets**: how far it could be off because only so many photographs judged (95 %, Wilson), from the lowest "
    "of all seeds to the highest. Photographs of one lesion and copies of one photograph are not independent. So they "
    "count as fewer: as many as there would be if all of a group (photograph and lesion, copies with their source) "
    "were judged alike, which is the square of the sum of the groups' sizes over the sum of their squares (Kish). They "
    "may be judged less alike, so that the brackets are rather too wide than too narrow. Every difference of two "
    "accuracies here, unless in pairs, rests on the same numbers. {judges}",
    "**Its last ten epochs** tell what no interval here contains: how much the accuracy moves from one epoch to the "
    "next. A number read after the last one owes as much to chance; the mean is a calmer measure. Test is judged at "
    "the end alone, but where it is what judges all along.",
    "**Not finished**: a training that is to go on has its accuracies after the epochs so far. It counts "
    "as no result, decides nothing and is not judged; where the published number lies in its interval already, more "
    "epochs may still lead away from it.",
    "A number is **reproduced** when it lies in the interval of at least one seed with which anything was learnt, to "
    "within half a unit of its last digit. That half unit was allowed after the first results were known; where it "
    'decides, the row says "and its rounding". The published number is taken as exact there, though other photographs '
    "judged it, drawn at random as ours (on Test the same, but not in pairs). So beside a no stands ours less the "
    "published one, with an interval of the sampling error of both, as if as many independent photographs had judged "
    "each; where that contains zero, the two are not shown to differ. Where a number is not reproduced, the difference "
    "is explained in words as far as it can be. **Seeds** names those behind ours and behind one fold or Test; b: "
    "trained with numbers of 16 bits (bfloat16), which is faster and less exact.",
    "**As said**: that training lies above validation counts as overfitting where all of the interval is above "
    f"{OVERFIT:.2f}; the interval is that of the validation alone. A row that its project compares with another is "
    "**paired** where the same photographs judge both and the record keeps what each network said of them (the "
    "interval resamples groups of photograph and lesion), which it does for new results since 2026-11-23. Otherwise "
    "it is **unpaired**: either others judge, or what was said was not kept, and then the interval is wider than need "
    "be. Where it was kept with some seeds alone, all seeds decide, unpaired, and the pairs are told beside.",
    "{few}",
    "**A random fifth judges**: as `image_dataset_from_directory(validation_split=0.2)` has it, labels as "
    "filed. **500 copies per class**: drawn with replacement, each turned by up to 10 degrees with "
    "probability .7 and cut to the largest rectangle without black corners, as Augmentor does; three in ten "
    "are not turned, the very same pixels. **Drawn in proportion**: as many copies in all, but of all "
    "photographs alike, so that the largest class stayed 6.0 times the smallest. **Divided afterwards**: "
    "photographs and copies are shuffled together, and a fifth judges.",
    "**Under `clean`**: official labels where there are any (eight diagnoses, for the two benign keratoses "
    "are one), each photograph once, Test closed but where a row is of Test. **Cross-validated**: the mean over all "
    "folds and repeats of the section below, in which every photograph outside Test judges once in each repeat. Its "
    "interval also has in it how much one training differs from another, which no other interval of this table has. "
    f"**One fold**: the first of a {FOLDS}-fold grouped cross-validation of the same seed; `saktisaurav-test` is what "
    "the network so trained has on Test. Where Test alone judged (dsharma), all that is not known to share anything "
    "with Test is trained on, and Test judges; cross-validated, other photographs do. Nothing was chosen by the "
    "numbers under `clean`. Copies are made after the division, of what is trained on alone: 500 per class less the "
    "part that would have judged, a fifth or a third "
    f"(of {FOLDS} folds they leave {_AFTER}).",
    "Until 2026-11-23 every recipe was asked for on one fold too, with two seeds. Since the cross-validation tells the "
    "same more surely, no more of these are asked for, but for those of the waterfall; all that were made stay. A dash "
    "stands where nothing is asked for: `saktisaurav-rebalanced-30` is the next row after fewer epochs.",
    "**Lesions** are known by their ids for two thirds of the photographs; of the others each counts as a lesion of "
    "its own, and no patient is known. So another photograph of a lesion may stand on the other side, under `clean` "
    "too. **Test** is judged only where a row or a bar shows it. Until 2026-11-22 the record also held what the other "
    "trainings, `small-cnn` and `champion` among them, have there; nothing was chosen by that.",
    "**Read off the notebooks** of pattanaikay, saktisaurav and dsharma, which are public: networks, optimisers, "
    "augmentation, copies, epochs and what judges; each number is that of a last epoch. All train at the framework's "
    "own rates and set no seed of the weights; their division has one seed (123), here each seed has its own. Of the "
    "other two projects only descriptions were found: layers, rates and epochs of their rows are ours after these, and "
    "so are the verdicts on what they say.",
    "**What is not the same.** pattanaikay's rebalanced folder held 6,267 of 6,739 photographs and copies, which is "
    "not told; here it holds all. saktisaurav leaves out the padding of the last convolution of its plain network and "
    "of all of the other; here each keeps its size. It turns by a quarter, always, and changes the brightness by a "
    "fifth of one grey level; here photographs are turned by any angle and the brightness changes by up to a fifth. "
    "Its .828 is the last of six epochs of another training, whose length is not told (its accuracy in training begins "
    "at .859): read as 36 in all. Test (.407) was judged by that one. dsharma's regularised network normalises after "
    "the activation and flips both ways, ours before it and sideways; its rebalanced one, the plain network again, was "
    "trained on 5,392 of the 6,739, ours on all.",
    "Earlier versions of this page had the rebalanced networks of pattanaikay and saktisaurav with their augmentation, "
    "and dsharma's with its regularised network. saktisaurav's fell far short so (0.55 after 36 epochs), and was tried "
    "without augmentation before the notebooks were read; they have none there.",
    "One thing more was published without a number: a demo that names the diagnosis of one image. That is "
    "`melascope predict`.",
)
STEPS_NOTE = (
    "The same recipe each time, each training judged by its last epoch; a black stroke in the plot reaches over the "
    "last ten epochs of all seeds. In brackets beside how many judge: as how many independent photographs they count "
    "(above). A cost stands with its 95 % interval from the sampling error of both accuracies with these numbers: "
    "neither the seed nor the epoch is in it. Where it contains zero, no "
    "difference is shown. Seeds share photographs, so that the interval counts those of one seed. The steps are taken "
    "in this order; in another, each would cost something else. Where two bars were trained in other precisions, their "
    "difference is also that of the precisions. The balanced accuracy tells that the fall from bar 1 to bar 2 is not "
    "that of the diagnoses that judge, which change with the copies."
)


def filled(text: str, bullet: bool = False) -> str:
    """Return a paragraph in lines of even length."""
    first, rest = ("- ", "  ") if bullet else ("", "")
    lines = [text]
    for width in range(_WIDTH, _WIDTH - 20, -1):
        lines = textwrap.wrap(
            text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        )
        # A line that begins with "1." would be read as the first of a list.
        if not any(re.match(r"\s*(\d+[.)]|[-+*#]+) ", line + " ") for line in lines[1:]):
            break
    return "\n".join(lines)


def of_copies(told: dict[str, Any], seed: str) -> str:
    """Return what the photographs that judge after rebalancing share with those that are trained on."""
    n = told["validation"]

    def share(name: str) -> str:
        return f"{told[name]:,} ({told[name] / n:.0%})".replace("%)", " %)")

    return (
        f"Of {n:,} photographs that judge after rebalancing, {told['copies_in_validation']:,} are copies "
        f"themselves. {share('photograph_in_train')} are trained on too, as the original or as another copy of "
        f"it; {share('tied_to_train')} share a photograph or a lesion with training. {share('two_diagnoses')} "
        f"show a photograph that is filed under two diagnoses, and {share('label_contradicted')} stand under a "
        f"diagnosis that the official tables contradict (seed {seed}). So a network that has learnt its photographs "
        "by heart, wrong labels included, is rewarded for it; on photographs that it has not seen, nothing of "
        "that is left."
    )


def of_test(told: dict[str, Any], seed: str) -> str:
    """Return what Test shares with Train."""
    n = told["validation"]
    return (
        f"Test itself is not clean either: of its {n:,} photographs {told['photograph_in_train']:,} are in "
        f"Train too, {told['tied_to_train']:,} share a photograph or a lesion with it, and "
        f"{told['label_contradicted']:,} stand under a diagnosis that the official tables contradict (seed {seed})."
    )


def of_steps(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Return what the fourth bar changes besides the labels, and what the last two are.

    Args:
        before: What the third bar's training counted; None where it is not there.
        after: The same of the fourth.
    """
    fewer = ""
    if before is not None and after is not None:
        fewer = f" It also has fewer to train on: {after['train']:,} with their copies, {before['train']:,} before."
    return [
        "Bar 4 corrects the labels and counts each photograph once, and it also makes the task easier: the official "
        "labels have one diagnosis for the two benign keratoses, so that nine classes become eight and to take one of "
        "these for the other is no error any more. So part of what bar 4 has above bar 3 comes from an easier task; "
        f"how much is not known.{fewer}",
        "Bars 5 and 6 correct nothing: they are the networks of bars 1 and 4 on the Test folder, whose photographs "
        "come in other proportions and in part from other sources. From bar 4 to bar 6: other photographs. From bar 1 "
        "to bar 5: other photographs, and the copies no longer help.",
    ]


def of_flow(flow: dict[str, Any] | None) -> list[str]:
    """Return how many photographs bar 4 rests on and why the others are left out; nothing where it is not known."""
    if flow is None:
        return []
    left, words = flow["steps"][0]["photographs"], []
    for step in flow["steps"][1:]:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in step["excluded"].items() if n)
        if reasons:
            words.append(f"{step['photographs']:,} {step['label']} (left out: {reasons})")
    last = flow["steps"][-1]["photographs"]
    return [
        f"Behind bar 4: {left:,} photographs found; {'; '.join(words)}. {last - flow['photographs']:,} of them are "
        f"Test, {flow['photographs']:,} are not. To leave out what is filed under several diagnoses may make the task "
        f"easier too. {flow['filed']:,} of the {flow['photographs']:,} have no official label and keep the filed one."
    ]


def of_costs(
    costs: Sequence[tuple[str, float, float, float]], on_test: Sequence[float], means: Sequence[float] = ()
) -> str:
    """Return which corrections are shown to change the accuracy, and what the two networks have on Test.

    Args:
        costs: Of each correction: what holds from it on, by how much the accuracy changes, and the interval of that.
        on_test: The accuracies on Test of the network as published, and of that under `clean`.
        means: The mean over the last ten epochs of each of the bars before Test.
    """
    shown = [f"once {once} ({value:+.3f})" for once, value, low, high in costs if high < 0 or low > 0]
    rest = [f"once {once}" for once, _, low, high in costs if low <= 0 <= high]
    words = f"the accuracy changes {', and '.join(shown)}" if shown else "no single correction is shown to change it"
    if shown and rest:
        words += f"; that it changes further {', or '.join(rest)} is not shown"
    if len(means) == len(costs) + 1:
        calm = ", ".join(f"{value:.3f}" for value in means)
        words += f". Over their last ten epochs bars 1 to {len(means)} have {calm} on average"
    return (
        f"In one sentence: {words}. On Test, in part another source, the same two networks (bars 1 and 4) have "
        f"{' and '.join(f'{value:.3f}' for value in on_test)}."
    )


def of_machines(every: Sequence[dict[str, Any]]) -> str:
    """Return how many results were made in which precision on how many cores, and in how many hours, in words."""
    hours: dict[tuple[str, int], list[float]] = {}
    for result in every:
        hours.setdefault((result["precision"], int(result["machine"]["cores"])), []).append(result["seconds"] / 3600)
    told: list[str] = []
    for (kind, cores), each in sorted(hours.items()):
        count = str(len(each)) if told else plural(len(each), "result")
        told.append(f"{count} in {kind} on {plural(cores, 'core')} ({sum(each):.1f} h)")
    return ", ".join(told)


_NAMED = {
    "filed-random": "of a random fifth",
    "filed-random-copied-first": "divided afterwards",
    "filed-random-copied-first-in-proportion": "divided afterwards, drawn in proportion",
    "clean-group": "of a fifth under `clean`",
    "filed-test": "of Test",
    "clean-test": "of what is clean of Test",
}
"""What judges a design, in words; of those that are left out the same, or nearly the same, photographs judge."""


def of_judges(judges: Mapping[str, Any]) -> str:
    """Return of each kind of judges how many independent photographs they count; nothing where it is not known.

    Args:
        judges: By design, seed and part, as `reproduction_judges.counted` gives it.
    """
    told = []
    for slug, words in _NAMED.items():
        by_seed = judges.get(slug, {})
        if by_seed:
            one = by_seed[min(by_seed, key=int)]["validation"]
            shown = f"{one['photographs']:,} photographs in " if one["photographs"] < one["n"] else ""
            told.append(f"{words} {one['n']:,} as {one['independent']:,.0f} ({shown}{one['groups']:,} groups)")
    return f"So count, with the first seed: {'; '.join(told)}." if told else ""


def of_few(few: Mapping[str, tuple[int, float, float]], under: int) -> str:
    """Return that a number says little which few photographs judge, with how few judge in the rows at hand.

    Args:
        few: By row: how many judge, and between which bounds a number counts as reproduced.
        under: How many independent photographs are few.
    """
    told = [
        f"by `{name}`, {n} judge, and every number from {low:.3f} to {high:.3f}" for name, (n, low, high) in few.items()
    ]
    return (
        f"Where few photographs judge (fewer than {under} independent ones), almost any number would count as "
        f"reproduced{': ' + '; '.join(told) if told else ''}. Such a row tells how many judge."
    )


def of_uncounted(rows: Sequence[str]) -> str:
    """Return of which rows and bars it is not known how many independent photographs judge."""
    return (
        f"How many independent photographs judge is not counted yet in: {', '.join(f'`{name}`' for name in rows)}. "
        "There all count as independent, and the true intervals are wider."
    )
