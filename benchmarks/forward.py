"""What one forward pass of a recipe's exported network costs: processor time of one photograph, one thread.

    python -m benchmarks.forward [--recipe champion] [--size 224 224] [--views 1] [--rounds 200]

The weights are random: they do not change the time. Processor time, since other work on the machine does not count in
it; the median over the rounds, after ten that warm up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from melascope.bundle.engine import Engine
from melascope.training import backend, recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="champion")
    parser.add_argument("--size", type=int, nargs=2, default=[224, 224], help="height and width")
    parser.add_argument("--views", type=int, default=1, choices=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    backend.load(1)
    from melascope.training import networks
    from melascope.training.export import export_model

    made = recipe.load(args.recipe).replace(data={"size": args.size}, network={"views": args.views})
    engine = Engine(export_model(networks.build(made, 8)), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (1, *args.size, 3), dtype=np.uint8)
    taken = []
    for _ in range(args.rounds + 10):
        start = time.process_time()
        engine.run(image)
        taken.append(time.process_time() - start)
    kept = 1000 * np.array(taken[10:])
    low, median, high = np.quantile(kept, (0.05, 0.5, 0.95))
    size = " x ".join(map(str, args.size))
    print(f"{args.recipe} at {size}, {args.views} views: {median:.2f} ms ({low:.2f} to {high:.2f}, 5 to 95 %)")


if __name__ == "__main__":
    main()
