from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import tiny_bundle as tiny

from melascope.bundle import Predictor, melanoma_map, overlay, write_overlays
from melascope.bundle.heatmap import FULL_COLOUR, is_empty, is_flat, legend
from melascope.images import Geometry


def spot(row: int, column: int, side: int = 8) -> np.ndarray:
    heat = np.zeros((side, side), np.float32)
    heat[row, column] = 1.0
    return heat


def middle_of_change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero((before != after).any(axis=2))
    return float(rows.mean()), float(columns.mean())


def test_the_map_is_melanoma_against_the_mean_of_all_on_a_fixed_scale() -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0] = [[2.0, 1.0], [-1.0, 0.5]]
    maps[1] = [[1.0, 1.0], [1.0, 1.0]]
    p = np.array([0.5, 0.5, 0.0])
    # Two thirds of melanoma's own map, from its coldest place on; at even odds it is shown by half.
    expected = np.array([[2.0, 4 / 3], [0.0, 1.0]]) / FULL_COLOUR / 2
    np.testing.assert_allclose(melanoma_map(maps, p, 0), expected, atol=1e-6)
    np.testing.assert_allclose(melanoma_map(maps, p, 0, temperature=2.0), expected / 2, atol=1e-6)
    # What every class has in common says nothing about melanoma, nor does what it has everywhere.
    np.testing.assert_allclose(melanoma_map(maps + 7 * maps[0], p, 0), expected, atol=1e-6)
    np.testing.assert_allclose(melanoma_map(maps - np.array([9.0, 0, 0])[:, None, None], p, 0), expected, atol=1e-6)
    assert melanoma_map(20 * maps, p, 0).max() == pytest.approx(0.5)
    assert np.isfinite(melanoma_map(maps, np.array([1.0, 0.0, 0.0]), 0)).all()


def test_the_brightness_follows_the_risk_and_what_alerts_is_seen() -> None:
    maps = 3 * np.random.default_rng(0).normal(size=(3, 4, 5))

    def brightest(risk: float) -> float:
        p = np.array([risk, 0.9 * (1 - risk), 0.1 * (1 - risk)])
        return float(melanoma_map(maps, p, 0, threshold=0.05).max())

    assert brightest(0.05) == pytest.approx(0.5)
    assert 0.5 < brightest(0.06) < brightest(0.3) < brightest(1.0) <= 1.0
    assert 0.08 < brightest(0.01) < 0.5
    far = np.array([0.003, 0.9, 0.097])
    assert is_empty(melanoma_map(maps, far, 0, threshold=0.05))
    assert is_flat(melanoma_map(maps * 1e-3, far, 0))


def test_without_heat_the_photograph_is_untouched() -> None:
    photograph = tiny.photograph(0)
    result = overlay(photograph, np.zeros((8, 8), np.float32))
    np.testing.assert_array_equal(result, photograph)
    assert result is not photograph


def test_heat_lands_where_it_belongs() -> None:
    photograph = np.full((80, 160, 3), 200, np.uint8)
    row, column = middle_of_change(photograph, overlay(photograph, spot(2, 6)))
    assert row == pytest.approx(25, abs=2)
    assert column == pytest.approx(130, abs=3)


def test_heat_lands_where_it_belongs_behind_every_geometry() -> None:
    photograph = np.full((80, 160, 3), 200, np.uint8)
    # The network saw the middle square: its columns are 40 to 120.
    row, column = middle_of_change(photograph, overlay(photograph, spot(2, 6), Geometry(64, 64, "crop")))
    assert (row, column) == (pytest.approx(25, abs=2), pytest.approx(105, abs=2))
    # The network saw all of it between bars of a quarter above and below.
    row, column = middle_of_change(photograph, overlay(photograph, spot(2, 6), Geometry(64, 64, "pad")))
    assert (row, column) == (pytest.approx(10, abs=3), pytest.approx(130, abs=3))
    in_the_bar = overlay(photograph, spot(0, 4), Geometry(64, 64, "pad"))
    np.testing.assert_array_equal(in_the_bar, photograph)


