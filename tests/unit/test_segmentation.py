import json
import logging
import threading
import time

import numpy as np
import pytest
import torch
from bright import Bright, a_model, untrained
from drawn import a_movie

from cytolapse import segmentation
from cytolapse.models import NORMALISATION, save_model, weights_digest
from cytolapse.movies import SAMPLED_FRAMES, StackReader, open_movie
from cytolapse.scaling import diameter_px
from cytolapse.segmentation import ahead, movie_limits, segment_movie

torch.set_num_threads(1)


def weights_of(model, folder):
    save_model(model, folder / "weights.safetensors", folder / "model.json", half=False)
    return folder / "weights.safetensors"


def segmented(movie_json, weights, **settings):
    known = {
        "device": "cpu",
        "batch_frames": 2,
        "tile_px": 512,
        "overlap_px": 64,
        "views": 1,
        "precision": "float32",
        "resample": False,
        "cell_diameter_px": None,
        "pixel_size_um": None,
        "threads": 1,
        "provenance": {"code": "abc"},
    }
    path = movie_json.parent / "probability.tif"
    segment_movie(movie_json, weights, path, **{**known, **settings})
    return path


def moving_disk(frames=5, height=50, width=70):
    y, x = np.mgrid[:height, :width]
    pictures = [(y - 25) ** 2 + (x - 20 - 6 * frame) ** 2 < 12**2 for frame in range(frames)]
    return np.stack([1000 + 3000 * picture for picture in pictures]).astype(np.uint16)


@pytest.fixture
def bright(monkeypatch):
    """A network whose answer is known, in place of the one in the model file."""
    model = a_model(Bright())
    monkeypatch.setattr(segmentation, "load_model", lambda path: model)
    return model


# movies


def test_every_frame_gets_its_own_probabilities(tmp_path, bright):
    frames = moving_disk()

    path = segmented(a_movie(tmp_path, frames), "weights.safetensors")

    with StackReader(path) as stack:
        assert stack.shape == (5, 2, 50, 70)
        assert stack.dtype == np.uint8
        for frame in range(5):
            np.testing.assert_array_equal(stack.read(frame, 0), np.where(frames[frame] > 2000, 255, 0))
            np.testing.assert_array_equal(stack.read(frame, 1), 0)


def test_a_movie_from_a_model_file_is_what_the_network_says_of_each_frame(tmp_path):
    model = untrained()
    frames = moving_disk(frames=3)
    movie_json = a_movie(tmp_path, frames)

    path = segmented(movie_json, weights_of(model, tmp_path))

    info = json.loads(movie_json.read_text())
    with open_movie(info) as movie, StackReader(path) as stack:
        limits = movie_limits(movie, info, NORMALISATION)
        for frame in range(3):
            image = segmentation.normalise(frames[frame], limits, NORMALISATION)
            padded = np.pad(image, ((0, 6), (0, 2)), mode="symmetric")
            with torch.inference_mode():
                wanted = torch.sigmoid(model.network(torch.from_numpy(padded)[None, None]))[0, :, :50, :70]
            found = np.stack([stack.read(frame, each) for each in (0, 1)])
            np.testing.assert_allclose(found, 255 * wanted.numpy(), atol=0.51)


def test_the_stack_says_what_it_was_made_with(tmp_path):
    model = untrained()

    path = segmented(a_movie(tmp_path, moving_disk(frames=1)), weights_of(model, tmp_path))

    with StackReader(path) as stack:
        assert stack.description["segment"] == {
            "code": "abc",
            "model_digest": weights_digest(model.network.state_dict()),
            "device": "cpu",
            "precision": "float32",
            "seed": 5,
            "cell_diameter_px": None,
            "scale": 1.0,
            "network_scale": 1.0,
        }


def test_the_log_says_how_fast_it_was_and_where_the_time_went(tmp_path, bright, caplog):
    with caplog.at_level(logging.INFO):
        segmented(a_movie(tmp_path, moving_disk()), "weights.safetensors")

    assert "5 frames in" in caplog.text
    assert "frames/s" in caplog.text
    assert "% of the time computing" in caplog.text


def test_a_plane_that_was_not_acquired_gives_pages_of_0(tmp_path, bright):
    acquired = [False, True, True, False, True]

    path = segmented(a_movie(tmp_path, moving_disk(), acquired=acquired), "weights.safetensors")

    with StackReader(path) as stack:
        assert [bool(stack.read(frame, 0).any()) for frame in range(5)] == acquired


