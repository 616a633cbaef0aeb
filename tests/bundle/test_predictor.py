from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests import tiny_bundle as tiny

import melascope.bundle.predictor as module
from melascope.bundle import Bundle, Engine, Predictor, default_bundle, melanoma_map, predict
from melascope.bundle.neighbours import make
from melascope.errors import BundleError, DataError
from melascope.finding import Finding
from melascope.images import Geometry, decode, prepare, synthetic
from melascope.images.quality import assess


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.melascope")


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle, threads=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny.folder(tmp_path_factory.mktemp("photographs"), 70)


def logits_by_hand(image: np.ndarray) -> np.ndarray:
    """What the tiny network computes, in numpy."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32)
    head = rng.normal(0, 10.0, (6, 4)).astype(np.float32)
    bias = rng.normal(0, 0.1, 4).astype(np.float32)
    padded = np.pad(image.astype(np.float64) / 255, ((1, 1), (1, 1), (0, 0)))
    features = np.zeros((8, 8, 6))
    for row, column in itertools.product(range(8), range(8)):
        patch = padded[4 * row : 4 * row + 3, 4 * column : 4 * column + 3]
        features[row, column] = np.maximum(np.einsum("hwc,dchw->d", patch, kernel), 0)
    return np.asarray(features.mean(axis=(0, 1)) @ head + bias)


def test_the_network_gives_what_it_was_made_to_give(predictor: Predictor) -> None:
    images = np.stack([tiny.photograph(seed, 32, 32) for seed in range(5)])
    outputs = predictor.run(images)
    assert outputs.logits.shape == (5, 4)
    assert outputs.embedding.shape == (5, 6)
    assert outputs.heatmap is not None
    assert outputs.heatmap.shape == (5, 4, 8, 8)
    assert {array.dtype for array in (outputs.logits, outputs.embedding, outputs.heatmap)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(outputs.logits, [logits_by_hand(image) for image in images], atol=1e-4)


def test_probabilities_are_calibrated(predictor: Predictor) -> None:
    logits = np.array([[1.5, 0.0, 0.0, -1.5]])
    expected = np.exp(logits / 1.5) / np.exp(logits / 1.5).sum()
    np.testing.assert_allclose(predictor.probabilities(logits), expected)


def test_a_finding(predictor: Predictor, files: list[Path], bundle: Bundle) -> None:
    (finding,) = predictor.predict(files[:1])
    assert finding.path == str(files[0])
    assert finding.image_id == "ISIC_0000000"
    assert finding.status == "ok"
    assert finding.error is None
    assert finding.sha256 == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert list(finding.probabilities) == list(tiny.CLASSES)
    assert sum(finding.probabilities.values()) == pytest.approx(1)
    assert finding.melanoma_risk == finding.probabilities["MEL"]
    assert finding.malignancy_risk == pytest.approx(finding.probabilities["MEL"] + finding.probabilities["BCC"])
    assert finding.diagnosis == max(finding.probabilities, key=finding.probabilities.__getitem__)
    assert finding.model.sha256 == bundle.identity
    assert finding.coverage == 0.9
    assert finding.prediction_set is not None
    assert "BCC" in finding.prediction_set
    assert finding.heatmap is None
    assert json.loads(finding.to_json())["novelty"] is None
    prepared = prepare(files[0].read_bytes(), Geometry(32, 32, "crop"))
    expected = predictor.probabilities(logits_by_hand(prepared)[None])[0]
    np.testing.assert_allclose(list(finding.probabilities.values()), expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_neither_batches_nor_threads_change_a_finding(
    bundle: Bundle, files: list[Path], predictor: Predictor, batch_size: int, threads: int
) -> None:
    expected = list(predictor.predict(files, heatmaps=True))
    found = list(Predictor(bundle, threads, batch_size=batch_size).predict(files, heatmaps=True))
    assert [f.path for f in found] == [str(file) for file in files]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-5)
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-4)


def test_a_bad_file_is_refused_and_the_rest_goes_on(bundle: Bundle, tmp_path: Path) -> None:
    files = tiny.folder(tmp_path, 9)
    (tmp_path / "text.jpg").write_text("hello, not a photograph")
    files[2].write_bytes(b"")
    files[5].write_bytes(files[5].read_bytes()[:300])
    asked = [*files, tmp_path / "none.jpg", tmp_path, tmp_path / "text.jpg"]
    for batch_size in (1, 4, 64):
        found = list(Predictor(bundle, 2, batch_size=batch_size).predict(asked, heatmaps=True))
        kinds = [f.error.kind if f.error else None for f in found]
        assert kinds == [
            *[None] * 2,
            "empty",
            None,
            None,
            "truncated",
            *[None] * 3,
            "missing",
            "unreadable",
            "not_an_image",
        ]
        refused = found[5]
        assert refused.status == "refused"
        assert refused.decision is None
        assert refused.melanoma_risk is None
        assert refused.sha256 == hashlib.sha256(files[5].read_bytes()).hexdigest()
        assert refused.error is not None
        assert refused.error.message.endswith(".")
        assert found[9].sha256 is None


def test_a_folder_of_bad_files_only(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert [f.status for f in predictor.predict([tmp_path / "a.jpg"] * 3)] == ["refused"] * 3
    assert list(predictor.predict([])) == []


def test_content_may_be_given_instead_of_files(predictor: Predictor, files: list[Path]) -> None:
    (expected,) = predictor.predict(files[:1], heatmaps=True)
    (found,) = predictor.predict([("upload.jpg", files[0].read_bytes())])
    one = predictor.predict_one(files[0].read_bytes(), "upload.jpg", heatmap=True)
    assert found.probabilities == one.probabilities == expected.probabilities
    assert (found.image_id, found.path) == ("UPLOAD", "upload.jpg")
    np.testing.assert_array_equal(one.heatmap, expected.heatmap)
    nameless = predictor.predict_one(b"not an image")
    assert nameless.image_id is None
    assert nameless.error is not None


def test_a_decoded_photograph(predictor: Predictor) -> None:
    found = predictor.predict_array(tiny.photograph(3, 100, 80), "a.png", heatmap=True)
    assert found.status == "ok"
    assert found.sha256 is None
    assert found.heatmap.shape == (8, 8)


def test_raw_outputs_stream_in_order(predictor: Predictor, files: list[Path]) -> None:
    raws = list(predictor.stream([str(file) for file in files]))
    assert [i for i, _ in raws] == list(range(len(files)))
    logits = np.stack([raw.logits for _, raw in raws])
    images = np.stack([prepare(file.read_bytes(), Geometry(32, 32, "crop")) for file in files])
    np.testing.assert_allclose(logits, predictor.run(images).logits, atol=1e-5)
    assert all(raw.heatmap is None and raw.embedding.shape == (6,) for _, raw in raws)
    assert next(iter(predictor.stream(files, heatmaps=True)))[1].heatmap.shape == (4, 8, 8)


def test_only_a_few_photographs_are_ahead_of_the_reader(bundle: Bundle, files: list[Path]) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        for file in itertools.cycle(files):
            taken += 1
            yield file

    findings = Predictor(bundle, threads=2).predict(endless())
    for _ in range(50):
        next(findings)
    time.sleep(0.05)
    assert taken <= 50 + 2 * 4 + 1
    findings.close()


def test_a_reader_that_stops_early_leaves_no_thread_behind(bundle: Bundle, files: list[Path]) -> None:
    findings = Predictor(bundle, threads=2).predict(files)
    next(findings)
    findings.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("predict")]


def test_a_fault_of_ours_is_not_taken_for_a_bad_file(
    predictor: Predictor, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "prepare_with_photograph", broken)
    with pytest.raises(KeyboardInterrupt):
        list(predictor.predict(files))


def test_the_heat_map_shows_where_melanoma_gains_on_the_rest(predictor: Predictor, files: list[Path]) -> None:
    (finding,) = predictor.predict(files[:1], heatmaps=True)
    assert finding.heatmap.shape == (8, 8)
    assert finding.heatmap.min() >= 0
    assert finding.heatmap.max() <= 1
    assert predictor.has_heatmap


def test_a_network_without_heat_map(tmp_path: Path, files: list[Path]) -> None:
    flat = Predictor(tiny.bundle(tmp_path / "flat.melascope", onnx=tiny.network(heatmap=False)))
    assert not flat.has_heatmap
    (finding,) = flat.predict(files[:1], heatmaps=True)
    assert finding.heatmap is None
    assert finding.status == "ok"


def test_a_model_that_knows_no_melanoma(tmp_path: Path, files: list[Path]) -> None:
    decision = tiny.decision(classes=["NV", "DF", "BKL", "VASC"], operating_points={}, prediction_set=None)
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope", decision=decision))
    (finding,) = predictor.predict(files[:1], heatmaps=True)
    assert finding.melanoma_risk is None
    assert finding.decision == "refer"
    assert finding.heatmap is None
    assert not predictor.has_heatmap


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, files: list[Path]) -> None:
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope", onnx=tiny.network(gain=float("inf"))))
    findings = list(predictor.predict(files[:3]))
    assert {f.error.kind for f in findings if f.error} == {"not_finite"}
    assert [f.decision for f in findings] == [None] * 3


def test_bfloat16_is_close(bundle: Bundle, predictor: Predictor, files: list[Path]) -> None:
    fast = Predictor(bundle, precision="bf16")
    for one, other in zip(predictor.predict(files), fast.predict(files), strict=True):
        assert one.melanoma_risk == pytest.approx(other.melanoma_risk, abs=0.1)


def test_impossible_settings_are_refused(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="fp8"):
        Predictor(bundle, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="batch size"):
        Predictor(bundle, batch_size=0)
    with pytest.raises(BundleError, match="cannot be loaded"):
        Engine(b"not a network")


def test_predict_gives_a_frame(bundle: Bundle, tmp_path: Path) -> None:
    files = tiny.folder(tmp_path / "photographs", 3)
    files[1].write_bytes(b"x")
    told: list[tuple[int, int]] = []
    frame = predict(
        tmp_path / "photographs",
        bundle=bundle.path,
        heatmaps=tmp_path / "maps",
        progress=lambda stage, done, total: told.append((done, total)),
    )
    assert frame["status"].tolist() == ["ok", "refused", "ok"]
    assert frame["error_kind"].tolist()[1] == "not_an_image"
    assert frame[[f"p_{code}" for code in tiny.CLASSES]].iloc[0].sum() == pytest.approx(1)
    assert frame["sensitivity_n"].iloc[0] == 40
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "ISIC_0000000.heatmap.jpg",
        "ISIC_0000002.heatmap.jpg",
    ]
    with pytest.raises(DataError, match="does not exist"):
        predict(tmp_path / "none", bundle=bundle)


def test_the_installed_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib.metadata

    class Offer:
        def __init__(self, name: str, path: Path | None) -> None:
            self.name, self._path = name, path

        def load(self) -> object:
            if self._path is None:
                raise ImportError("gone")
            return lambda: self._path

    offers: list[Offer] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offers)
    with pytest.raises(BundleError, match=r"melascope-champion.*--bundle"):
        default_bundle()
    offers += [Offer("b", None), Offer("a", tmp_path / "a.melascope")]
    assert default_bundle() == tmp_path / "a.melascope"
    del offers[1]
    with pytest.raises(BundleError, match="gone"):
        default_bundle()


@pytest.mark.real_data
def test_real_photographs_of_every_size(predictor: Predictor, shared_data: Path) -> None:
    files = sorted((shared_data / "originals").glob("*.jpg"))
    findings: list[Finding] = list(predictor.predict(files))
    assert [f.status for f in findings] == ["ok"] * len(files)


VECTOR = {"method": "vector", "slopes": [0.7, 1.1, 0.9, 1.2], "offsets": [0.5, -0.5, 0.2, 0.1]}
DIRICHLET = {
    "method": "dirichlet",
    "weights": [[0.8, 0.1, 0, 0], [0, 1.0, 0.2, 0], [-0.1, 0, 0.9, 0], [0, 0, 0.1, 1.1]],
    "offsets": [0.3, -0.3, 0.0, 0.2],
}


@pytest.mark.parametrize("calibration", [VECTOR, DIRICHLET])
def test_other_calibrations_give_probabilities_and_maps(
    tmp_path: Path, files: list[Path], calibration: dict[str, object]
) -> None:
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope", decision=tiny.decision(calibration=calibration)))
    (raw,) = (raw for _, raw in predictor.stream(files[:1], heatmaps=True))
    assert raw.logits is not None
    assert raw.heatmap is not None
    log_p = np.log(np.exp(raw.logits - raw.logits.max()) / np.exp(raw.logits - raw.logits.max()).sum())
    weights = np.diag(calibration["slopes"]) if "slopes" in calibration else np.array(calibration["weights"])
    score = weights @ log_p + calibration["offsets"]
    finding = predictor.finding("a.jpg", raw)
    assert finding.melanoma_risk == pytest.approx(np.exp(score[0]) / np.exp(score).sum(), abs=1e-5)

    def centred(logits: np.ndarray) -> float:
        """Melanoma's calibrated logit over the mean of all."""
        log_p = np.log(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())
        score = weights @ log_p + calibration["offsets"]
        return float(score[0] - score.mean())

    # What a place adds to the logits, it adds to melanoma's calibrated one: the derivative in that direction.
    step = 1e-4
    places = raw.heatmap.reshape(4, -1).T.astype(float)
    logits = raw.logits.astype(float)
    expected = np.array(
        [(centred(logits + step * place) - centred(logits - step * place)) / (2 * step) for place in places]
    )
    expected -= expected.min()
    odds = finding.melanoma_risk / (1 - finding.melanoma_risk)
    expected *= odds / (odds + 0.3 / 0.7)  # the threshold is .3
    np.testing.assert_allclose(finding.heatmap.ravel(), expected / max(np.ptp(expected), 3.0), atol=2e-3)


