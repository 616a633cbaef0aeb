from __future__ import annotations

import math

import numpy as np
import pytest

from melascope.statistics import auc, novelty

CLASSES, WIDTH = 4, 24


def world(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings in a subspace of 8 of 24 numbers around four centres, their logits, and labels.

    `shift` moves them along a direction in which the known ones hardly vary.
    """
    fixed = np.random.default_rng(99)
    centres = fixed.normal(0, 3, (CLASSES, 8))
    frame = np.linalg.qr(fixed.normal(size=(WIDTH, WIDTH)))[0]
    head = fixed.normal(0, 0.5, (WIDTH, CLASSES))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    inside = centres[labels] + rng.normal(0, 1, (n, 8))
    x = inside @ frame[:8] + rng.normal(0, 0.1, (n, WIDTH)) + shift * frame[8] + 2.0
    return x.astype(np.float32), (x @ head).astype(np.float32), labels


def scored(method: str, *shifts: float) -> list[np.ndarray]:
    x, logits, labels = world(600, 1)
    fitted = novelty.fit(method, x, labels, logits)
    return [novelty.score(method, fitted, *world(400, 2 + i, shift)[:2]) for i, shift in enumerate(shifts)]


@pytest.mark.parametrize("method", ["mahalanobis", "neighbours", "vim"])
def test_what_lies_where_training_never_was_is_novel(method: str) -> None:
    known, strange = scored(method, 0.0, 4.0)
    assert auc(np.r_[known, strange], np.r_[np.zeros(400, bool), np.ones(400, bool)]) > 0.95


def test_relative_mahalanobis_finds_what_lies_between_the_classes() -> None:
    x, logits, labels = world(600, 1)
    fitted = novelty.fit("relative-mahalanobis", x, labels, logits)
    known = novelty.score("relative-mahalanobis", fitted, *world(300, 2)[:2])
    middle = np.repeat(x.mean(axis=0)[None], 50, axis=0) + np.random.default_rng(0).normal(0, 0.1, (50, WIDTH))
    strange = novelty.score("relative-mahalanobis", fitted, middle, np.zeros((50, CLASSES)))
    assert auc(np.r_[known, strange], np.r_[np.zeros(300, bool), np.ones(50, bool)]) > 0.9


def test_energy_and_softmax_are_their_definitions() -> None:
    z = np.array([[2.0, -1.0, 0.5], [800.0, 0.0, -800.0]])
    x = np.zeros((2, 5))
    energy = novelty.score("energy", {}, x, z)
    assert energy[0] == pytest.approx(-math.log(math.exp(2) + math.exp(-1) + math.exp(0.5)))
    assert energy[1] == pytest.approx(-800)
    assert novelty.score("softmax", {}, x, z)[1] == pytest.approx(-1)


def test_mahalanobis_is_the_distance_where_all_directions_are_kept() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 4000)
    x = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 3)) + labels[:, None] * 2.0
    fitted = novelty.fit("mahalanobis", x, labels)
    if fitted["basis"].shape[1] < 3:
        pytest.fail("a direction of one per cent was dropped; draw another seed")
    means = np.stack([x[labels == c].mean(axis=0) for c in (0, 1)])
    rest = x - means[labels]
    inverse = np.linalg.inv(rest.T @ rest / (len(x) - 2))
    asked = rng.normal(size=(50, 3)) * 3
    wanted = np.min([np.einsum("ni,ij,nj->n", asked - m, inverse, asked - m) for m in means], axis=0)
    # Directions are rounded to float16.
    np.testing.assert_allclose(novelty.score("mahalanobis", fitted, asked, asked), wanted, rtol=0.02, atol=0.02)


def test_the_distance_to_neighbours_is_exact_where_all_directions_are_kept() -> None:
    x = np.random.default_rng(0).normal(size=(60, 6))
    fitted = novelty.fit("neighbours", x)
    asked = np.random.default_rng(1).normal(size=(9, 6))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (asked, x))
    tenth = np.sort(np.linalg.norm(a[:, None] - b[None], axis=2), axis=1)[:, 9]
    np.testing.assert_allclose(novelty.score("neighbours", fitted, asked, asked), tenth, atol=0.01)


@pytest.mark.parametrize("method", novelty.METHODS)
def test_a_score_does_not_depend_on_which_others_are_asked_about(method: str) -> None:
    x, logits, labels = world(300, 1)
    fitted = novelty.fit(method, x, labels, logits)
    asked, said, _ = world(17, 5)
    whole = novelty.score(method, fitted, asked, said)
    one = [novelty.score(method, fitted, asked[i : i + 1], said[i : i + 1])[0] for i in range(17)]
    np.testing.assert_allclose(whole, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", novelty.METHODS)
def test_parameters_have_the_shapes_that_are_told_and_are_the_same_again(method: str) -> None:
    x, logits, labels = world(100, 1)
    fitted, again = (novelty.fit(method, x, labels, logits) for _ in range(2))
    wanted = novelty.shapes(method)
    assert {name: array.ndim for name, array in fitted.items()} == {name: len(s) for name, s in wanted.items()}
    for name, array in fitted.items():
        assert array.dtype in (np.float16, np.float32)
        np.testing.assert_array_equal(array, again[name])


def test_numbers_that_never_varied_make_no_infinite_score() -> None:
    x, logits, labels = world(200, 1)
    x[:, :5] = 0
    for method in novelty.METHODS:
        fitted = novelty.fit(method, x, labels, logits)
        assert np.isfinite(novelty.score(method, fitted, *world(20, 2)[:2])).all()


@pytest.mark.parametrize(("n", "share"), [(99, 0.01), (250, 0.02), (296, 0.01), (1000, 0.05)])
def test_the_threshold_lets_out_no_more_than_its_share(n: int, share: float) -> None:
    rng = np.random.default_rng(n)
    out = []
    for _ in range(400):
        known = rng.exponential(size=n)
        limit = novelty.threshold(known, share)
        fresh = rng.exponential(size=500)
        out.append((fresh > limit).mean())
        assert ((novelty.p_values(fresh, known) <= share + 1e-9) == (fresh > limit)).all()
    # Its share with the finite-sample correction: between share - 1/(n + 1) and share on average.
    noise = 4 * np.std(out) / math.sqrt(len(out))
    assert share - 1 / (n + 1) - noise <= np.mean(out) <= share + noise


def test_too_few_known_photographs_call_nothing_outside() -> None:
    assert novelty.threshold(np.arange(98.0)) == math.inf
    assert novelty.threshold(np.arange(99.0)) == 98.0
    # Photographs of one lesion count once.
    assert novelty.threshold(np.arange(198.0), groups=[*np.repeat(np.arange(98), 2).tolist(), 97, 97]) == math.inf


def test_p_values_count_the_photograph_itself() -> None:
    p = novelty.p_values(np.array([0.0, 2.0, 9.0]), np.array([3.0, 1.0, 2.0]))
    assert p.tolist() == [1.0, 0.75, 0.25]


def test_impossible_calls_are_told() -> None:
    x, logits, labels = world(50, 1)
    with pytest.raises(ValueError, match="unknown; use one of mahalanobis"):
        novelty.fit("odin", x)
    with pytest.raises(ValueError, match="unknown"):
        novelty.score("odin", {}, x, logits)
    with pytest.raises(ValueError, match="labels"):
        novelty.fit("mahalanobis", x)
    with pytest.raises(ValueError, match="logits"):
        novelty.fit("vim", x, labels)
    with pytest.raises(ValueError, match="too few"):
        novelty.fit("vim", x[:2], labels[:2], logits[:2])
    with pytest.raises(ValueError, match="finite"):
        novelty.fit("neighbours", np.where(np.arange(WIDTH) == 3, np.nan, x))
    with pytest.raises(ValueError, match="do not fit"):
        novelty.score("vim", novelty.fit("vim", x, labels, logits), x[:, :7], logits)
    with pytest.raises(ValueError, match="impossible"):
        novelty.threshold(np.arange(9.0), share=1)
