"""What judging quality, and naming neighbours, adds to a prediction: processor time per photograph, in turns.

    python -m benchmarks.quality_cost --bundle FILE --images FOLDER [--photographs 200] [--rounds 5]

One thread in one process. Processor time, since other work on the machine does not count in it. Each round predicts all
photographs in each way before the next; medians over the rounds are told, and the ratio within each round.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from melascope.bundle import Predictor, find
from melascope.images import decode
from melascope.images.quality import assess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    files = find([args.images]).files
    files = files[:: max(1, len(files) // args.photographs)][: args.photographs]
    ways = {
        "without": Predictor(args.bundle, 1, quality=False, neighbours=0),
        "with quality": Predictor(args.bundle, 1, quality=True, neighbours=0),
        "with quality and neighbours": Predictor(args.bundle, 1),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "assess alone")}
    decoded = [decode(file.read_bytes()) for file in files]
    for turn in range(args.rounds + 1):
        for name, predictor in ways.items():
            start = time.process_time()
            refused = sum(finding.status != "ok" for finding in predictor.predict(files))
            taken[name].append(time.process_time() - start)
            if refused:
                raise SystemExit(f"{refused} of {len(files)} photographs were refused.")
        start = time.process_time()
        for image in decoded:
            assess(image)
        taken["assess alone"].append(time.process_time() - start)
        if turn == 0:  # the first round warms up
            for times in taken.values():
                times.clear()
    base = np.array(taken["without"])
    print(f"{len(files)} photographs, {args.rounds} rounds, one thread; ms of processor time per photograph")
    for name, times in taken.items():
        per = 1000 * float(np.median(times)) / len(files)
        print(f"{name:30s} {per:6.2f}   {float(np.median(np.array(times) / base)):5.2f} times")


if __name__ == "__main__":
    main()