def test_with_a_temperature_the_map_is_what_it_was(predictor: Predictor, files: list[Path]) -> None:
    (raw,) = (raw for _, raw in predictor.stream(files[:1], heatmaps=True))
    assert raw.logits is not None
    assert raw.heatmap is not None
    finding = predictor.finding("a.jpg", raw)
    p = np.array(list(finding.probabilities.values()))
    np.testing.assert_allclose(finding.heatmap, melanoma_map(raw.heatmap, p, 0, 1.5, threshold=0.3), atol=1e-6)


def test_an_operating_point_can_be_asked_for(tmp_path: Path, files: list[Path]) -> None:
    points = tiny.decision()["operating_points"]
    named = {
        group: {**own, "balanced": {**own["screening"], "threshold": 0.99, "aim": "youden"}}
        for group, own in points.items()
    }
    bundle = tiny.bundle(tmp_path / "a.melascope", decision=tiny.decision(operating_points=named))
    for wanted, name in ((None, "screening"), ("screening", "screening"), ("balanced", "balanced")):
        (finding,) = Predictor(bundle, operating_point=wanted).predict(files[:1])
        assert finding.operating_point is not None
        assert finding.operating_point.name == name
    with pytest.raises(BundleError, match="no operating point"):
        Predictor(bundle, operating_point="rule-in")


