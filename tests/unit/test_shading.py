"""Cameras with an offset and light that falls off, whose planes are known before."""

import json

import numpy as np
import pytest
import tifffile
from drawn import a_movie

from cytolapse.movies import StackReader
from cytolapse.shading import Shading, estimate_flat_field, read_mean_image, read_shading

SHAPE = (96, 128)
DARK_AU = 100.0


def light_of(shape=SHAPE):
    """Brightest in the middle, two thirds of that in the corners; of mean 1."""
    y, x = np.indices(shape)
    light = 1.5 - ((y / shape[0] - 0.5) ** 2 + (x / shape[1] - 0.5) ** 2)
    return light / light.mean()


def written(path, array):
    tifffile.imwrite(path, array)
    return str(path)


def test_an_even_scene_is_even_again_after_dark_and_flat_field(tmp_path):
    seen = DARK_AU + 400 * light_of()
    slide = written(tmp_path / "flat.tif", (DARK_AU + 20000 * light_of()).astype(np.uint16))

    shading = read_shading("gfp", SHAPE, dark={"gfp": DARK_AU}, flat_field={"gfp": slide})

    assert shading.correct(seen) == pytest.approx(400, rel=1e-3)


def test_a_dark_image_is_the_mean_of_its_planes(tmp_path):
    rng = np.random.default_rng(0)
    dark = written(tmp_path / "dark.tif", rng.normal(DARK_AU, 2, (20, *SHAPE)).astype(np.float32))

    shading = read_shading("gfp", SHAPE, dark={"gfp": dark}, flat_field={})

    assert shading.correct(np.full(SHAPE, 130, np.uint16)).mean() == pytest.approx(30, abs=0.1)
    assert np.std(shading.dark_au) < 1


def test_a_channel_without_images_has_no_shading():
    assert read_shading("gfp", SHAPE, dark={"rfp": 100.0}, flat_field={}) is None


def test_an_image_of_another_size_is_refused(tmp_path):
    slide = written(tmp_path / "flat.tif", np.ones((10, 12), np.uint16))

    with pytest.raises(ValueError, match=r"flat field .*flat.tif: is 10 x 12 pixels, the movie 96 x 128; take it with"):
        read_mean_image(slide, "flat field", SHAPE)


def test_dark_and_flat_field_that_were_swapped_are_refused(tmp_path):
    dark = written(tmp_path / "a.tif", np.full(SHAPE, 5000, np.uint16))
    flat = written(tmp_path / "b.tif", np.full(SHAPE, 100, np.uint16))

    with pytest.raises(ValueError, match=r"b.tif: its mean is not above the dark image of gfp; were the two swapped\?"):
        read_shading("gfp", SHAPE, dark={"gfp": dark}, flat_field={"gfp": flat})


def test_a_flat_field_with_pixels_without_light_is_refused(tmp_path):
    light = 1000 * light_of()
    light[:2, :3] = 0

    with pytest.raises(ValueError, match=r"flat.tif: 6 pixels hold less than 5% of its mean light; take it of an even"):
        read_shading(
            "gfp", SHAPE, dark={}, flat_field={"gfp": written(tmp_path / "flat.tif", light.astype(np.float32))}
        )


