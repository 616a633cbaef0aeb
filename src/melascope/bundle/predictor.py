"""The one path from photographs to findings: evaluation, command line and servers all take it.

Each thread reads, decodes and runs a photograph of its own, so that decoding
and inference share the cores without a queue between them; results come out
in the order of the photographs, and only a few per thread are in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from melascope.bundle.decision import Decider
from melascope.bundle.doubts import context_of
from melascope.bundle.engine import Engine, Outputs, Precision, ordered_map
from melascope.bundle.format import Bundle, load
from melascope.bundle.heatmap import melanoma_map
from melascope.errors import ImageError
from melascope.finding import Finding, LesionFinding, Model, Refusal
from melascope.image_id import canonical_id
from melascope.images.decode import read_file
from melascope.images.geometry import prepare, prepare_with_photograph, resize
from melascope.images.quality import WORKING_SIDE, assess

Photograph = str | os.PathLike[str] | tuple[str, bytes]
"""A file, or a name and the file's content."""
About = Mapping[str, Mapping[str, Any]]
"""Canonical image id to what is known of the photograph: `lesion_id`, `patient_id`, `age`, `site`, as far as it is."""


@dataclass(frozen=True, eq=False)
class Raw:
    """What the network says about one photograph, before calibration.

    Attributes:
        logits: `(c,)` float32, or None where the photograph was refused.
        embedding: `(d,)` float32, or None likewise.
        heatmap: `(c, h', w')` float32, where asked for and the network gives one.
        refusal: Why it was refused, or None.
        sha256: Of the file's bytes; None where it could not be read.
        quality: `{"score", "problems"}` of the photograph; None where nobody looked.
    """

    logits: np.ndarray | None
    embedding: np.ndarray | None
    heatmap: np.ndarray | None
    refusal: Refusal | None
    sha256: str | None
    quality: dict[str, Any] | None = None


