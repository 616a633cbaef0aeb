"""Benchmarks: ours beside the peers one would have used instead, in one run, as ratios."""