def movies_of(tmp_path, count=3, medium_au=300.0, frames=4, noise_au=4.0, shape=SHAPE):
    """Movies of cells over a medium that shines, under uneven light; and their labels."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        labels = np.zeros((frames, *shape), np.uint16)
        for frame in range(frames):
            for cell, (y, x) in enumerate(rng.integers(8, np.array(shape) - 24, (4, 2)), 1):
                labels[frame, y : y + 14, x : x + 14] = cell
        scene = medium_au + 900.0 * (labels > 0)
        planes = DARK_AU + scene * light_of(shape) + rng.normal(0, noise_au, labels.shape)
        folder = tmp_path / f"movie{number}"
        folder.mkdir()
        info = a_movie(folder, planes.round().clip(0).astype(np.uint16))
        tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack", metadata={"axes": "TYX"})
        found.append((info, folder / "labels.tif"))
    return zip(*found, strict=True)


ESTIMATE = {"channel": "phase", "dark": {"phase": DARK_AU}, "ring_gap_px": 2, "frames": 4}


def test_the_light_is_estimated_from_between_the_cells_of_all_movies(tmp_path):
    infos, labels = movies_of(tmp_path)

    estimate_flat_field(infos, labels, tmp_path / "flat.tif", **ESTIMATE)

    with StackReader(tmp_path / "flat.tif") as stack:
        found, described = stack.read(0), stack.description
    assert np.abs(found / (DARK_AU + 300 * light_of()) - 1).max() < 0.02
    assert described["planes"] == 12


def test_an_estimate_serves_as_a_flat_field(tmp_path):
    infos, labels = movies_of(tmp_path)
    estimate_flat_field(infos, labels, tmp_path / "flat.tif", **ESTIMATE)

    shading = read_shading("phase", SHAPE, dark={"phase": DARK_AU}, flat_field={"phase": str(tmp_path / "flat.tif")})

    corrected = shading.correct(DARK_AU + 500 * light_of())
    assert corrected.std() / corrected.mean() < 0.1 * light_of().std()


def test_a_refused_movie_says_nothing_of_the_light(tmp_path):
    infos, labels = movies_of(tmp_path)
    infos[0].write_text(json.dumps({"status": "refused", "reason": "cut off"}))

    estimate_flat_field(infos, labels, tmp_path / "flat.tif", **ESTIMATE)

    with StackReader(tmp_path / "flat.tif") as stack:
        assert stack.description["planes"] == 8


def test_movies_of_two_sizes_have_no_flat_field_in_common(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (one, of_one), (other, of_other) = (
        movies_of(tmp_path / name, count=1, shape=shape) for name, shape in (("a", SHAPE), ("b", (80, 80)))
    )

    with pytest.raises(ValueError, match=r"has frames of 80 x 80 pixels, movies before it of 96 x 128"):
        estimate_flat_field(one + other, of_one + of_other, tmp_path / "flat.tif", **ESTIMATE)


def test_a_channel_that_the_movies_lack_is_refused(tmp_path):
    infos, labels = movies_of(tmp_path, count=1)

    with pytest.raises(ValueError, match="movie.tif: has no channel 'gpf'; there are phase"):
        estimate_flat_field(infos, labels, tmp_path / "flat.tif", **{**ESTIMATE, "channel": "gpf"})


def test_a_medium_that_does_not_shine_gives_no_flat_field(tmp_path):
    infos, labels = movies_of(tmp_path, medium_au=0.0)

    with pytest.raises(ValueError, match="no plane has background above the dark image; give the dark image"):
        estimate_flat_field(infos, labels, tmp_path / "flat.tif", **{**ESTIMATE, "dark": {"phase": DARK_AU + 20}})


def test_too_dim_a_medium_gives_no_flat_field(tmp_path):
    infos, labels = movies_of(tmp_path, medium_au=1.0, noise_au=40.0, count=1)

    with pytest.raises(ValueError, match=r"planes give it within \d+.\d%, wanted 2%; name more movies"):
        estimate_flat_field(infos, labels, tmp_path / "flat.tif", **{**ESTIMATE, "dark": {"phase": DARK_AU - 2}})


def test_movies_in_which_cells_hide_half_of_the_field_give_no_flat_field(tmp_path):
    infos, labels = movies_of(tmp_path, count=1, frames=1)
    hidden = tifffile.imread(labels[0])
    hidden[:, :, 30:] = 1
    tifffile.imwrite(labels[0], hidden, photometric="minisblack", metadata={"axes": "TYX"})

    with pytest.raises(ValueError, match="wanted 2%; name more movies"):
        estimate_flat_field(infos, labels, tmp_path / "flat.tif", **ESTIMATE)


def test_a_shading_of_offset_alone_changes_no_ratio():
    assert Shading(5.0, 1.0).correct(np.array([[10, 20]], np.uint16)).tolist() == [[5, 15]]