class Predictor:
    """A bundle, ready to look at photographs. Keep it: loading takes longer than a photograph.

    Args:
        bundle: A bundle or its file.
        threads: Photographs looked at at a time; None for all cores (or MELASCOPE_THREADS).
        precision: `f32`, or `bf16`: faster on some processors that have it,
            and less exact; `melascope.bundle.precision` says how much.
        batch_size: Photographs per request to the network. One is the fastest
            on processors (see `melascope.bundle.engine`), and lets no
            photograph's finding depend on its neighbours.
        operating_point: `screening` (also by default), `balanced` or `rule-in`, where the model has it.
        quality: Whether findings say how good the photograph is, and too poor a one is referred. It takes
            its own time: docs/quality.md says how much.
        neighbours: How many similar photographs of known diagnosis a finding names, where the bundle knows any.
        prevalence: Of melanoma where the model is used, in (0, 1): findings then say PPV and NPV.

    Raises:
        BundleError: When the bundle is refused, or has no such operating point.
        ValueError: When the prevalence is not in (0, 1).

    Example:
        >>> for finding in Predictor("RUN/model.melascope").predict(["lesion.jpg"]):
        ...     print(finding.decision, finding.melanoma_risk)
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        threads: int | None = None,
        precision: Precision = "f32",
        batch_size: int = 1,
        operating_point: str | None = None,
        quality: bool = True,
        neighbours: int = 5,
        prevalence: float | None = None,
    ) -> None:
        self.quality, self.neighbours = quality, neighbours
        self.bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
        self.decider = Decider.of(self.bundle.decision, self.bundle.evaluation, operating_point, prevalence)
        self.engine = Engine(self.bundle.onnx, threads, precision, batch_size)
        self.model = Model(self.bundle.decision["name"], self.bundle.decision["version"], self.bundle.identity)
        self.classes = self.decider.classes
        self._melanoma = self.classes.index("MEL") if "MEL" in self.classes else None

    @property
    def has_heatmap(self) -> bool:
        """Whether `predict(..., heatmaps=True)` can show where the evidence for melanoma lies."""
        return self.engine.has_heatmap and self._melanoma is not None

    def run(self, images: np.ndarray) -> Outputs:
        """Run prepared images `(n, h, w, 3)` uint8 through the network."""
        return self.engine.run(images)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities `(n, c)` float64 of logits `(n, c)`."""
        return self.decider.calibration.probabilities(logits)

    def stream(
        self, paths: Iterable[Photograph], heatmaps: bool = False, quality: bool = False
    ) -> Iterator[tuple[int, Raw]]:
        """Yield `(i, raw)` for each photograph, in order; one that cannot be used is refused, and the rest goes on.

        Args:
            paths: Files, or pairs of a name and a file's content; may be a generator of millions.
            heatmaps: Whether to keep the class activation maps.
            quality: Whether to judge the photographs' quality; scores of a network need none.
        """
        size = self.engine.batch_size
        numbered = enumerate(paths)
        groups = iter(lambda: list(islice(numbered, size)), [])

        def look(group: list[tuple[int, Photograph]]) -> list[tuple[int, Raw]]:
            return self._look([item for _, item in group], [i for i, _ in group], heatmaps, quality)

        for group in ordered_map(look, groups, self.engine.threads):
            yield from group

    def predict(
        self,
        paths: Iterable[Photograph],
        heatmaps: bool = False,
        about: About | None = None,
        embeddings: bool = False,
    ) -> Iterator[Finding]:
        """Yield a finding for each photograph, in order.

        Args:
            paths: As `stream` takes them.
            heatmaps: Whether findings get a `heatmap` `(h', w')` of melanoma, where the network gives one.
            about: What a table knows of the photographs; age and site count in the decision.
            embeddings: Whether findings get their `embedding` `(d,)`.
        """
        names: dict[int, Photograph] = {}

        def remembered() -> Iterator[Photograph]:
            for i, item in enumerate(paths):
                names[i] = item
                yield item

        for i, raw in self.stream(remembered(), heatmaps, self.quality):
            name = _name(names.pop(i))
            told = None if about is None else about.get(canonical_id(Path(name).name))
            finding = self.finding(name, raw, told)
            if embeddings and finding.status == "ok":
                finding = replace(finding, embedding=raw.embedding)
            yield finding

    def predict_lesions(self, paths: Iterable[Photograph], about: About, heatmaps: bool = False) -> list[LesionFinding]:
        """Return a finding for each lesion, in the order of its first photograph.

        Args:
            paths: As `stream` takes them.
            about: Which lesion each photograph shows, and of which patient; one that has none is a lesion of its own.
            heatmaps: As for `predict`.
        """
        from melascope.bundle.lesions import lesion_findings

        return lesion_findings(self.predict(paths, heatmaps, about, embeddings=True), self.decider)

    def predict_one(
        self, data: bytes, name: str = "", heatmap: bool = False, about: Mapping[str, Any] | None = None
    ) -> Finding:
        """Return the finding for one file's content, such as an upload, and what is known `about` it."""
        (_, raw), *_ = self._look([(name, data)], [0], heatmap, self.quality)
        return self.finding(name, raw, about)

    def predict_array(self, image: np.ndarray, name: str = "", heatmap: bool = False) -> Finding:
        """Return the finding for a decoded photograph `(h, w, 3)` uint8, sRGB, of any size.

        A JPEG file gives slightly other numbers than its decoded pixels: it is
        decoded scaled in the cosine domain.
        """
        outputs = self.engine.infer(resize(image, self.bundle.geometry)[None])
        quality = assess(image).to_dict() if self.quality else None
        return self.finding(name, _raw(outputs, 0, heatmap, None, quality))

    def finding(self, name: str, raw: Raw, about: Mapping[str, Any] | None = None) -> Finding:
        """Return what follows from a photograph's raw outputs, and from what is known `about` it."""
        image_id = canonical_id(Path(name).name) if name else None
        about = about or {}
        lesion, patient = _text(about.get("lesion_id")), _text(about.get("patient_id"))
        refusal = raw.refusal
        if raw.logits is not None and not np.isfinite(raw.logits).all():
            refusal = Refusal("not_finite", "The model gave a number that is not finite for this photograph.")
        if raw.logits is None or refusal is not None:
            return Finding(
                name, raw.sha256, image_id, "refused", self.model, lesion_id=lesion, patient_id=patient, error=refusal
            )
        probabilities = self.probabilities(raw.logits[None])[0]
        novelty, modality = self._looks(raw)
        similar = self.bundle.neighbours if self.neighbours else None
        context = context_of(about)
        verdict = self.decider.judge(probabilities, novelty, raw.quality, modality, context)
        heat = None
        if raw.heatmap is not None and self._melanoma is not None:
            # The calibrator's slope at this photograph carries the maps of the logits over to calibrated scores.
            maps = np.tensordot(self.decider.calibration.slope(raw.logits), raw.heatmap, axes=1)
            point = self.decider.points.get("melanoma")
            heat = melanoma_map(maps, probabilities, self._melanoma, 1.0, point.threshold if point else None)
        return Finding(
            path=name,
            sha256=raw.sha256,
            image_id=image_id,
            status="ok",
            model=self.model,
            lesion_id=lesion,
            patient_id=patient,
            decision=verdict.decision,
            reasons=verdict.reasons,
            diagnosis=verdict.diagnosis,
            probabilities={code: float(p) for code, p in zip(self.classes, probabilities, strict=True)},
            melanoma_risk=verdict.melanoma_risk,
            malignancy_risk=verdict.malignancy_risk,
            operating_point=verdict.operating_point,
            prediction_set=verdict.prediction_set,
            coverage=self.decider.coverage,
            novelty=novelty,
            quality=raw.quality,
            modality=modality,
            neighbours=(
                tuple(similar.nearest(raw.embedding, self.neighbours, image_id, raw.sha256))
                if similar is not None and raw.embedding is not None
                else None
            ),
            context=context,
            doubts=verdict.doubts,
            heatmap=heat,
        )

    def _looks(self, raw: Raw) -> tuple[dict[str, Any] | None, str | None]:
        """Return novelty and modality of a photograph, where the bundle can tell them."""
        known, modality = self.bundle.novelty, self.bundle.modality
        if raw.embedding is None or raw.logits is None:
            return None, None
        return (
            known.judge(raw.embedding, raw.logits) if known is not None else None,
            str(modality.judge(raw.embedding)["modality"]) if modality is not None else None,
        )

    def _look(
        self, items: Sequence[Photograph], numbers: Sequence[int], heatmaps: bool, quality: bool
    ) -> list[tuple[int, Raw]]:
        geometry = self.bundle.geometry
        images = np.empty((len(items), geometry.height, geometry.width, 3), np.uint8)
        refusals: list[Refusal | None] = []
        hashes: list[str | None] = []
        qualities: list[dict[str, Any] | None] = []
        used = 0
        for item in items:
            digest = None
            try:
                data = item[1] if isinstance(item, tuple) else read_file(item)
                digest = hashlib.sha256(data).hexdigest()
                if quality:
                    prepared = prepare_with_photograph(data, geometry, WORKING_SIDE)
                    images[used] = prepared.image
                    qualities.append(assess(prepared.photograph, prepared.size).to_dict())
                else:
                    images[used] = prepare(data, geometry)
                    qualities.append(None)
            except ImageError as error:
                refusals.append(Refusal(error.kind, str(error)))
            else:
                refusals.append(None)
                used += 1
            hashes.append(digest)
        outputs = self.engine.infer(images[:used]) if used else None
        result = []
        row = 0
        for number, refusal, digest in zip(numbers, refusals, hashes, strict=True):
            if refusal is not None or outputs is None:
                result.append((number, Raw(None, None, None, refusal, digest)))
                continue
            result.append((number, _raw(outputs, row, heatmaps, digest, qualities[row])))
            row += 1
        return result


def _raw(outputs: Outputs, row: int, heatmaps: bool, digest: str | None, quality: dict[str, Any] | None) -> Raw:
    heatmap = outputs.heatmap[row] if heatmaps and outputs.heatmap is not None else None
    return Raw(outputs.logits[row], outputs.embedding[row], heatmap, None, digest, quality)


def _name(item: Photograph) -> str:
    return item[0] if isinstance(item, tuple) else os.fspath(item)


def _text(value: Any) -> str | None:
    """Return a cell's text; an empty or missing cell (None, NaN) is None."""
    text = str(value).strip() if value is not None and value == value else ""
    return text or None
