"""What the champion's card tells beside its run: ideas, looks at what is closed, a source left out, heat maps, damage.

Numbers come from the records in `docs/`; those of heat maps and of damaged photographs stand in `docs/champion.md`,
`docs/quality.md` and `docs/novelty.md` with their commands, and a test holds them to be the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from melascope.counted import plural
from melascope.statistics.intervals import FEW

DOCS = Path(__file__).parents[2] / "docs"
IDEAS, LOOKS, SHUFFLES = (DOCS / f"champion{end}.json" for end in ("", "_looks", "_shuffles"))
ABROAD = "abroad"
"""The idea that is the recipe, trained without the sources that it is then judged on."""
HEAT_MAPS = {
    "energy on the lesion": ".57 (.51 to .62)",
    "highest point on the lesion": ".88 (.80 to .95)",
    "deletion": ".060 (.049 to .073)",
    "insertion": ".320 (.274 to .370)",
}
"""As `docs/champion.md` has them, of 60 melanomas that it was not made from."""
GAUSSIAN = {
    "energy on the lesion": ".56 (.50 to .61)",
    "highest point on the lesion": "1.00 (1.00 to 1.00)",
    "deletion": ".044 (.034 to .056)",
    "insertion": ".280 (.237 to .329)",
}
"""Of a Gaussian in the middle, where HAM10000's lesions stand."""
NOISE = {
    "energy on the lesion": ".34 (.29 to .40)",
    "highest point on the lesion": ".36 (.24 to .48)",
    "deletion": ".173 (.143 to .203)",
    "insertion": ".195 (.161 to .233)",
}
"""Of smooth noise."""


MAPS = {"heat map": HEAT_MAPS, "Gaussian in the middle": GAUSSIAN, "smooth noise": NOISE}

ROBUSTNESS = (
    "**Melanomas that still alert**, of 59, of which .92 do undamaged (of 29 whose lesion was moved away .93, of 43 "
    "whose lesion was cut .91): with a lesion on 1 % of the picture .00 (.00 to .12), with 40 hairs .15 (.08 to .27),"
    " with a quarter of the contrast .24 (.15 to .36), with blur of 3 % of the short side .25 (.16 to .38), with a "
    "lesion on 3 % of the picture .34 (.20 to .53), with motion of 9 % of the short side .44 (.32 to .57), with half "
    "a lesion cut off .70 (.55 to .81). On other photographs of HAM10000 most of such damage is called too poor, and "
    "so referred, but of lesions on 3 % of the picture .46 and of half lesions .05.",
    "**More alerts, of others too:** darkness, black frames, overexposure and ink.",
    "**Little changes** with rulers, writing, fewer pixels and slight blur.",
    "**A diagnosis that was never trained** is told from the known with an AUROC of .65 (melanoma) to .99 (vascular "
    "lesion), mean .84, which flatters it, since the network itself had seen them.",
    "**Pictures that are no photograph of a lesion** are called outside in .93 (photographs) to 1.00 (documents, "
    "textures), simulated clinical views in .66; real clinical photographs were not measured.",
)
"""As `docs/quality.md` and `docs/novelty.md` have it."""


def told() -> dict[str, list[str]]:
    """Return the lines of each section, by its name in `melascope.evaluation.card_checklists.BESIDE`."""
    tried = json.loads(IDEAS.read_text(encoding="utf-8"))
    looks = json.loads(LOOKS.read_text(encoding="utf-8"))
    shuffles = json.loads(SHUFFLES.read_text(encoding="utf-8"))
    return {
        "designs": [*_designs(tried), "", *looks_table(looks)],
        "left_out": _left_out(tried),
        "shuffles": _shuffles(shuffles),
        "heat_maps": _heat_maps(),
        "robustness": _robustness(),
    }


def share(number: float) -> str:
    """Return a share without its leading zero, such as `.91`."""
    return f"{number:.2f}".replace("0.", ".", 1) if number < 0.995 else "1.00"