def test_age_and_site_count_where_a_table_tells_them(tmp_path: Path, files: list[Path]) -> None:
    decision = tiny.decision(known_context={"age_band": {"40 to 49": 100}, "site": {"back": 100}})
    for named in decision["operating_points"].values():
        named["screening"]["threshold"] = 1.0
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope", decision=decision), quality=False)
    about = {
        "ISIC_0000000": {"lesion_id": "L1", "patient_id": "P1", "age": "45", "site": "Back"},
        "ISIC_0000001": {"lesion_id": float("nan"), "age": 3, "site": None},
    }
    first, second, third = predictor.predict(files[:3], about=about, embeddings=True)
    assert (first.decision, first.lesion_id, first.patient_id) == ("no_alert", "L1", "P1")
    assert first.context == {"age": 45.0, "site": "Back"}
    assert (second.decision, second.lesion_id, second.context) == ("refer", None, {"age": 3.0})
    assert (third.decision, third.context) == ("no_alert", None)
    assert first.embedding.shape == (6,)
    assert "embedding" not in json.loads(first.to_json())
    assert json.loads(first.to_json())["context"] == {"age": 45.0, "site": "Back"}
    lesions = predictor.predict_lesions(files[:3], {name: {"lesion_id": "L1"} for name in about})
    assert [len(lesion.findings) for lesion in lesions] == [2, 1]


