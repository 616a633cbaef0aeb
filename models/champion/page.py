"""Write what README.md and docs/champion.md tell of the champion: numbers of the shipped bundle and of the ideas.

    python -m models.champion.page

`docs/champion.json` is what `models.champion.experiments --write` left, `docs/champion_shuffles.json` what
`models.champion.shuffles --write` did, and `docs/champion_frozen_shuffles.json` what `frozen_shuffles` did. Only what
stands between the marks is written; a test holds it to be what this writes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from melascope.bundle import Bundle, load_bundle
from melascope.reports import figures
from models.champion.beside import ABROAD, IDEAS, LOOKS, looks_table, share, shown
from models.champion.gather import HAM, NINE
from models.champion.make import PACKAGE
from models.champion.shuffles import PEER, summary

SHUFFLES = IDEAS.with_name("champion_shuffles.json")
FROZEN = IDEAS.with_name("champion_frozen_shuffles.json")
SEEN = 4
"""So many shuffles had been looked at before it was decided to train more."""
_CONFIRMED = {
    "histo": "histology",
    "follow_up": "follow-up",
    "consensus": "consensus of experts",
    "confocal": "confocal microscopy",
}
ROOT = Path(__file__).parents[2]
PAGES = {"readme": ROOT / "README.md", "page": ROOT / "docs" / "champion.md"}
PICTURE = ROOT / "docs" / "pictures" / "champion.png"
CARD = ROOT / "docs" / "champion_card.md"
_CARD = "<!-- The card of the shipped model, copied from its distribution by python -m models.champion.page. -->\n\n"
_MARK = "<!-- {name}: written by python -m {module} -->"
_END = "<!-- end -->"


def results(evaluation: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of the closed photographs: each source by itself, since a source can tell the diagnosis."""
    part = evaluation["parts"]["test"]
    lines = [
        "| photographs | n | melanomas | melanoma AUC | sensitivity | specificity |",
        "|---|---|---|---|---|---|",
    ]
    names = {
        HAM: "HAM10000: every tenth lesion, and what the nine-class set's Test has of it",
        NINE: "nine-class set, its Test without HAM10000's",
    }
    for source, group in part["subgroups"]["source"].items():
        scores = ["too few to judge"] * 3 if group["too_few"] else [
            shown(group[key]) for key in ("auc", "sensitivity", "specificity")
        ]  # fmt: skip
        lines.append(f"| {names.get(source, source)} | {group['n']:,} | {group['n_positive']} | {' | '.join(scores)} |")
    within, colour = part["within_source"]["melanoma"], evaluation["baselines"]["colour_histogram"]
    n, positive = within["auc"]["n"], part["groups"]["melanoma"]["n_positive"]
    lines.append(f"| both, over pairs of one source | {n:,} | {positive} | {shown(within['auc'])} | | |")
    less = signed({**colour["difference"]["melanoma_auc_within"], "mean": 0}, 2)
    beaten = f"{shown(colour['melanoma_auc_within'])}; the model's less this {less}"
    lines.append(f"| the same by colour alone (histogram, logistic regression) | {n:,} | {positive} | {beaten} | | |")
    excised = part["subgroups"]["confirmed_by"]["histo"]
    scores = [shown(excised[key]) for key in ("auc", "sensitivity", "specificity")]
    lines.append(
        f"| of all these, diagnoses that histology confirmed | {excised['n']} | {excised['n_positive']} | "
        f"{' | '.join(scores)} |"
    )
    for kind, one in part["benign"].items():
        told = shown(one["melanoma_specificity"])
        lines.append(f"| benign lesions, confirmed by {_CONFIRMED.get(kind, kind)} | {one['n']:,} | 0 | | | {told} |")
    one = next(one for one in tried if one["idea"] == ABROAD and one["views"])
    scores = [shown(one[key]) for key in ("stranger", "stranger_sensitivity", "stranger_specificity")]
    lines.append(
        f"| a source left out: the recipe trained on HAM10000 alone, judged on ISIC 2017 | {one['stranger']['n']:,} | "
        f"| {' | '.join(scores)} |"
    )
    return lines


