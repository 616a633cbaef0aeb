"""What bfloat16 changes: its probabilities and decisions beside those of float32, on the same photographs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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


def to_compare(findings: Iterable[Finding], near: float = NEAR) -> list[bool]:
    """Return which findings of bfloat16 to compare: the first 64, every 16th, and all near a threshold.

    A decision can only flip near a threshold, so that no flip is missed as
    long as the largest change stays below `near`.
    """
    result = []
    for i, finding in enumerate(findings):
        result.append(finding.status == "ok" and (i < _AT_LEAST or i % EVERY == 0 or _is_near(finding, near)))
    return result


def compare(exact: Predictor, fast: Sequence[Finding], progress: Progress = silent) -> Change:
    """Return how far findings made in bfloat16 are from what a float32 predictor says.

    Args:
        exact: The same bundle in float32.
        fast: Findings of files, made with `precision="bf16"`.
        progress: Called with the stage `checking bf16`.
    """
    chosen = [finding for finding, wanted in zip(fast, to_compare(fast), strict=True) if wanted]
    largest, where, flipped = 0.0, "", []
    for done, (one, other) in enumerate(_beside(exact, chosen), 1):
        for code, p in one.probabilities.items():
            change = abs(p - other.probabilities[code])
            if change > largest:
                largest, where = change, one.path
        if one.decision != other.decision:
            flipped.append((one.path, str(one.decision), str(other.decision)))
        progress("checking bf16", done, len(chosen))
    return Change(len(fast), len(chosen), largest, where, tuple(flipped))


def _beside(exact: Predictor, fast: Sequence[Finding]) -> Iterator[tuple[Finding, Finding]]:
    pairs = zip(exact.predict(finding.path for finding in fast), fast, strict=True)
    # A file may vanish between the two looks at it.
    return ((one, other) for one, other in pairs if one.status == "ok")


def _is_near(finding: Finding, near: float) -> bool:
    return finding.margin is not None and abs(finding.margin) <= near