def test_a_flat_map_has_no_lines_of_equal_heat() -> None:
    grey = np.full((40, 60, 3), 120, np.uint8)
    jitter = np.random.default_rng(0).normal(0.5, 1e-7, (8, 8)).astype(np.float32)
    for heat in (np.full((8, 8), 0.25, np.float32), jitter):
        assert is_flat(heat)
        drawn = overlay(grey, heat)
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1  # one even veil
    assert is_flat(np.zeros((4, 4), np.float32))
    assert not is_flat(spot(2, 6))
    faint = 0.07 * spot(2, 6)
    assert is_empty(faint)
    np.testing.assert_array_equal(overlay(grey, faint), grey)
    assert not is_empty(spot(2, 6))


def test_what_the_network_did_not_see_stays_untouched() -> None:
    photograph = tiny.photograph(1, 80, 160)
    result = overlay(photograph, np.ones((8, 8), np.float32), Geometry(64, 64, "crop"))
    np.testing.assert_array_equal(result[:, :40], photograph[:, :40])
    np.testing.assert_array_equal(result[:, 120:], photograph[:, 120:])
    assert (result[:, 40:120] != photograph[:, 40:120]).any(axis=2).all()


def test_more_heat_covers_more_of_the_photograph() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    light = [int(overlay(black, np.full((4, 4), heat, np.float32)).sum()) for heat in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert light == sorted(light)
    assert len(set(light)) == 6


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 2)])
def test_tiny_photographs(shape: tuple[int, int]) -> None:
    photograph = np.full((*shape, 3), 90, np.uint8)
    for geometry in (None, Geometry(32, 32, "crop"), Geometry(32, 32, "pad"), Geometry(32, 32, "squash")):
        assert overlay(photograph, np.ones((1, 1), np.float32), geometry).shape == photograph.shape


def test_the_colour_table_rises_evenly_in_lightness() -> None:
    colours = legend(1, 256)[0] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    steps = np.diff(lightness[::16])
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


def test_overlays_get_names_of_their_own_and_never_replace_a_photograph(tmp_path: Path) -> None:
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope"))
    first, second = tmp_path / "one", tmp_path / "two"
    files = [*tiny.folder(first, 2), *tiny.folder(second, 1)]
    upper = second / "isic_0000001.JPG"
    upper.write_bytes(files[1].read_bytes())
    source = first / "ISIC_0000000.heatmap.jpg"
    source.write_bytes(files[0].read_bytes())
    before = {file: file.read_bytes() for file in [*files, upper, source]}
    findings = list(predictor.predict([*files, upper, source], heatmaps=True))
    written = write_overlays(findings, predictor.bundle.geometry, first)
    assert [path.name for path in written] == [
        "ISIC_0000000-2.heatmap.jpg",
        "ISIC_0000001.heatmap.jpg",
        "ISIC_0000000-3.heatmap.jpg",
        "isic_0000001-2.heatmap.jpg",
        "ISIC_0000000.heatmap.heatmap.jpg",
    ]
    assert len({path.name.casefold() for path in written}) == 5
    for path in written:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.size) == ("JPEG", (64, 48))
    assert not list(first.glob(".*"))
    for file, content in before.items():
        assert file.read_bytes() == content


def test_refused_photographs_have_no_overlay(tmp_path: Path) -> None:
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope"))
    files = tiny.folder(tmp_path / "photographs", 2)
    files[0].write_bytes(b"x")
    findings = list(predictor.predict(files, heatmaps=True))
    files[1].unlink()
    assert write_overlays(findings, predictor.bundle.geometry, tmp_path / "maps") == []


def test_large_photographs_are_drawn_smaller(tmp_path: Path) -> None:
    predictor = Predictor(tiny.bundle(tmp_path / "a.melascope"))
    buffer = io.BytesIO()
    Image.fromarray(tiny.photograph(0, 1500, 3000)).save(buffer, "JPEG")
    (tmp_path / "large.jpg").write_bytes(buffer.getvalue())
    (written,) = write_overlays(
        predictor.predict([tmp_path / "large.jpg"], heatmaps=True), predictor.bundle.geometry, tmp_path / "maps"
    )
    with Image.open(written) as image:
        assert image.size == (1600, 800)