def points(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the table of the operating points for melanoma, as measured on all closed photographs."""
    lines = ["| operating point | chosen for | assured | sensitivity | specificity |", "|---|---|---|---|---|"]
    measured = evaluation["parts"]["test"]["groups"]["melanoma"]["operating_points"]
    for name in ("screening", "balanced", "rule-in"):
        point = measured[name]
        aim = "Youden's index" if point["aim"] == "youden" else f"{point['aim']} {share(point['target'])}"
        assured = "yes" if point["assured"] else "no"
        lines.append(f"| {name} | {aim} | {assured} | {shown(point['sensitivity'])} | {shown(point['specificity'])} |")
    return lines


def ideas(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of the ideas, in the order in which they were tried."""
    lines = [
        "| idea | size | epochs | folds | minutes a fold | balanced accuracy | even | melanoma AUC | "
        "weighed | specificity at .95 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    keys = ("balanced_accuracy", "even", "melanoma_auc", "natural_auc", "specificity")
    for one in tried:
        scores = " | ".join(shown(one.get(key)) for key in keys)
        folds = len(one["folds"])
        lines.append(
            f"| **{one['idea']}**: {one['what']} | {one['size'][0]} x {one['size'][1]} | {one['epochs']} | {folds} | "
            f"{one['minutes'] / folds:.0f} | {scores} |"
        )
    return lines


def decided(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of what is decided by calibration, weights and thresholds that the other folds gave."""
    lines = [
        "| idea | folds | judged | n | balanced accuracy | melanoma AUC | sensitivity | specificity |",
        "|---|---|---|---|---|---|---|---|",
    ]
    units = {
        "per photograph": ("decided", "melanoma_auc", "decided_sensitivity", "decided_specificity"),
        **{
            words: (f"{name}_decided", f"{name}_auc", f"{name}_sensitivity", f"{name}_specificity")
            for name, words in (
                ("once", "the same, each lesion counting once"),
                ("lesion", "per lesion, its photographs averaged"),
                ("one", "of these, lesions with one photograph"),
                ("several", "with two or more"),
            )
        },
    }
    for one in tried:
        if "decided" in one:
            mirrored = ", four mirror images" if one["views"] else ""
            for unit, keys in units.items():
                scores = " | ".join(shown(one[key]) for key in keys)
                about = f"{len(one['folds'])} | {unit} | {one[keys[0]]['n']:,}"
                lines.append(f"| **{one['idea']}**{mirrored} | {about} | {scores} |")
    return lines


def left_out(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of what ideas that never saw ISIC 2017 do there."""
    lines = ["| idea | n | melanoma AUC | weighed | sensitivity | specificity |", "|---|---|---|---|---|---|"]
    keys = ("stranger", "stranger_natural", "stranger_sensitivity", "stranger_specificity")
    for one in tried:
        if "stranger" in one:
            mirrored = ", four mirror images" if one["views"] else ""
            scores = " | ".join(shown(one[key]) for key in keys)
            lines.append(f"| **{one['idea']}**{mirrored} | {one['stranger']['n']:,} | {scores} |")
    lines += [
        "",
        "In pairs, on the same photographs; one training of each, so that what another training would give is not in "
        "the intervals:",
        "",
        "| idea | less | melanoma AUC, ISIC 2017 | HAM10000's fold |",
        "|---|---|---|---|",
    ]
    for one in tried:
        if "against" in one:
            mirrored = ", four mirror images" if one["views"] else ""
            abroad, home = (
                " and weighed ".join(_signed(one[f"{where}{end}_less"]) for end in ("", "_natural"))
                if f"{where}_less" in one
                else "not asked"
                for where in ("stranger", "home")
            )
            lines.append(f"| {one['idea']}{mirrored} | {one['against']} | {abroad} | {home} |")
    return lines


def _signed(estimate: Mapping[str, Any]) -> str:
    value, low, high = (f"{estimate[key]:+.3f}".replace("0.", ".", 1) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def shuffled(found: Mapping[str, Any]) -> list[str]:
    """Return the table of the networks that learnt shuffled labels, and what they say together."""
    lines = [
        f"| shuffle | melanomas left as they were, over chance | melanoma AUC | that of {PEER}'s probability | that of "
        "all other rare ones' | balanced accuracy | entropy explained |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found["shuffles"]:
        overlap = f"{one['overlap']:.2f}".removeprefix("0")
        peers = " | ".join([share(one["peer"]), share(one["others"]), shown(one["balanced_accuracy"])])
        lines.append(
            f"| {one['seed']} | {overlap} | {shown(one['melanoma_auc'])} | {peers} | {_fine(one['explained'])} |"
        )
    every = found["shuffles"]
    told = [(f"The first {SEEN}", every[:SEEN]), (f"The {len(every) - SEEN} after them", every[SEEN:])]
    for words, some in (*told, (f"All {len(every)}", every)):
        if len(some) < 2:
            continue
        mean, above = (summary(some)[key] for key in ("melanoma_auc", "above_peer"))
        lines += [
            "",
            f"{words}: mean melanoma AUC {shown({**mean, 'value': mean['mean']})}, deviation between shuffles "
            f"{share(mean['deviation'])}; above that of {PEER}'s probability by {signed(above, 2)}.",
        ]
    return [*lines, "", "Intervals of means are Student's t over shuffles."]


def signed(mean: Mapping[str, float], digits: int) -> str:
    """Return a difference with its interval."""
    middle = mean["value"] if "value" in mean else mean["mean"]
    value, low, high = (f"{number:+.{digits}f}".replace("0.", ".") for number in (middle, mean["low"], mean["high"]))
    return f"{value} ({low} to {high})"


def frozen(found: Mapping[str, Any]) -> list[str]:
    """Return the table of what heads on shuffled labels say of melanomas, and melanoma's output against its peer's."""
    lines = ["| probability of | its AUC for melanoma, mean | deviation between shuffles |", "|---|---|---|"]
    for code, one in found["outputs"].items():
        lines.append(f"| {code} | {shown(one)} | {share(one['deviation'])} |")
    less = signed(found["MEL less BKL"], 3)
    lines += ["", f"Melanoma's less that of benign keratosis, {found['shuffles']} shuffles: {less}."]
    return lines


def _fine(estimate: Mapping[str, Any]) -> str:
    value, low, high = (f"{estimate[key]:.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})".replace("0.", ".")


def blocks(
    bundle: Bundle,
    tried: Sequence[Mapping[str, Any]],
    looks: Sequence[Mapping[str, str]],
    shuffles: Mapping[str, Any],
    cheap: Mapping[str, Any],
) -> dict[str, dict[str, str]]:
    """Return, for each page, what stands between its marks."""
    assert bundle.evaluation is not None
    part = bundle.evaluation["parts"]["test"]
    facts = (
        f"Identity `{bundle.identity[:16]}`, {bundle.path.stat().st_size / 1e6:.1f} MB, "
        f"{bundle.geometry.height} x {bundle.geometry.width} pixels. "
        f"Balanced accuracy over {len(bundle.classes)} diagnoses on all {part['n_images']:,} closed photographs: "
        f"{shown(part['balanced_accuracy'])}."
    )
    measured = "\n".join(results(bundle.evaluation, tried))
    return {
        "readme": {"champion": measured},
        "page": {
            "facts": facts,
            "results": measured,
            "points": "\n".join(points(bundle.evaluation)),
            "looks": "\n".join(looks_table(looks)),
            "shuffles": "\n".join(shuffled(shuffles)),
            "frozen": "\n".join(frozen(cheap)),
            "ideas": "\n".join(ideas(tried)),
            "decided": "\n".join(decided(tried)),
            "left out": "\n".join(left_out(tried)),
        },
    }


def filled(text: str, written: Mapping[str, str], module: str = "models.champion.page") -> str:
    """Return a page with its marked blocks, those that the module writes, written anew.

    Raises:
        ValueError: When a mark is missing.
    """
    for name, block in written.items():
        mark = _MARK.format(name=name, module=module)
        if mark not in text:
            raise ValueError(f"The mark {mark} is missing.")
        before, rest = text.split(mark, 1)
        text = before + mark + f"\n{block}\n" + rest[rest.index(_END) :]
    return text


def drawn(evaluation: Mapping[str, Any], target: Path) -> None:
    """Draw ROC, reliability and decision curve of the closed photographs side by side."""
    part = evaluation["parts"]["test"]
    melanoma, calibration = part["groups"]["melanoma"], part["calibration"]["melanoma"]
    stamp = f"{part['n_images']:,} closed photographs, sources joined"
    roc = figures.roc(
        {"melanoma": part["curves"]["roc"]["melanoma"]},
        auc={"melanoma": melanoma["auc"]},
        points={"melanoma": {**melanoma["operating_points"]["screening"], "name": "screening"}},
        stamp=stamp,
    )
    reliability = figures.reliability(
        calibration["reliability"], slope=calibration["slope"], intercept=calibration["intercept"], stamp=stamp
    )
    useful = figures.decision_curve(
        melanoma["decision_curve"],
        threshold=melanoma["operating_points"]["screening"]["threshold"],
        n=part["n_images"],
        stamp=stamp,
    )
    pictures = []
    for figure in (roc, reliability, useful):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        pictures.append(Image.open(buffer).convert("RGB"))
    height = max(one.height for one in pictures)
    whole = Image.new("RGB", (sum(one.width for one in pictures), height), "white")
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width
    whole.save(target, optimize=True)


def main() -> None:
    bundle = load_bundle(PACKAGE / "src" / "melascope_champion" / "champion.melascope")
    tried = json.loads(IDEAS.read_text(encoding="utf-8"))
    looks = json.loads(LOOKS.read_text(encoding="utf-8"))
    shuffles = json.loads(SHUFFLES.read_text(encoding="utf-8"))
    cheap = json.loads(FROZEN.read_text(encoding="utf-8"))
    for name, written in blocks(bundle, tried, looks, shuffles, cheap).items():
        PAGES[name].write_text(filled(PAGES[name].read_text(encoding="utf-8"), written), encoding="utf-8")
    assert bundle.evaluation is not None
    drawn(bundle.evaluation, PICTURE)
    CARD.write_text(_CARD + str(bundle.card), encoding="utf-8")


if __name__ == "__main__":
    main()
