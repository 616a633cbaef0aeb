"""What bfloat16 changes: its probabilities and decisions beside those of float32, on the same photographs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from melascope.bundle.decision import Decider
from melascope.bundle.predictor import Predictor
from melascope.finding import Finding
from melascope.progress import Progress, silent

EVERY = 16
NEAR = 0.05
_AT_LEAST = 64


@dataclass(frozen=True)
class Change:
    """How far bfloat16 is from float32.

    Attributes:
        photographs: How many were looked at.
        compared: On how many of them both precisions were run.
        largest: The largest change of a probability.
        where: The photograph with it.
        flipped: `(path, decision in float32, decision in bfloat16)` of each decision that differs.
    """

    photographs: int
    compared: int
    largest: float
    where: str
    flipped: tuple[tuple[str, str, str], ...]

    def sentence(self) -> str:
        """Return it in words."""
        if not self.compared:
            return "bf16 was not compared with float32: no photograph could be read."
        which = (
            "all photographs"
            if self.compared == self.photographs
            else f"{self.compared:,} of {self.photographs:,} photographs (a sample, and all near a threshold)"
        )
        flips = "no decision differs" if not self.flipped else f"{len(self.flipped)} decisions differ"
        if len(self.flipped) == 1:
            flips = "1 decision differs"
        text = f"bf16 against float32 on {which}: the largest change of a probability is {self.largest:.4f}; {flips}"
        shown = "; ".join(f"{path} {exact} -> {fast}" for path, exact, fast in self.flipped[:20])
        return f"{text} ({shown})." if shown else f"{text}."


class PrecisionCheck:
    """Collects the findings of bfloat16 that are worth comparing, while they are made.

    These are the first 64, every 16th, and all near a threshold: a decision
    flips only there, so that none is missed as long as the largest change of
    a probability stays below 0.05.

    Args:
        decider: Of the bundle; it has the thresholds.
    """

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._seen = 0
        self._kept: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """Look at a finding made with `precision="bf16"`."""
        if finding.status != "ok":
            return
        if self._seen < _AT_LEAST or self._seen % EVERY == 0 or self._near(finding):
            self._kept.append(replace(finding, heatmap=None))
        self._seen += 1

    def compare(self, exact: Predictor, progress: Progress = silent) -> Change:
        """Return how far the findings are from what a float32 predictor of the same bundle says.

        Args:
            exact: Made with `precision="f32"` and the same operating point; it reads the files again.
            progress: Called with the stage `checking bf16`.
        """
        largest, where, flipped, compared = 0.0, "", [], 0
        about = {finding.image_id: finding.context or {} for finding in self._kept if finding.image_id}
        again = exact.predict((finding.path for finding in self._kept), about=about)
        for done, (one, other) in enumerate(zip(again, self._kept, strict=True), 1):
            progress("checking bf16", done, len(self._kept))
            if one.status != "ok":  # a file may vanish between the two looks at it
                continue
            compared += 1
            change = max(abs(p - other.probabilities[code]) for code, p in one.probabilities.items())
            if change > largest:
                largest, where = change, one.path
            if one.decision != other.decision:
                flipped.append((one.path, str(one.decision), str(other.decision)))
        return Change(self._seen, compared, largest, where, tuple(flipped))

    def _near(self, finding: Finding) -> bool:
        risks = {"melanoma": finding.melanoma_risk, "malignant": finding.malignancy_risk}
        return any(
            risk is not None and abs(risk - point.threshold) <= NEAR
            for group, point in self._decider.points.items()
            for risk in (risks[group],)
        )