def test_quality_has_its_place(predictor: Predictor, files: list[Path]) -> None:
    ((_, raw),) = predictor.stream(files[:1])
    poor = {"score": 0.1, "problems": [{"kind": "dark", "severity": 1.0, "sentence": "It is too dark."}]}
    finding = predictor.finding("a.jpg", replace(raw, quality=poor))
    assert finding.quality == poor
    assert any("It is too dark." in reason for reason in finding.reasons)
    assert finding.decision in ("refer", "alert")


@pytest.mark.parametrize("calibration", [VECTOR, DIRICHLET])
def test_neither_batches_nor_threads_flip_a_decision(
    tmp_path: Path, files: list[Path], calibration: dict[str, object]
) -> None:
    weighed = {"prior": [0.1, 0.6, 0.2, 0.1]}
    decision = tiny.decision(calibration=calibration, first_choice=weighed)
    risks = [
        f.melanoma_risk for f in Predictor(tiny.bundle(tmp_path / "b.melascope", decision=decision)).predict(files)
    ]
    point = {**decision["operating_points"]["melanoma"]["screening"], "threshold": float(np.median(risks))}
    decision["operating_points"] = {"melanoma": {"screening": point}}
    bundle = tiny.bundle(tmp_path / "a.melascope", decision=decision)
    about = {f"ISIC_{i:07d}": {"lesion_id": f"L{i // 3}", "patient_id": f"P{i // 15}"} for i in range(70)}
    expected = list(Predictor(bundle, 1).predict(files))
    lesions = Predictor(bundle, 1).predict_lesions(files, about)
    assert len({finding.decision for finding in expected}) == 2
    for threads, batch_size in itertools.product((1, 2), (1, 7, 64)):
        predictor = Predictor(bundle, threads, batch_size=batch_size)
        for one, other in zip(expected, predictor.predict(files), strict=True):
            assert (one.path, one.decision, one.diagnosis, one.prediction_set, one.reasons) == (
                other.path, other.decision, other.diagnosis, other.prediction_set, other.reasons,
            )  # fmt: skip
            assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-3)
        for lesion, same in zip(lesions, predictor.predict_lesions(files, about), strict=True):
            assert (lesion.lesion_id, lesion.decision, lesion.diagnosis) == (
                same.lesion_id, same.decision, same.diagnosis,
            )  # fmt: skip
            assert lesion.melanoma_risk == pytest.approx(same.melanoma_risk, abs=1e-3)
            assert lesion.ugly_duckling == pytest.approx(same.ugly_duckling, abs=1e-2)