def test_a_movie_of_which_nothing_was_acquired_is_refused(tmp_path, bright):
    movie_json = a_movie(tmp_path, moving_disk(frames=2), acquired=[False, False])

    with pytest.raises(ValueError, match=r"movie .*movie.tif: channel 'phase' is to be segmented and has no acquired"):
        segmented(movie_json, "weights.safetensors")


def test_a_dark_frame_is_treated_as_its_neighbours_are(tmp_path, bright):
    frames = moving_disk()
    frames[2] = 1000

    path = segmented(a_movie(tmp_path, frames), "weights.safetensors")

    with StackReader(path) as stack:
        assert not stack.read(2, 0).any()


def test_a_refused_movie_gives_one_page_of_one_pixel(tmp_path):
    (tmp_path / "movie.json").write_text(json.dumps({"status": "refused", "reason": "empty", "path": "x"}))

    path = segmented(tmp_path / "movie.json", "no such file")

    with StackReader(path) as stack:
        assert stack.shape == (1, 1, 1)
        assert stack.read(0).item() == 0


def test_a_model_of_three_channels_is_refused(tmp_path):
    weights = weights_of(untrained(channels=3), tmp_path)

    with pytest.raises(ValueError, match="takes images of 3 channels, a movie is segmented by one"):
        segmented(a_movie(tmp_path, moving_disk(frames=1)), weights)


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path, bright, monkeypatch):
    """Frames are read only so far ahead of what was written."""
    read, written = [], []
    ahead_of_writer = []

    class Watched(segmentation.Movie):
        def read(self, frame, channel):
            read.append(frame)
            return super().read(frame, channel)

    def slow_writer(path, pages, **_):
        for page in pages:
            written.append(page)
            time.sleep(0.002)
            ahead_of_writer.append(len(read) - SAMPLED_FRAMES - len(written) / 2)

    monkeypatch.setattr(segmentation, "open_movie", Watched)
    monkeypatch.setattr(segmentation, "write_stack", slow_writer)

    segmented(a_movie(tmp_path, moving_disk(frames=60)), "weights.safetensors", batch_frames=2)

    assert len(written) == 120
    assert max(ahead_of_writer) <= 10


def test_a_movie_fails_at_once_where_cuda_is_asked_for_and_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    weights = weights_of(untrained(), tmp_path)

    with pytest.raises(RuntimeError, match="device is cuda, but torch .* built without CUDA"):
        segmented(a_movie(tmp_path, moving_disk(frames=1)), weights, device="cuda")


# scale


def test_a_movie_of_another_pixel_size_is_shown_at_the_models_scale(tmp_path, bright, caplog):
    bright.pixel_size_um = 0.25
    frames = moving_disk(frames=2)
    movie_json = a_movie(tmp_path, frames, pixel_size_um=0.5)

    path = segmented(movie_json, "weights.safetensors", resample=True)

    assert set(bright.network.shown) == {(1, 1, 104, 144)}  # 50 x 70 px doubled, and up to a multiple of 8
    with StackReader(path) as stack:
        assert stack.shape == (2, 2, 50, 70)
        assert ((stack.read(1, 0) > 127) != (frames[1] > 2000)).mean() < 0.01


def test_the_pixel_size_that_is_stated_wins_over_the_files(tmp_path, bright):
    bright.pixel_size_um = 0.25

    segmented(a_movie(tmp_path, moving_disk(frames=1)), "weights.safetensors", resample=True, pixel_size_um=0.25)

    assert set(bright.network.shown) == {(1, 1, 56, 72)}


def test_a_model_sees_a_movie_at_its_working_scale(tmp_path, bright):
    bright.scale = 0.5
    frames = moving_disk(frames=1)

    path = segmented(a_movie(tmp_path, frames), "weights.safetensors")

    assert set(bright.network.shown) == {(1, 1, 32, 40)}  # 25 x 35 px, and up to a multiple of 8
    with StackReader(path) as stack:
        assert stack.shape == (1, 2, 50, 70)
        assert ((stack.read(0, 0) > 127) != (frames[0] > 2000)).mean() < 0.02
        assert stack.description["segment"]["network_scale"] == 0.5


def test_a_movie_of_cells_twice_as_wide_is_shown_at_half_its_size(tmp_path, bright):
    bright.pixel_size_um = 0.25
    movie_json = a_movie(tmp_path, moving_disk(frames=1), pixel_size_um=0.25)

    segmented(movie_json, "weights.safetensors", resample=True, cell_diameter_px=2 * diameter_px(900.0))

    assert set(bright.network.shown) == {(1, 1, 32, 40)}


