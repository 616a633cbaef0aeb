"""What imagehash and cleanvision take for duplicates, asked in an environment of their own."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import numpy as np

HASHES = ("phash", "dhash", "whash", "average_hash")
HASH_DISTANCE = 10

PEER = """
import json, sys
from pathlib import Path
folder, out = sys.argv[1:]
paths = sorted(Path(folder).iterdir())
import imagehash
from PIL import Image
result = {"names": [path.name for path in paths], "hashes": {}}
for name in ("phash", "dhash", "whash", "average_hash"):
    result["hashes"][name] = [str(getattr(imagehash, name)(Image.open(path))) for path in paths]
from cleanvision import Imagelab
lab = Imagelab(filepaths=[str(path) for path in paths])
lab.find_issues({"near_duplicates": {}, "exact_duplicates": {}}, n_jobs=1, verbose=False)
result["sets"] = [
    [Path(name).name for name in group] for kind in ("near_duplicates", "exact_duplicates")
    for group in lab.info[kind]["sets"]
]
Path(out).write_text(json.dumps(result))
"""


def peers(python: str, paths: list[Path], folder: Path) -> dict[str, set[tuple[int, int]]]:
    """Return the pairs of positions that each peer takes for the same."""
    together = folder / "together"
    together.mkdir()
    for number, path in enumerate(paths):
        (together / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    answer = folder / "peers.json"
    subprocess.run([python, "-c", PEER, str(together), str(answer)], check=True, stdout=subprocess.DEVNULL)
    told = json.loads(answer.read_text())
    position = {name: int(name.split(".")[0]) for name in told["names"]}
    order = np.array([position[name] for name in told["names"]])
    found: dict[str, set[tuple[int, int]]] = {}
    for name in HASHES:
        bits = np.array([int(value, 16) for value in told["hashes"][name]], dtype=np.uint64)
        pairs: set[tuple[int, int]] = set()
        for row in range(len(bits)):
            near = np.flatnonzero(np.bitwise_count(bits[row + 1 :] ^ bits[row]) <= HASH_DISTANCE) + row + 1
            pairs |= {(int(a), int(b)) for a, b in np.sort(np.stack([np.full(len(near), order[row]), order[near]], 1))}
        found[f"imagehash {name}"] = pairs
    found["cleanvision"] = {
        (min(pair), max(pair))
        for group in told["sets"]
        for pair in itertools.combinations((position[name] for name in group), 2)
    }
    return found
