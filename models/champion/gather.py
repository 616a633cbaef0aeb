"""One table of all photographs that the champion learns from, each photograph once, and those that stay closed.

    python -m models.champion.gather --ham10000 HAM10000_metadata.csv IMAGES --isic2017 FOLDER --isic9 FOLDER
        --authority ISIC_2019_Training_GroundTruth.csv --authority ISIC_2019_Training_Metadata.csv --out table.csv

The three sets overlap: the same ISIC id is the same photograph, at other sizes. Of each the best copy is kept
(HAM10000 before ISIC 2017 before the nine-class set). Closed (`split` is `test`), and so in no part of training, tuning
or calibration: the Test folder of the nine-class set, and every tenth lesion of HAM10000, by a hash of its id, so that
they are the same for ever. What shares a photograph, lesion or patient with these is left out by the protocol clean.

Beside the table, `gathered.json` counts what was found and how often it was the same photograph. What of the nine-class
set is HAM10000's has that as its source: no melanoma of the nine-class set is, so that one name for both would let the
source tell the class.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from melascope.datasets import read

LOCKED = 10
"""One lesion of so many is locked."""
HAM_LICENCE = "CC BY-NC 4.0"
"""Of all of HAM10000; the licences of the other sets' photographs stand in the archive, one by one."""
GATHERED = "gathered.json"
HAM, ISIC2017, NINE = "HAM10000", "ISIC 2017", "nine-class set"


def locked(lesion_id: str) -> bool:
    """Return whether a lesion of HAM10000 is of the locked tenth."""
    return hashlib.sha256(lesion_id.encode()).digest()[0] % LOCKED == 0


def gather(ham: pd.DataFrame, isic2017: pd.DataFrame, nine: pd.DataFrame) -> pd.DataFrame:
    """Return the table of all, each photograph once, with `source`, `modality` and `split`.

    Args:
        ham: HAM10000, as `melascope.datasets.read` reads it.
        isic2017: ISIC 2017, training and validation.
        nine: The nine-class set, with its folders Train and Test.
    """
    tested = nine["split"].astype("string").eq("test").fillna(False).to_numpy(dtype=bool)
    # A photograph of Test is judged as it stands there; its other copies are no use to anybody.
    frames = [
        nine[tested].assign(source=NINE),
        ham.assign(source=HAM, license=HAM_LICENCE),
        isic2017.assign(source=ISIC2017),
        nine[~tested].assign(source=NINE),
    ]
    # Within Test one photograph may stand under two diagnoses: that is for the audit to tell, so all of them are kept.
    first = set(frames[0]["image_id"])
    rest = pd.concat([frame[~frame["image_id"].isin(first)] for frame in frames[1:]], ignore_index=True)
    keep = ~rest.duplicated("image_id") | (rest["source"] == NINE) & ~rest["image_id"].isin(
        set(rest.loc[rest["source"] != NINE, "image_id"])
    )
    found = pd.concat([frames[0], rest[keep]], ignore_index=True).assign(modality="dermoscopic")
    of_ham = found["lesion_id"].astype("string").str.startswith("HAM_").fillna(False) | found["image_id"].isin(
        set(ham["image_id"])
    )
    found.loc[of_ham, ["source", "license"]] = HAM, HAM_LICENCE
    closed = found["lesion_id"].map(lambda name: isinstance(name, str) and name.startswith("HAM_") and locked(name))
    of_test = pd.Series([True] * len(frames[0]) + [False] * int(keep.sum()))
    return found.assign(split=["test" if one else "train" for one in closed | of_test])


def flow(sets: Sequence[int], used: int) -> list[dict[str, object]]:
    """Return the first steps of the flow (STARD): what the sets hold, and each photograph once."""
    same = {"the same photograph, by its id, in another set or twice": sum(sets) - used}
    return [
        {"label": f"found in {len(sets)} sets", "photographs": sum(sets), "excluded": {}},
        {"label": "each id once", "photographs": used, "excluded": same},
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ham10000", type=Path, nargs=2, required=True, metavar=("METADATA", "IMAGES"))
    parser.add_argument("--isic2017", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--isic9", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--authority", type=Path, action="append", default=[], metavar="CSV")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV")
    options = parser.parse_args(arguments)
    parts = [
        (options.isic2017 / f"ISIC-2017_{name}_Classes.csv", options.isic2017 / f"ISIC-2017_{name}_Data")
        for name in ("Training", "Validation")
    ]
    sets = (
        read(options.ham10000[0], options.ham10000[1], options.authority),
        pd.concat([read(table, images, options.authority) for table, images in parts], ignore_index=True),
        read(options.isic9, None, options.authority),
    )
    found = gather(*sets)
    # Labels are the authority's where it knows the photograph; the command that reads this table is given it again.
    found.to_csv(options.out, index=False)
    told = flow([len(one) for one in sets], len(found))
    options.out.with_name(GATHERED).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for (source, split), rows in found.groupby(["source", "split"]):
        print(f"{source}, {split}: {len(rows):,} photographs", file=sys.stderr)


if __name__ == "__main__":
    main()