def test_the_width_of_cells_is_measured_on_the_movie_where_that_is_asked_for(tmp_path, bright, caplog):
    frames = np.repeat(np.repeat(moving_disk(frames=5, height=60, width=80), 2, axis=1), 2, axis=2)  # 48 px wide

    with caplog.at_level(logging.INFO):
        path = segmented(a_movie(tmp_path, frames), "weights.safetensors", cell_diameter_px="auto")

    with StackReader(path) as stack:
        record = stack.description["segment"]
    assert record["cell_diameter_px"] == pytest.approx(47, abs=2)
    assert record["scale"] == pytest.approx(diameter_px(900.0) / record["cell_diameter_px"])
    assert bright.network.shown[-1] == (1, 1, 88, 120)  # 120 x 160 px at 0.72, and up to a multiple of 8
    assert "cells are 47" in caplog.text


def test_a_movie_in_which_no_cell_is_seen_is_taken_as_it_is_and_that_is_said(tmp_path, bright, caplog):
    dark = np.random.default_rng(0).integers(99, 101, (3, 50, 70)).astype(np.uint16)
    bright.network.forward = lambda image: torch.full((len(image), 2, *image.shape[2:]), -20.0)

    with caplog.at_level(logging.WARNING):
        path = segmented(a_movie(tmp_path, dark), "weights.safetensors", cell_diameter_px="auto")

    with StackReader(path) as stack:
        assert stack.description["segment"]["scale"] == 1
    assert "no cell was found to measure cell_diameter_px by" in caplog.text


def test_a_width_at_which_no_movie_could_be_shown_is_not_believed(tmp_path, bright, caplog, monkeypatch):
    monkeypatch.setattr(segmentation, "measured_diameter_px", lambda *_, **__: 9 * diameter_px(900.0))

    with caplog.at_level(logging.WARNING):
        path = segmented(a_movie(tmp_path, moving_disk(frames=1)), "weights.safetensors", cell_diameter_px="auto")

    with StackReader(path) as stack:
        assert stack.description["segment"]["scale"] == 1
    assert "is 305 px wide, and cells of this model are 33.9 px: that is nothing to go by" in caplog.text


def test_without_resample_the_pixel_size_does_not_matter(tmp_path, bright):
    bright.pixel_size_um = 0.25

    segmented(a_movie(tmp_path, moving_disk(frames=1)), "weights.safetensors", resample=False)

    assert set(bright.network.shown) == {(1, 1, 56, 72)}


# a failure in any thread


def threads_left():
    return [each for each in threading.enumerate() if each is not threading.main_thread() and each.daemon]


def test_a_frame_that_cannot_be_read_ends_the_job_with_that_error(tmp_path, bright, monkeypatch):
    class Broken(segmentation.Movie):
        def read(self, frame, channel):
            if frame == 4:  # not among those that the limits are taken from
                raise OSError("movie.tif: page 4 is cut off")
            return super().read(frame, channel)

    monkeypatch.setattr(segmentation, "open_movie", Broken)
    before = len(threads_left())

    with pytest.raises(OSError, match="page 4 is cut off"):
        segmented(a_movie(tmp_path, moving_disk(frames=40)), "weights.safetensors")

    assert len(threads_left()) == before
    assert not (tmp_path / "probability.tif").exists()


def test_a_disk_that_is_full_ends_the_job_with_that_error(tmp_path, bright, monkeypatch):
    def full(path, pages, **_):
        next(pages)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segmentation, "write_stack", full)
    before = len(threads_left())

    with pytest.raises(OSError, match="No space left on device"):
        segmented(a_movie(tmp_path, moving_disk(frames=40)), "weights.safetensors")

    assert len(threads_left()) == before


def test_a_network_that_fails_ends_the_job_with_that_error(tmp_path, bright):
    with torch.no_grad():
        bright.network.weight.fill_(float("nan"))

    with pytest.raises(RuntimeError, match="values that are not numbers in float32; the model is broken"):
        segmented(a_movie(tmp_path, moving_disk(frames=40)), "weights.safetensors")


def test_work_done_ahead_gives_the_same_items_in_order():
    with ahead((each**2 for each in range(100)), depth=3) as items:
        assert list(items) == [each**2 for each in range(100)]


def test_work_ahead_stops_when_enough_lies_ready():
    made = []

    def numbers():
        for each in range(1000):
            made.append(each)
            yield each

    with ahead(numbers(), depth=3) as items:
        next(items)
        time.sleep(0.3)
        assert len(made) <= 5
    assert len(made) <= 6


def test_leaving_early_ends_both_of_two_threads_in_a_row():
    before = threading.active_count()

    with ahead(iter(range(10**9)), depth=2) as first, ahead((each + 1 for each in first), depth=2) as second:
        assert next(second) == 1

    assert threading.active_count() == before
