"""`morphology`: measures of drawn cells of known shape, and the comparison of two folders."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from engine.errors import RequestError
from evaluate.images import open_folder
from evaluate.studies.morphology import TITLES, compare, measure, measure_all
from evaluate.studies.segmentation import segment
from evaluate.studies.texture import TITLES as TEXTURES
from tests.evaluate.studies.drawn_cells import BLANK, CYTOPLASM, NUCLEUS, blood_cell
from trainer.pictures.phantom import draw


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def save(pictures):
        path: Path = tmp_path_factory.mktemp("pictures")
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(path / f"{index:03}.png")
        return open_folder(path)

    return save


@pytest.fixture(scope="module")
def round_cells():
    """24 cells whose nuclei vary a little in size and elongation."""
    rng = np.random.default_rng(3)
    return [blood_cell(64, (radius * 1.2, radius)) for radius in rng.uniform(0.11, 0.14, 24)]


@pytest.mark.parametrize(("long", "short"), [(0.12, 0.12), (0.15, 0.12), (0.18, 0.09)])
def test_shape_of_an_ellipse(long, short):
    found = measure(blood_cell(256, (long, short), angle=0.4))
    assert found.nucleus_area == pytest.approx(np.pi * long * short, rel=0.05)
    # e = sqrt(1 - (b / a)^2), and on a grid a circle is not quite 0.
    assert found.nucleus_eccentricity == pytest.approx(
        np.sqrt(1 - (short / long) ** 2), abs=0.12 if long == short else 0.03
    )
    assert found.nucleus_to_cell == pytest.approx(long * short / 0.28**2, rel=0.08)
    assert found.nucleus_lobes == 1


def test_colours_of_nucleus_and_cytoplasm():
    found = measure(blood_cell())
    assert (found.nucleus_red, found.nucleus_green, found.nucleus_blue) == pytest.approx(NUCLEUS, abs=0.04)
    # The rim of the mask includes a few pixels of the surroundings.
    assert (found.cytoplasm_red, found.cytoplasm_green, found.cytoplasm_blue) == pytest.approx(CYTOPLASM, abs=0.04)


def test_two_lobes_are_one_nucleus():
    left, right = (blood_cell(axes=(0.07, 0.07), cell=0.28, shift=(0, offset)) for offset in (-0.1, 0.1))
    found = measure(np.minimum(left, right))
    assert found.nucleus_lobes == 2
    assert found.nucleus_area == pytest.approx(2 * np.pi * 0.07**2, rel=0.1)
    # Two discs of radius r, centres 2d apart: second moments r^2/4 + d^2 along, r^2/4 across.
    assert found.nucleus_eccentricity == pytest.approx(np.sqrt(1 - 0.07**2 / (0.07**2 + 4 * 0.1**2)), abs=0.03)


def test_turning_changes_neither_area_nor_eccentricity():
    upright, turned = (measure(blood_cell(angle=angle)) for angle in (0.0, 1.0))
    quarter = measure(np.rot90(blood_cell()).copy())
    for other in (turned, quarter):
        assert other.nucleus_area == pytest.approx(upright.nucleus_area, rel=0.05)
        assert other.nucleus_eccentricity == pytest.approx(upright.nucleus_eccentricity, abs=0.03)


@pytest.mark.parametrize("side", [64, 256, 512])
def test_shares_do_not_depend_on_size(side):
    small, large = measure(blood_cell(128)), measure(blood_cell(side))
    assert large.nucleus_area == pytest.approx(small.nucleus_area, rel=0.06)
    assert large.nucleus_to_cell == pytest.approx(small.nucleus_to_cell, rel=0.08)
    assert large.nucleus_eccentricity == pytest.approx(small.nucleus_eccentricity, abs=0.03)


@pytest.mark.parametrize("picture", BLANK.values(), ids=BLANK)
def test_no_cell_in_the_middle_is_no_nucleus(picture):
    assert not segment(picture).cell.any()
    assert all(np.isnan(value) for value in asdict(measure(picture)).values())


def test_a_cell_filled_by_its_nucleus():
    found = measure(blood_cell(axes=(0.2, 0.2), cell=0.0))
    assert found.nucleus_area == pytest.approx(np.pi * 0.2**2, rel=0.05)
    assert found.nucleus_to_cell > 0.8


def test_pictures_without_a_nucleus_are_counted(folder, round_cells):
    found = compare(folder(round_cells), folder([*round_cells[:5], BLANK["uniform"], BLANK["noise"]]), resamples=5)
    assert (found.real_without_nucleus, found.synthetic_without_nucleus) == (0, 2)
    assert (found.real_pictures, found.synthetic_pictures) == (24, 7)
    assert len(found.measures["nucleus_area"].synthetic) == found.measures["nucleus_area"].n == 5


def test_nothing_to_compare_is_an_error(folder, round_cells):
    with pytest.raises(RequestError, match="a nucleus in 1 of 2"):
        compare(folder(round_cells), folder([round_cells[0], BLANK["uniform"]]))


@pytest.mark.slow
def test_one_class_lies_at_the_floor_and_another_far_above(folder):
    first, second, other = (
        folder([draw(name, seed, 128)[0] for seed in seeds])
        for name, seeds in (("cyt_mast", range(24)), ("cyt_mast", range(50, 62)), ("cyt_nep_mast", range(12)))
    )
    same, different = (compare(first, folder_, one_cell=False, resamples=50) for folder_ in (second, other))
    for name in ("nucleus_red", "nucleus_to_cell"):
        near, far = same.measures[name], different.measures[name]
        assert near.n == far.n == 12
        assert near.distance < 2.5 * near.floor
        assert far.distance > 4 * far.floor
        assert far.interval[0] > far.floor_interval[1]
        assert far.interval[0] <= far.distance <= far.interval[1]


def test_a_stain_shift_is_seen_by_the_colours_alone(folder, round_cells):
    shifted = [np.asarray(255 * (picture / 255) ** (1.0, 1.2, 1.0), np.uint8) for picture in round_cells]
    found = compare(folder(round_cells), folder(shifted), resamples=5).measures
    # A power of the intensity multiplies the optical density.
    assert np.mean(found["nucleus_green"].synthetic) == pytest.approx(
        1.2 * np.mean(found["nucleus_green"].real), rel=0.02
    )
    assert found["nucleus_green"].distance > 10 * found["nucleus_green"].floor
    assert found["nucleus_red"].distance < 0.01
    assert found["nucleus_area"].distance < 2 * found["nucleus_area"].floor


def test_distances_carry_the_unit_of_the_measure(folder, round_cells):
    larger = [blood_cell(64, (0.18, 0.15)) for _ in range(12)]
    found = compare(folder(round_cells), folder([*larger[:11], blood_cell(64, (0.18, 0.151))])).measures["nucleus_area"]
    # If all values of one sample are above those of the other, the distance is the difference of the means.
    assert min(found.synthetic) > max(found.real)
    assert found.distance == pytest.approx(np.mean(found.synthetic) - np.mean(found.real), rel=0.05)
    assert found.distance_in_sd == pytest.approx(found.distance / np.std(found.real, ddof=1))


def test_the_smaller_side_is_used_for_both(folder, round_cells):
    large = [np.repeat(np.repeat(picture, 2, 0), 2, 1) for picture in round_cells[:12]]
    found = compare(folder(round_cells), folder(large), resamples=5)
    assert found.side == 64
    assert found.measures["nucleus_area"].distance < 2 * found.measures["nucleus_area"].floor


def test_the_seed_decides_and_json_holds_it_all(folder, round_cells):
    first, second = folder(round_cells[:16]), folder(round_cells[16:])
    found, again, other = (compare(first, second, resamples=20, seed=seed) for seed in (1, 1, 2))
    assert found == again
    assert found != other
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["measures"].keys() == TITLES.keys()


def test_threads_in_place_of_grain_are_seen_by_the_texture_alone(folder):
    """Level sets of a smooth field, with the spread of the grain that they replace."""
    grain, threads = folder(textured(range(12), threads=False)), folder(textured(range(20, 26), threads=True))
    same = compare(grain, folder(textured(range(20, 26), threads=False)), resamples=5)
    other = compare(grain, threads, resamples=5)
    for name in ("blobness_0.8", "nucleus_coherence"):
        assert same.texture[name].distance < 3 * same.texture[name].floor
        assert other.texture[name].distance > 3 * other.texture[name].floor
    assert np.mean(other.texture["blobness_0.8"].synthetic) < np.mean(other.texture["blobness_0.8"].real)
    assert other.measures["nucleus_area"].distance < 3 * other.measures["nucleus_area"].floor
    # Measures of a region that no picture has are left out.
    assert {name for name in other.texture if name.startswith("background")} <= TEXTURES.keys()


def textured(seeds, threads):
    """Cells with grain or threads in their nuclei, of nearly equal size."""
    pictures = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        picture = blood_cell(128, (rng.uniform(0.17, 0.19), 0.17)).astype(float)
        field = gaussian_filter(rng.standard_normal((128, 128)), 2.5 if threads else 0.8)
        if threads:
            field = -np.abs(field)
        field = (field - field.mean()) / field.std()
        picture += 8 * field[..., None] * segment(picture.astype(np.uint8)).nucleus[..., None]
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


def test_a_measure_without_spread_has_no_distance_in_sd(folder, round_cells):
    found = compare(folder(round_cells[:8]), folder(round_cells[8:]), resamples=5).measures["nucleus_lobes"]
    assert (found.distance, found.distance_in_sd) == (0, None)


def test_measures_come_in_the_order_of_the_pictures():
    pictures = [blood_cell(64, (0.1, 0.1)), BLANK["uniform"], blood_cell(64, (0.15, 0.15))]
    areas = measure_all(pictures)["nucleus_area"]
    assert np.isnan(areas).tolist() == [False, True, False]
    assert areas[2] > areas[0]