def test_what_else_the_bundle_sees_stands_in_the_finding_and_refers(tmp_path: Path, files: list[Path]) -> None:
    class Novelty:
        def judge(self, embedding: np.ndarray, logits: np.ndarray) -> dict[str, object]:
            assert (embedding.shape, logits.shape) == ((6,), (4,))
            return {"score": 0.002, "outside": True, "method": "any"}

    class Modality:
        def judge(self, embedding: np.ndarray) -> dict[str, object]:
            return {"modality": "clinical", "probabilities": {}}

    decision = tiny.decision()
    for named in decision["operating_points"].values():
        named["screening"]["threshold"] = 1.0
    bundle = tiny.bundle(tmp_path / "a.melascope", decision=decision)
    predictor = Predictor(replace(bundle, novelty=Novelty(), modality=Modality()), quality=False)
    (finding,) = predictor.predict(files[:1])
    assert finding.decision == "refer"
    assert finding.novelty == {"score": 0.002, "outside": True, "method": "any"}
    assert finding.modality == "clinical"
    assert "0.2 % of those look as unusual" in finding.reasons[0]
    assert "a clinical one" in finding.reasons[1]


def drawn_lesions(folder: Path, count: int, height: int = 180, width: int = 240) -> list[Path]:
    folder.mkdir()
    files = [folder / f"ISIC_{i:07d}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        Image.fromarray(synthetic.lesion(i, tiny.CLASSES[i % 4], (height, width))).save(file, quality=95)
    return files


def test_a_finding_says_how_good_the_photograph_is(bundle: Bundle, tmp_path: Path) -> None:
    good, *_, poor = drawn_lesions(tmp_path / "drawn", 3)
    Image.open(poor).filter(ImageFilter.GaussianBlur(5)).save(poor)
    predictor = Predictor(bundle, 1)
    first, second = predictor.predict([good, poor])
    assert first.quality == assess(decode(good.read_bytes())).to_dict()
    assert second.quality is not None
    assert second.quality["problems"][0]["kind"] == "blur"
    assert second.quality["score"] < 0.5
    assert any("focus again" in reason for reason in second.reasons)
    assert json.loads(second.to_json())["quality"] == second.quality
    assert predictor.predict_one(poor.read_bytes(), "a.jpg").quality == second.quality
    assert predictor.predict_array(decode(poor.read_bytes())).quality == second.quality


def test_quality_costs_nothing_where_nobody_asks(
    bundle: Bundle, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "assess", never)
    blind = Predictor(bundle, 1, quality=False)
    assert all(raw.quality is None for _, raw in Predictor(bundle, 1).stream(files[:3]))
    assert [finding.quality for finding in blind.predict(files[:3])] == [None] * 3
    assert blind.predict_one(files[0].read_bytes()).quality is None
    assert blind.predict_array(tiny.photograph(0)).quality is None


def test_quality_changes_no_number_of_the_network(bundle: Bundle, tmp_path: Path) -> None:
    files = drawn_lesions(tmp_path / "drawn", 3, 900, 1200)
    files.append(tmp_path / "bad.jpg")
    files[-1].write_bytes(b"\xff\xd8\xff broken")
    plain = Predictor(bundle, 1, batch_size=3).stream(files)
    judged = Predictor(bundle, 1, batch_size=3).stream(files, quality=True)
    for file, (_, one), (_, other) in zip(files, plain, judged, strict=True):
        if one.logits is None:
            assert (other.logits, other.quality) == (None, None)
        else:
            assert one.logits.tobytes() == other.logits.tobytes()
            # The network's 32 pixels need an eighth of the file's; quality is of more, and knows the file's size.
            reduction = decode(file.read_bytes(), (150, 150))
            assert reduction.shape == (225, 300, 3)
            assert other.quality == assess(reduction, (900, 1200)).to_dict()


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory, predictor: Predictor, files: list[Path]) -> Bundle:
    raws = [raw for _, raw in predictor.stream(files)]
    data = make(
        np.stack([raw.embedding for raw in raws]),
        [file.stem for file in files],
        [f"L{i // 2}" for i in range(len(files))],
        [tiny.CLASSES[i // 2 % 4] for i in range(len(files))],
        ["drawn"] * len(files),
        sha256=[raw.sha256 for raw in raws],
    )
    return tiny.bundle(tmp_path_factory.mktemp("knowing") / "a.melascope", arrays={"neighbours.npz": data})


def test_a_finding_names_its_neighbours(knowing: Bundle, files: list[Path], tmp_path: Path) -> None:
    (finding,) = Predictor(knowing, 1).predict(files[:1])
    assert finding.neighbours is not None
    assert len(finding.neighbours) == 5
    # Neither itself nor the other photograph of its lesion.
    assert not {"ISIC_0000000", "ISIC_0000001"} & {one["image_id"] for one in finding.neighbours}
    distances = [one["distance"] for one in finding.neighbours]
    assert distances == sorted(distances)
    shown = json.loads(finding.to_json())["neighbours"]
    assert set(shown[0]) == {"image_id", "diagnosis", "distance", "source", "licence"}
    assert (shown[0]["source"], shown[0]["licence"]) == ("drawn", None)
    renamed = tmp_path / "other.jpg"
    renamed.write_bytes(files[0].read_bytes())
    (again,) = Predictor(knowing, 1).predict([renamed])
    assert again.neighbours == finding.neighbours
    nameless = Predictor(knowing, 1).predict_array(decode(files[0].read_bytes()))
    assert nameless.neighbours is not None
    assert {"ISIC_0000000", "ISIC_0000001"} & {one["image_id"] for one in nameless.neighbours}


def test_neighbours_where_they_are_wanted_and_known(knowing: Bundle, bundle: Bundle, files: list[Path]) -> None:
    for asked, expected in ((2, 2), (1000, 34)):
        (finding,) = Predictor(knowing, 1, neighbours=asked).predict(files[:1])
        assert finding.neighbours is not None
        assert len(finding.neighbours) == expected
    (finding,) = Predictor(knowing, 1, neighbours=0).predict(files[:1])
    assert finding.neighbours is None
    (finding,) = Predictor(bundle, 1).predict(files[:1])
    assert finding.neighbours is None
    assert json.loads(finding.to_json())["neighbours"] is None


def test_a_row_has_quality_and_neighbours(knowing: Bundle, files: list[Path]) -> None:
    frame = predict(files[:2], bundle=knowing, threads=1, neighbours=2)
    assert frame["quality"].dtype == float
    assert "few_pixels" in frame["quality_problems"].iloc[0].split()
    assert len(frame["neighbours"].iloc[0].split()) == len(frame["neighbour_diagnoses"].iloc[0].split()) == 2
    bare = predict(files[:1], bundle=knowing, threads=1, quality=False, neighbours=0)
    looks = ["quality", "quality_problems", "neighbours", "neighbour_diagnoses"]
    assert bare[looks].isna().all(axis=None)
