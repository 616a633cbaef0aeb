from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from melascope.images import decode, lesion
from melascope.images.lesion_place import locate
from melascope.images.quality import KINDS, LIMITS, MEASURES, TOO_POOR, Limit, assess, judge, measure
from melascope.images.regions import (
    components,
    enlarged,
    framed,
    grown,
    otsu,
    reduced,
    slide,
    smooth,
    window_extremes,
    window_sums,
    windowed_means,
    without_thin_dark,
)  # fmt: skip

SKIN, BROWN = (214, 170, 150), (110, 60, 45)
RIGHT = {
    "fine_detail": 0.9, "coarse_detail": 1.0, "smear": 0.5, "lightest": 180, "clipped": 0, "range": 0.5, "cut": 0,
    "visibility": 0.3, "lesion_share": 0.2, "hair": 0, "ink": 0, "ruler": 0, "pixels": 450, "black": 0, "text": 0,
}  # fmt: skip


def _photograph(
    width: int = 240, height: int = 180, radius: float = 0.3, centre: tuple[float, float] = (0.5, 0.5), seed: int = 0
) -> np.ndarray:
    """Draw a brown, grainy spot on grainy skin; the radius is a share of the height, the centre of both sides."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), SKIN)
    x, y, r = centre[0] * width, centre[1] * height, radius * height
    ImageDraw.Draw(picture).ellipse((x - r, y - r, x + r, y + r), fill=BROWN)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(height / 120)), np.float32)
    grain = rng.normal(0, 6, (height, width, 1))
    return np.clip(soft + grain, 0, 255).astype(np.uint8)


def _kinds(image: np.ndarray, **how: object) -> set[str]:
    return {problem.kind for problem in assess(image, **how).problems}


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma * min(image.shape[:2]))))


def test_nothing_is_wrong_with_a_good_photograph():
    found = assess(_photograph())
    assert (found.score, found.problems, found.too_poor) == (1.0, (), False)
    assert found.to_dict() == {"score": 1.0, "problems": []}


@pytest.mark.parametrize("size", [(133, 100), (200, 150), (600, 450), (1500, 1125)])
def test_blur_is_told_at_every_size_and_reduction_is_none(size):
    good = np.asarray(Image.fromarray(_photograph(1500, 1125)).resize(size, Image.Resampling.LANCZOS))
    # Grain that shows at any size, as skin has.
    grain = Image.fromarray(np.random.default_rng(1).integers(0, 40, (100, 133), dtype=np.uint8))
    texture = np.asarray(grain.resize(size, Image.Resampling.NEAREST))[..., None]
    good = np.clip(good.astype(int) + texture - 20, 0, 255).astype(np.uint8)
    assert "blur" not in _kinds(good)
    poor = assess(_blurred(good, 0.02))
    assert poor.problems[0].kind == "blur"
    assert poor.too_poor


def _moved(image: np.ndarray, degrees: float, length: int) -> np.ndarray:
    path = np.linspace(-0.5, 0.5, 2 * length + 1) * length
    turn = np.radians(degrees)
    shifts = [(round(along * np.sin(turn)), round(along * np.cos(turn))) for along in path]
    return np.mean([np.roll(image, shift, axis=(0, 1)) for shift in shifts], axis=0).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 110, 135, 160])
def test_motion_in_one_direction_is_blur(degrees):
    good = _photograph()
    moved = _moved(good, degrees, 16)  # 9 % of the short side
    found = assess(moved)
    assert found.problems[0].kind == "blur"
    assert found.too_poor
    assert measure(moved)["smear"] < measure(good)["smear"] / 1.2


def test_motion_is_told_beside_black_corners_too():
    moved = _moved(_photograph(), 30, 16)
    y, x = np.ogrid[:180, :240]
    moved[np.hypot(y - 90, x - 120) > 100] = 3
    assert "blur" in _kinds(moved)


def test_of_a_thumbnail_motion_cannot_be_told():
    assert np.isnan(measure(_photograph()[:30, :30])["smear"])


def test_light():
    image = _photograph()
    assert "dark" in _kinds((image * 0.2).astype(np.uint8))
    assert "overexposed" in _kinds(np.clip(image * 1.8, 0, 255).astype(np.uint8))
    flat = (170 + 0.1 * (image.astype(float) - 170)).astype(np.uint8)
    assert "low_contrast" in _kinds(flat)


@pytest.mark.parametrize("diagnosis", ["NV", "MEL"])
def test_the_darkest_skin_well_exposed_is_not_too_poor_for_being_dark(diagnosis):
    for seed in range(8):
        found = assess(lesion(seed, diagnosis, (150, 200), skin_tone=6))
        dark = [problem.severity for problem in found.problems if problem.kind == "dark"]
        assert max(dark, default=0) < 0.15
        assert not found.too_poor


def test_a_lesion_cut_off_by_the_edge():
    assert "cut_off" in _kinds(_photograph(centre=(0.02, 0.5)))
    assert "cut_off" not in _kinds(_photograph(centre=(0.3, 0.5)))


def test_a_lesion_too_small_or_not_there():
    assert _kinds(_photograph(480, 360, radius=0.06)) == {"small_lesion"}
    assert "no_lesion" in _kinds(_photograph(radius=0))


def test_of_a_lesion_that_hardly_shows_size_and_outline_are_not_told():
    found = judge({**RIGHT, "visibility": 0.001, "lesion_share": 0.001, "cut": 0.9})
    assert [problem.kind for problem in found.problems] == ["no_lesion"]


@pytest.mark.parametrize("slant", [0, 45, 75, 110, 180, 250, 400])
def test_hair_of_any_direction_but_not_a_lesion_s_outline(slant):
    assert "hair" not in _kinds(_photograph())
    picture = Image.fromarray(_photograph())
    draw = ImageDraw.Draw(picture)
    rng = np.random.default_rng(0)
    for start in rng.uniform(-slant, 240, 12 + slant // 30):
        draw.line((start, 0, start + slant, 180), fill=(30, 22, 18), width=2)
    found = _kinds(np.asarray(picture))
    assert "hair" in found
    assert "cut_off" not in found


def test_a_network_within_the_lesion_is_no_hair():
    picture = Image.fromarray(_photograph(radius=0.4))
    draw = ImageDraw.Draw(picture)
    for shift in range(-40, 41, 8):
        draw.line((120 + shift, 50, 120 + shift, 130), fill=(50, 25, 20), width=2)
        draw.line((80, 90 + shift, 160, 90 + shift), fill=(50, 25, 20), width=2)
    assert "hair" not in _kinds(np.asarray(picture))


def test_ink_is_blue_beside_the_lesion():
    image = _photograph()
    for colour in ((60, 40, 130), (40, 70, 170), (30, 120, 70)):
        picture = Image.fromarray(image)
        ImageDraw.Draw(picture).rectangle((5, 5, 40, 40), fill=colour)
        found = _kinds(np.asarray(picture))
        assert "ink" in found
        assert "no_lesion" not in found
    blue = Image.fromarray(image)
    ImageDraw.Draw(blue).ellipse((80, 50, 160, 130), fill=(60, 70, 120))
    assert "ink" not in _kinds(np.asarray(blue))


@pytest.mark.parametrize("turns", range(4))
def test_a_ruler_along_any_side(turns):
    picture = Image.fromarray(np.ascontiguousarray(np.rot90(_photograph(240, 240), turns)))
    draw = ImageDraw.Draw(picture)
    for number in range(16):
        draw.line((number * 15 + 4, 0, number * 15 + 4, 30 if number % 5 == 0 else 22), fill=(20, 20, 20), width=2)
    assert "ruler" in _kinds(np.ascontiguousarray(np.rot90(np.asarray(picture), -turns)))


def test_pixels_are_those_of_the_file():
    image = _photograph()
    assert _kinds(image, original_size=(60, 80)) == {"few_pixels"}
    assert "few_pixels" in _kinds(_photograph(80, 60))
    assert _kinds(image, original_size=(4000, 6000)) == set()


def test_a_black_frame_is_told_and_hides_nothing_else():
    image = _photograph()
    y, x = np.ogrid[:180, :240]
    image[np.hypot(y - 90, x - 120) > 80] = 3
    found = assess(image)
    assert [problem.kind for problem in found.problems] == ["black_frame"]


def test_writing_is_told():
    picture = Image.fromarray(_photograph(300, 225))
    ImageDraw.Draw(picture).text((8, 4), "A. N. OTHER 12.03.1961", fill="white", font_size=16)
    assert "text" in _kinds(np.asarray(picture))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 16), (100, 100), (64, 3000), (1200, 90)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_any_shape_and_plain_colour_gets_a_score(shape, level):
    found = assess(np.full((*shape, 3), level, np.uint8))
    assert 0 <= found.score < TOO_POOR
    assert found.to_dict()["problems"]


def test_other_arrays_are_refused():
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match="image"):
            assess(image)


def test_the_photograph_is_left_as_it_was():
    image = _photograph()
    before = image.copy()
    assess(image)
    assert (image == before).all()


def test_every_measure_has_a_limit_and_every_kind_a_sentence():
    assert tuple(measure(_photograph())) == MEASURES
    assert {limit.measure for limit in LIMITS} == set(MEASURES)
    assert {limit.kind for limit in LIMITS} == set(KINDS)
    assert all(0 < limit.weight <= 1 for limit in LIMITS)
    assert judge(RIGHT).score == 1


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.kind}-{limit.measure}")
def test_the_worse_a_measure_the_lower_the_score(limit):
    values = np.linspace(limit.noticed, limit.worst, 6)
    found = [judge({**RIGHT, limit.measure: float(value)}) for value in values]
    scores = [one.score for one in found]
    assert scores[0] == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(scores))
    assert scores[-1] == pytest.approx(1 - limit.weight * limit.most)
    assert found[-1].problems[0].kind == limit.kind
    sentence = found[-1].problems[0].sentence
    assert sentence.endswith(".")
    assert ": " in sentence


def test_a_measure_that_could_not_be_taken_is_no_problem():
    assert judge({**RIGHT, "fine_detail": float("nan")}).score == 1
    assert Limit("blur", "x", 1.0, 0.0, 1.0).severity(float("nan")) == 0


def test_the_costliest_problem_comes_first():
    found = judge({**RIGHT, "ruler": 1.0, "lightest": 20})
    assert [problem.kind for problem in found.problems] == ["dark", "ruler"]
    assert found.too_poor


def test_a_lesion_is_found_where_it_is():
    for centre in ((0.5, 0.5), (0.3, 0.6), (0.65, 0.35)):
        image = _photograph(centre=centre)
        y, x = np.ogrid[:180, :240]
        true = np.hypot(y - centre[1] * 180, x - centre[0] * 240) < 0.3 * 180
        found = locate(image).mask(180, 240)
        assert (found & true).sum() / (found | true).sum() > 0.85


def test_light_that_falls_off_is_no_lesion():
    slope = np.linspace(1, 0.6, 240)[None, :, None]
    image = (_photograph() * slope).astype(np.uint8)
    place = locate(image)
    assert place.cut == 0
    assert place.share == pytest.approx(np.pi * 0.09 * 0.75, rel=0.3)


def test_black_corners_are_neither_skin_nor_lesion():
    image = _photograph()
    y, x = np.ogrid[:180, :240]
    image[np.hypot(y - 90, x - 120) > 110] = 5
    place = locate(image)
    assert place.black[0, 0]
    assert not place.black[32, 42]
    assert not (place.black & place.lesion).any()
    assert place.cut == 0
    assert np.abs(place.skin - SKIN).max() < 12


def test_components_are_joined_across_rows():
    drawn = np.array(
        [
            [1, 0, 1, 0, 0],
            [1, 1, 1, 0, 1],
            [0, 0, 0, 0, 1],
            [1, 0, 0, 0, 1],
        ],
        bool,
    )
    labels = components(drawn)
    assert len({*labels[drawn].tolist()}) == 3
    assert labels[0, 0] == labels[0, 2] == labels[1, 1]
    assert labels[1, 4] == labels[3, 4] != labels[3, 0]
    assert (labels[~drawn] == 0).all()
    assert not components(np.zeros((3, 4), bool)).any()


def test_components_agree_with_flooding():
    from collections import deque

    drawn = np.random.default_rng(0).random((20, 30)) < 0.55
    labels = components(drawn)
    seen = np.zeros_like(drawn)
    for start in map(tuple, np.argwhere(drawn)):
        if seen[start]:
            continue
        members, queue = set(), deque([start])
        while queue:
            y, x = queue.popleft()
            if 0 <= y < 20 and 0 <= x < 30 and drawn[y, x] and (y, x) not in members:
                members.add((y, x))
                queue.extend([(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)])
        rows, columns = zip(*members, strict=True)
        assert len(set(labels[rows, columns])) == 1
        assert (labels == labels[start]).sum() == len(members)
        seen[rows, columns] = True


def test_small_operations():
    image = np.zeros((5, 6), np.uint8)
    image[2, 3] = 9
    assert slide(image, (0, 1), 1, np.maximum)[2].tolist() == [0, 0, 9, 9, 9, 0]
    assert slide(image, (1, 1), 1, np.maximum)[3, 4] == 9
    assert slide(image, (1, -1), 1, np.maximum)[3, 2] == 9
    assert np.argwhere(slide(image, (2, -1), 1, np.maximum)).tolist() == [[0, 4], [2, 3], [4, 2]]
    assert smooth(image.astype(float), 1)[1:4, 2:5] == pytest.approx(1)
    assert grown(image > 0, 1).sum() == 9
    assert (without_thin_dark(255 - image, 1) == 255).all()
    assert 1.25 < otsu(np.r_[np.full(50, 1.0), np.full(50, 5.0)] + np.linspace(0, 0.5, 100)) < 5.3
    assert reduced(np.zeros((300, 600, 3), np.uint8), 64).shape == (64, 128, 3)
    assert enlarged(np.eye(4, dtype=bool), 40, 40).shape == (40, 40)


@pytest.mark.real_data
def test_few_real_photographs_are_too_poor_and_spoilt_ones_are_found(shared_data):
    files = sorted((shared_data / "ham10000" / "images").glob("*.jpg"))[100:6000:100]
    images = [decode(path.read_bytes()) for path in files]
    # Of 59 photographs; the benchmark holds 5 % on hundreds.
    assert np.mean([assess(image).too_poor for image in images]) <= 0.1
    assert np.mean([bool(_kinds(_blurred(image, 0.02)) & {"blur"}) for image in images]) >= 0.9
    assert np.mean([bool(_kinds((image * 0.2).astype(np.uint8)) & {"dark"}) for image in images]) >= 0.9
    assert np.mean(["blur" in _kinds(image) for image in images]) <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_out_for_speed_changes_no_verdict(seed):
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(_photograph(300, 225, seed=seed))
    draw = ImageDraw.Draw(picture)
    for start in rng.uniform(0, 300, 3 * seed):
        draw.line((start, 0, start + rng.uniform(-90, 90), 225), fill=(30, 22, 18), width=2)
    if seed % 2:
        draw.text((8, 4), "A. N. OTHER 12.03.1961", fill="white", font_size=8 + 2 * seed)
    image = np.asarray(picture)
    assert assess(image) == judge(measure(image))


def test_windows_run_over_one_row_of_pixels():
    values = np.random.default_rng(0).normal(size=40)
    for count, step in itertools.product(range(1, 10), (1, 3)):
        starts = range(40 - (count - 1) * step)
        each = [values[start : start + (count - 1) * step + 1 : step] for start in starts]
        assert window_sums(values, step, count) == pytest.approx([part.sum() for part in each])
        assert (window_extremes(values, step, count, np.maximum) == [part.max() for part in each]).all()
    image = np.arange(30, dtype=float).reshape(5, 6)
    assert (framed(image, 2, 3) == np.pad(image, ((2, 2), (3, 3)), mode="edge")).all()
    assert windowed_means(image, 3) == pytest.approx(image[1:-1, 1:-1])


def test_the_page_tells_the_limits():
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)", page, re.MULTILINE)
    told = [(kind, name, *(float(value) for value in values)) for kind, name, *values in rows]
    assert told == [(limit.kind, limit.measure, limit.noticed, limit.worst, limit.weight) for limit in LIMITS]
