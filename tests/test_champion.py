"""The shipped model: whole, small, found by itself, and told of in the same numbers everywhere."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from models.champion import beside, experiments, frozen_shuffles, ideas, judging, learner, make, page, reverse, shuffles
from PIL import Image

import melascope
from melascope.bundle import Bundle, Predictor, default_bundle, load_bundle
from melascope.cli.main import _run
from melascope.evaluation.baselines import TOLD
from melascope.finding import Finding
from melascope.images import synthetic
from melascope.statistics import auc

HOME = make.PACKAGE / "src" / "melascope_champion"
RISK = 0.04
"""By how much the melanoma risk of a copy 180 pixels wide may differ from the photograph's: docs/champion.md."""
ANOTHER_DECISION = {"ISIC_0005187"}
"""Originals that alert while the copy does not, as docs/champion.md says: risks on either side of the threshold."""


@pytest.fixture(scope="module")
def champion() -> Bundle:
    return load_bundle(HOME / "champion.melascope")


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn lesions of 600 x 450 pixels, more than the largest batch."""
    folder = tmp_path_factory.mktemp("lesions")
    files = []
    for number, code in enumerate(["MEL", "NV", "BCC", "NV", "MEL", "BKL", "NV"] * 10):
        pixels = synthetic.lesion(number, code, (450, 600))
        files.append(folder / f"lesion_{number:02d}.jpg")
        Image.fromarray(pixels).save(files[-1], quality=92)
    return files


def test_the_file_is_what_its_checksums_say_and_small() -> None:
    for line in (make.PACKAGE / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        assert hashlib.sha256((make.PACKAGE / name).read_bytes()).hexdigest() == digest, name
    assert (HOME / "champion.melascope").stat().st_size <= make.LARGEST


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[dict[str, Any]]:
    """What a command says, a JSON object for each line."""
    assert _run(list(map(str, words))) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_it_is_installed_and_the_default(
    lesions: list[Path], champion: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert default_bundle().resolve() == (HOME / "champion.melascope").resolve()
    (row,) = told(capsys, "predict", lesions[0], "--format", "jsonl")
    assert row["model"]["sha256"] == champion.identity


def test_card_licence_and_pages_tell_the_numbers_of_the_file(champion: Bundle) -> None:
    assert champion.card == (HOME / "card.md").read_text(encoding="utf-8")
    assert "CC BY-NC" in champion.licences["LICENSE"]
    assert "Not a medical device" in str(champion.card)
    tried = json.loads(page.IDEAS.read_text(encoding="utf-8"))
    looks = json.loads(page.LOOKS.read_text(encoding="utf-8"))
    leaks = json.loads(page.SHUFFLES.read_text(encoding="utf-8"))
    cheap = json.loads(page.FROZEN.read_text(encoding="utf-8"))
    for name, written in page.blocks(champion, tried, looks, leaks, cheap).items():
        text = page.PAGES[name].read_text(encoding="utf-8")
        assert page.filled(text, written) == text, f"run python -m models.champion.page: {page.PAGES[name].name} is old"
    assert page.CARD.read_text(encoding="utf-8").endswith(str(champion.card)), "run python -m models.champion.page"
    auc = champion.evaluation["parts"]["test"]["groups"]["melanoma"]["auc"]["value"]
    assert f"(AUC): {auc:.2f} " in str(champion.card)


def test_what_the_card_tells_of_maps_and_damage_stands_in_the_docs() -> None:
    text = {
        name: (page.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("champion", "quality", "novelty")
    }
    for name, row in beside.MAPS.items():
        assert f"| {name} | {' | '.join(row.values())} |" in text["champion"]
    told = "\n".join(beside.ROBUSTNESS)
    for damage, strength, alert, words in (
        ("far away", "1 % of the picture", ".93 → .00", "1 % of the picture {}"),
        ("hair", "40 hairs", ".92 → .15", "40 hairs {}"),
        ("flat", "25 % of contrast kept", ".92 → .24", "a quarter of the contrast {}"),
        ("blur", "3 % of the short side, sigma", ".92 → .25", "blur of 3 % of the short side {}"),
        ("far away", "3 % of the picture", ".93 → .34", "3 % of the picture {}"),
        ("motion", "9 % of the short side", ".92 → .44", "motion of 9 % of the short side {}"),
        ("cut", "50 % of the lesion", ".91 → .70", "half a lesion cut off {}"),
    ):
        (line,) = [
            line for line in text["quality"].splitlines() if f"| {damage} | {strength} |" in line and "→" in line
        ]
        assert alert in line
        # Of melanomas that alert: the table's last column but one.
        interval = line.split(" | ")[-2].split("→ ")[1].replace("[", "(").replace(", ", " to ").replace("]", ")")
        assert words.format(interval) in told
    for words in (
        "| photographs | .93 (",
        "| documents | 1.00 (",
        "| clinical (simulated) | .66 (",
        "the mean over eight is .84",
    ):
        assert words in text["novelty"]


def test_what_is_told_of_shuffled_labels_is_of_the_shipped_run(champion: Bundle) -> None:
    leaks = json.loads(page.SHUFFLES.read_text(encoding="utf-8"))
    assert len(leaks["shuffles"]) >= 3
    assert {key: leaks[key] for key in ("melanoma_auc", "above_peer")} == shuffles.summary(leaks["shuffles"])
    # The first one is the shipped run's own baseline.
    own = champion.evaluation["baselines"]["shuffled_labels"]["melanoma_auc"]["value"]
    assert leaks["shuffles"][0]["melanoma_auc"]["value"] == pytest.approx(own)
    for one in leaks["shuffles"]:
        assert 0.7 < one["overlap"] < 1.3  # the labels were shuffled: by chance a tenth to either side
        assert one["explained"]["low"] <= TOLD


def test_shuffles_together_are_judged_by_students_t() -> None:
    # Two values: t = 12.706 at one degree of freedom, deviation .1 * sqrt(2), so the half width is 1.2706.
    found = shuffles.together([0.4, 0.6])
    assert (found["mean"], found["deviation"]) == pytest.approx((0.5, 0.1 * 2**0.5))
    assert found["high"] - found["mean"] == pytest.approx(1.2706, abs=1e-3)
    assert shuffles.together([0.4])["low"] is None
    networks = [{"melanoma_auc": {"value": value}, "peer": 0.45} for value in (0.4, 0.6)]
    assert shuffles.summary(networks)["above_peer"]["mean"] == pytest.approx(0.05)


def test_a_linear_head_learns_what_its_labels_say_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 600, p=[0.2, 0.7, 0.1])
    x = rng.normal(size=(600, 5)).astype(np.float32)
    x[:, 0] += 3.0 * (labels == 0)

    def found(taught: np.ndarray) -> float:
        weights, biases = frozen_shuffles.learnt(x, taught, 3, 0)
        return float(auc((x @ weights + biases)[:, 0], labels == 0))

    assert found(labels) > 0.95
    shuffled = [found(rng.permutation(labels)) for _ in range(8)]
    assert frozen_shuffles.over(np.array(shuffled))["low"] < 0.75


@pytest.mark.parametrize("name", list(ideas.IDEAS))
def test_every_idea_is_a_recipe(name: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.npz"
    np.savez(weights, mobilenetv20_features_conv0_weight=np.zeros(1))  # a recipe asks for the name alone
    made = experiments.resolved(ideas.IDEAS[name], weights, 8, (96, 128))
    begins = ideas.IDEAS[name].begins
    assert begins is None or begins in ideas.IDEAS
    assert made.network.views == 1
    assert made.schedule.epochs == ideas.IDEAS[name].changes.get("schedule", {}).get("epochs", 8)


def test_decisions_are_fitted_to_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.choice(8, 3000, p=[0.15, 0.6, 0.05, 0.05, 0.05, 0.04, 0.03, 0.03]), np.arange(8)])
    logits = rng.normal(size=(len(labels), 8)) + 3.0 * np.eye(8)[labels]
    lesions, folds = pd.Series(np.arange(len(labels)).astype(str)), pd.Series(np.arange(len(labels)) % 3)
    codes = pd.Series(np.array(judging.CLASSES)[labels])
    found = judging.decided(logits, codes, lesions, folds)
    assert found["alerted"][labels == 0].mean() == pytest.approx(0.95, abs=0.03)
    assert found["alerted"][labels != 0].mean() < 0.3
    # A fold's own labels have no say in it.
    held = (folds == 0).to_numpy()
    other = codes.mask(held, "NV")
    again = judging.decided(logits, other, lesions, folds)
    assert (again["decided"][held] == found["decided"][held]).all()
    assert (again["alerted"][held] == found["alerted"][held]).all()


def test_lesions_are_decided_on_the_mean_of_their_photographs() -> None:
    rng = np.random.default_rng(1)
    of_lesion = rng.choice(8, 1500, p=[0.2, 0.5, 0.05, 0.05, 0.08, 0.04, 0.04, 0.04])
    labels = np.repeat(of_lesion, 3)
    logits = rng.normal(size=(len(labels), 8)) * 1.5 + 2.0 * np.eye(8)[labels]
    names = pd.Series(np.repeat(np.arange(len(of_lesion)), 3).astype(str))
    folds, codes = names.astype(int) % 3, pd.Series(np.array(judging.CLASSES)[labels])
    single = judging.decided(logits, codes, names, folds)
    whole = judging.decided(logits, codes, names, folds, lesions=True)
    assert len(single) == len(labels)
    assert len(whole) == len(of_lesion)
    melanoma = whole["truth"] == judging.EXAM.index("MEL")
    assert melanoma.sum() == (of_lesion == 0).sum()
    assert whole["alerted"][melanoma].mean() == pytest.approx(0.95, abs=0.03)
    # Three photographs tell more than one.
    found = judging.of_decided("lesion", whole.assign(weight=1.0), np.arange(len(whole)), 50)
    assert found["lesion_auc"]["value"] > float(auc(single["risk"].to_numpy(), labels == 0)) + 0.02
    assert found["lesion_auc"]["n"] == len(of_lesion)
    assert (whole["photographs"] == 3).all()


def test_each_lesion_counts_once_however_many_photographs_it_has() -> None:
    # One melanoma that was found, photographed once, and one that was missed, three times; likewise of the others.
    few = pd.DataFrame({"truth": [0, 1], "decided": [0, 1], "risk": [0.9, 0.1], "alerted": [True, False]})
    many = pd.DataFrame({"truth": [0, 1], "decided": [1, 0], "risk": [0.2, 0.8], "alerted": [False, True]})
    many = pd.concat([many.assign(weight=1 / 3)] * 3)
    few, many = (frame.assign(truth=frame["truth"].map({0: judging.EXAM.index("MEL"), 1: 1})) for frame in (few, many))
    found = judging.of_decided(
        "once", pd.concat([few.assign(weight=1.0), many]), np.array([0, 1, 2, 3, 2, 3, 2, 3]), 20
    )
    assert found["once_sensitivity"]["value"] == pytest.approx(0.5)
    assert found["once_specificity"]["value"] == pytest.approx(0.5)
    assert found["once_sensitivity"]["n"] == 4


def test_a_teacher_never_learnt_from_what_it_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    groups, taken = pd.Series([f"lesion {i // 2}" for i in range(n)]), np.arange(n) < 36
    labels = np.arange(n, dtype=np.int64) % 8
    learnt: dict[str, set[str]] = {}

    def learn(self: learner.Learner, rows: np.ndarray, out: Path, targets: Any = None) -> float:
        learnt[out.name] = set(groups[rows])
        assert not rows[~taken].any()
        return 1.0

    def logits(self: learner.Learner, out: Path, rows: np.ndarray) -> list[np.ndarray]:
        assert not learnt[out.name] & set(groups[rows])
        one = np.eye(8, dtype=np.float32)[(labels[rows] + 1) % 8]
        return [20 * one, 60 * one, 40 * one, 40 * one]

    monkeypatch.setattr(learner.Learner, "learn", learn)
    monkeypatch.setattr(learner.Learner, "logits", logits)
    images = np.zeros((n, 4, 4, 3), np.uint8)
    made = learner.Learner(None, images, labels, lambda *_: None)  # type: ignore[arg-type]
    targets, seconds = made.taught(taken, groups, 0.5, tmp_path)
    assert seconds == len(learnt) == learner.PARTS
    np.testing.assert_allclose(targets[taken].sum(axis=1), 1.0)
    rows = np.flatnonzero(taken)
    np.testing.assert_allclose(targets[rows, labels[rows]], 0.5, atol=1e-6)
    np.testing.assert_allclose(targets[rows, (labels[rows] + 1) % 8], 0.5, atol=1e-6)
    # Asked again, it says the same to the last bit, whatever the networks answer by then.
    monkeypatch.setattr(learner.Learner, "logits", lambda self, out, rows: [np.zeros((len(rows), 8), np.float32)])
    np.testing.assert_array_equal(made.taught(taken, groups, 0.5, tmp_path)[0], targets)


def test_under_shades_of_grey_the_light_is_white() -> None:
    image = np.full((1, 8, 8, 3), (200, 100, 50), np.uint8)
    image[0, 0, 0] = 0
    (pixel,) = np.unique(ideas.shades_of_grey(image)[0, 1:].reshape(-1, 3), axis=0)
    assert pixel.max() - pixel.min() <= 1


def test_nothing_closed_was_learnt_from(champion: Bundle) -> None:
    assert champion.evaluation["trained_on"]["images"] == 0
    assert champion.evaluation["protocol"] == "clean"
    assert champion.evaluation["audited"]


def test_every_question_is_answered(champion: Bundle, lesions: list[Path]) -> None:
    (found,) = Predictor(champion, threads=1).predict(lesions[:1], heatmaps=True)
    for key in ("novelty", "quality", "modality", "neighbours", "prediction_set", "operating_point", "heatmap"):
        assert getattr(found, key) is not None, key
    assert set(champion.decision["operating_points"]["melanoma"]) == {"screening", "balanced", "rule-in"}


def same(a: list[Finding], b: list[Finding]) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.decision == other.decision
        assert one.diagnosis == other.diagnosis
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"batch_size": 64}, {"threads": 2}], ids=str)
def test_findings_do_not_depend_on_batches_and_threads(
    champion: Bundle, lesions: list[Path], options: dict[str, int]
) -> None:
    one = list(Predictor(champion, threads=1, batch_size=1).predict(lesions))
    same(one, list(Predictor(champion, **{"threads": 1, **options}).predict(lesions)))


def test_findings_are_the_same_from_the_command_line_and_from_python(
    champion: Bundle, lesions: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = told(capsys, "predict", *lesions, "--format", "jsonl")
    frame = melascope.predict(lesions)
    for row, found, (_, line) in zip(rows, Predictor(champion).predict(lesions), frame.iterrows(), strict=True):
        assert row["decision"] == found.decision == line["decision"]
        assert row["melanoma_risk"] == pytest.approx(found.melanoma_risk, abs=1e-3)
        assert line["melanoma_risk"] == pytest.approx(found.melanoma_risk, abs=1e-3)


def small(file: Path) -> bytes:
    """A copy that is 180 pixels wide."""
    with Image.open(file) as image:
        picture = image.convert("RGB")
    copy = picture.resize((180, round(180 * picture.height / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def test_a_mirror_image_gets_the_same_finding(champion: Bundle, lesions: list[Path]) -> None:
    predictor = Predictor(champion, threads=1)
    for file in lesions[:4]:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        here, there = predictor.predict_array(pixels), predictor.predict_array(np.ascontiguousarray(pixels[:, ::-1]))
        assert here.probabilities == pytest.approx(there.probabilities, abs=2e-2)


@pytest.mark.real_data
def test_an_original_and_its_small_copy_agree(champion: Bundle, shared_data: Path) -> None:
    predictor = Predictor(champion, threads=1)
    files = sorted((shared_data / "originals").rglob("*.jpg"))
    assert len(files) == 12
    another = set()
    threshold = champion.decision["operating_points"]["melanoma"]["screening"]["threshold"]
    for file in files:
        (original,) = predictor.predict([file])
        copy = predictor.predict_one(small(file), file.name)
        assert original.melanoma_risk == pytest.approx(copy.melanoma_risk, abs=RISK), file.name
        assert original.diagnosis == copy.diagnosis, file.name
        if original.decision != copy.decision:
            assert abs(original.melanoma_risk - threshold) < RISK, file.name
            another.add(file.stem)
    assert another <= ANOTHER_DECISION


def test_the_other_way_round_nothing_stands_on_both_sides_and_differences_are_paired() -> None:
    frame = pd.DataFrame({
        "source": [reverse.HAM, reverse.HAM, "ISIC 2017", "ISIC 2017"], "group": ["a", "b", "b", "c"],
    })  # fmt: skip
    judging_rows, learnt = reverse.sides(frame)
    assert judging_rows.tolist() == [True, True, False, False]
    assert learnt.tolist() == [False, False, False, True]
    rng = np.random.default_rng(0)
    melanoma = np.arange(400) % 4 == 0
    good, poor = melanoma + rng.normal(size=400), rng.normal(size=400)
    found = reverse.compared({"first": poor, "second": good}, melanoma, pd.Series(np.arange(400).astype(str)))
    less = found["second less first"]
    assert less["value"] == pytest.approx(found["second"]["value"] - found["first"]["value"])
    assert 0 < less["low"] < less["value"] < less["high"]


def test_a_candidate_is_made_without_a_look_at_what_is_closed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(make, "melascope", lambda *words: asked.append([str(word) for word in words]))
    recipe = SimpleNamespace(replace=lambda **_: SimpleNamespace(dumps=lambda: ""))
    monkeypatch.setattr(make.recipe, "load", lambda name: recipe)
    monkeypatch.setattr(make, "gathered", lambda data, out: tmp_path / "clean.parquet")
    shipped = []
    monkeypatch.setattr(make, "ship", lambda run: shipped.append(run))
    make.main(["DATA", "--weights", "w.npz", "--out", str(tmp_path / "OUT"), "--keep-closed", "--epochs", "3"])
    assert [words[:2] for words in asked[-2:]] == [
        ["train", str(tmp_path / "clean.parquet")],
        ["export", str(tmp_path / "OUT" / "run")],
    ]
    assert asked[-2][-2:] == ["--epochs", "3"]
    assert not any(words[0] in ("run", "evaluate") for words in asked)
    assert not shipped
