"""Whether the interval of the largest gap among several groups holds the truth as often as it says.

    python benchmarks/gaps.py

Groups of generated lesions, all alike: how often a gap is "shown" where there
is none. Then one group worse than the others: how often all pairs' intervals
hold their true differences, and how often the gap is found. Beside it what the
95 % interval of the most different pair would say, had it been named beforehand.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from melascope.statistics import auc, bootstrap, rates, wilson
from melascope.statistics.gaps import effective_cases, pairwise_gaps

SETS, DRAWS = 2000, 200
AREAS = 500
GROUPS = {"2 of 15": [15] * 2, "2 of 100": [100] * 2, "4 of 10 to 80": [10, 20, 40, 80], "8 of 30": [30] * 8}
Made = Callable[[np.random.Generator, int, float], tuple[float, float]]


def share(generator: np.random.Generator, lesions: int, p: float) -> tuple[float, float]:
    """Return a sensitivity over lesions of one photograph, and how many cases stand behind it."""
    value = generator.binomial(lesions, p) / lesions
    return value, float(lesions - (0 < value < 1))  # what `effective_cases` says of endless draws


def doubled(generator: np.random.Generator, lesions: int, p: float) -> tuple[float, float]:
    """Return a sensitivity over lesions of two photographs that mostly agree, and how many cases stand behind it."""
    base = generator.random(lesions) < p
    other = np.where(generator.random(lesions) < 0.7, base, generator.random(lesions) < p)
    found, groups = np.r_[base, other], np.tile(np.arange(lesions), 2)
    truth = np.ones(2 * lesions, bool)
    samples = bootstrap(lambda w: rates(found, truth, w)[0], groups, truth, DRAWS, int(generator.integers(2**31)))
    value = float(found.mean())
    return value, effective_cases(value, samples, lesions, 2 * lesions)


def area(generator: np.random.Generator, melanomas: int, p: float) -> tuple[float, float]:
    """Return an AUC over melanomas and three times as many others, and how many cases stand behind it."""
    y = np.arange(4 * melanomas) < melanomas
    risk = generator.normal(size=len(y)) + 2**0.5 * _quantile(p) * y
    samples = bootstrap(lambda w: auc(risk, y, w), None, y, DRAWS, int(generator.integers(2**31)), len(y))
    value = float(auc(risk, y))
    return value, effective_cases(value, samples, melanomas)


def _quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def held(made: Made, sizes: list[int], p: float, worse: float, sets: int, seed: int = 0) -> tuple[float, float, float]:
    """Return how often all pairs hold the truth, a gap is shown, and the most different pair alone would show one."""
    generator = np.random.default_rng(seed)
    true = [p] * (len(sizes) - 1) + [p - worse]
    right = shown = naive = 0
    for _ in range(sets):
        values, behind = zip(*(made(generator, n, q) for n, q in zip(sizes, true, strict=True)), strict=True)
        pairs = pairwise_gaps(values, behind)
        right += all(g.low - 1e-9 <= true[g.higher] - true[g.lower] <= g.high + 1e-9 for g in pairs)
        shown += any(g.shown for g in pairs)
        naive += any(_alone(values, behind, g.higher, g.lower) for g in pairs)
    return right / sets, shown / sets, naive / sets


def _alone(values: tuple[float, ...], behind: tuple[float, ...], a: int, b: int) -> bool:
    high, low = (wilson(values[i] * behind[i], behind[i]) for i in (a, b))
    return values[a] - values[b] > math.hypot(values[a] - high.low, low.high - values[b])


def main() -> None:
    start = time.perf_counter()
    kinds: dict[str, tuple[Made, int, tuple[float, ...]]] = {
        "sensitivity": (share, SETS, (0.8, 0.95)),
        "sensitivity, two photographs of each lesion": (doubled, AREAS, (0.8,)),
        "melanoma AUC": (area, AREAS, (0.75, 0.9)),
    }
    print(
        "| score | groups | true | all pairs held, alike | a gap shown, alike | by the pairs' own intervals |", end=""
    )
    print(" all held, one .25 worse | a gap shown |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (made, sets, truths) in kinds.items():
        for p in truths:
            for words, sizes in GROUPS.items():
                alike, other = held(made, sizes, p, 0.0, sets), held(made, sizes, p, 0.25, sets)
                cells = (*alike, *other[:2])
                print(f"| {name} | {words} | {p:.2f} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)
    print(f"\n{SETS:,} generated sets ({AREAS} with a bootstrap, {DRAWS} draws), {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