def shown(estimate: Mapping[str, Any] | None) -> str:
    """Return an estimate with its interval, such as `.91 (.88 to .94)`; none of fewer than ten independent groups."""
    if not estimate or estimate["value"] is None:
        return "-"
    if estimate.get("groups", FEW) < FEW:
        return "too few to judge"
    value, low, high = (share(estimate[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _designs(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    folds = {one["idea"]: len(one["folds"]) for one in tried}
    on_all = [name for name, n in folds.items() if n > 1]
    return [
        f"{len(folds)} designs were trained and compared ({', '.join(folds)}): {', '.join(on_all)} on all five folds "
        f"of HAM10000 by lesion, each of the other {len(folds) - len(on_all)} on one of them. The best of many is "
        "judged optimistically by the same folds. Besides, three champions were made whole: the one before this, one "
        "of 24 epochs, and `light`, as the table below tells. All of them, with scores, intervals and cost, and what "
        "was not tried: `docs/champion.md` of Melascope's repository.",
    ]


def looks_table(looks: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the table of how often the closed photographs were looked at, and what was chosen then."""
    return [
        f"The closed photographs were looked at {plural(len(looks), 'time')}:",
        "",
        "| model | melanoma AUC, HAM10000's closed tenth | that of the Test folder, sources joined | chosen by it |",
        "|---|---|---|---|",
        *(f"| {one['model']} | {one['ham10000']} | {one['test_folder']} | {one['chosen']} |" for one in looks),
    ]


def _left_out(tried: Sequence[Mapping[str, Any]]) -> list[str]:
    one = next(one for one in tried if one["idea"] == ABROAD and one["views"])
    return [
        f"The same recipe, trained on HAM10000 alone ({plural(len(one['folds']), 'fold')} of it left out) and judged "
        f"on all {one['stranger']['n']:,} photographs of ISIC 2017 that are not HAM10000's: melanoma AUC "
        f"{shown(one['stranger'])}, where the fold of HAM10000 has {shown(one['melanoma_auc'])}. At the threshold that "
        f"finds .95 of that fold's melanomas it finds {shown(one['stranger_sensitivity'])} there, at a specificity of "
        f"{shown(one['stranger_specificity'])}. **This is what to expect in a clinic that it has not seen**; the "
        "shipped model has learnt from ISIC 2017 too, so that none is left to judge it itself.",
    ]


def _shuffles(found: Mapping[str, Any]) -> list[str]:
    own, above, n = found["melanoma_auc"], found["above_peer"], len(found["shuffles"])

    def signed(value: float) -> str:
        return f"{value:+.2f}".replace("0.", ".", 1)

    return [
        f"{n} networks of this recipe were trained on shuffled labels, a quarter of the epochs each. Their melanoma "
        f"AUC on the closed photographs: mean {shown({**own, 'value': own['mean']})}; above that of another diagnosis "
        f"drawn about as often, benign keratosis, by {signed(above['mean'])} ({signed(above['low'])} to "
        f"{signed(above['high'])}; Student's t over networks). No sign of a leak; smaller ones than these intervals "
        "are wide cannot be excluded. The run's own, under [Baselines](#baselines), is one of them; what a single one "
        "may explain, .02 of the entropy, was set after the .005 of the champion before had been seen.",
    ]


def _heat_maps() -> list[str]:
    lines = ["| map | " + " | ".join(HEAT_MAPS) + " |", "|---|" + "---|" * len(HEAT_MAPS)]
    lines += [f"| {name} | {' | '.join(row.values())} |" for name, row in MAPS.items()]
    return [
        "On 60 melanomas that it was not made from, against HAM10000's lesion masks (`python -m benchmarks.heatmaps`):",
        "",
        *lines,
        "",
        "Lesions stand in the middle there, and a Gaussian in the middle is hard to beat: the heat map tells better "
        "which part suffices (insertion), worse which is needed (deletion) and where the lesion is. Where lesions "
        "stand elsewhere it was not measured.",
    ]


def _robustness() -> list[str]:
    return [
        "This model was shown damaged photographs of HAM10000's closed tenth (`docs/quality.md`) and pictures that are "
        "no photographs of lesions, simulated clinical ones and diagnoses held out in turn (`docs/novelty.md`):",
        "",
        *(f"- {line}" for line in ROBUSTNESS),
    ]
