import json
import logging
import threading
import time

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from cytolapse import segmentation
from cytolapse.models import CLASSES, NORMALISATION, Model, save_model, weights_digest
from cytolapse.movies import StackReader, open_movie
from cytolapse.networks import ARCHITECTURES, build_network
from cytolapse.segmentation import (
    Predictor,
    ahead,
    choose_device,
    choose_precision,
    cuda_problem,
    driver_version,
    folded,
    forward,
    movie_limits,
    plan_tiles,
    predict,
    resampling_scale,
    segment_movie,
    tile_shares,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


class Bright(nn.Module):
    """Cell where the image is above a half, edge nowhere; remembers the sizes that it was shown."""

    stride = 8

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(20.0))
        self.shown = []

    def __deepcopy__(self, memo):
        return self

    def forward(self, image):
        self.shown.append(tuple(image.shape))
        return torch.cat([self.weight * (image - 0.5), torch.full_like(image, -20.0)], dim=1)


def a_model(network, architecture="googlenet_unet_small", *, pixel_size_um=None, channels=1):
    return Model(network, architecture, channels, CLASSES, NORMALISATION, pixel_size_um, 0.5, {"seed": 5})


def untrained(architecture="googlenet_unet_small", **of_model):
    torch.manual_seed(0)
    network = build_network(architecture, channels=of_model.get("channels", 1), classes=2).eval()
    return a_model(network, architecture, **of_model)


def a_predictor(model, **settings):
    known = {"device": CPU, "precision": torch.float32, "batch_frames": 4, "tile_px": 512, "overlap_px": 64, "scale": 1}
    return Predictor(model, **{**known, **settings})


def texture(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


def a_movie(folder, frames, *, acquired=None, pixel_size_um=0.5):
    """movie.json of a stack of frames (t, y, x) in one channel."""
    path = folder / "movie.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})
    info = {
        "status": "ok",
        "reason": None,
        "warnings": [],
        "path": str(path),
        "kind": "tiff",
        "position": None,
        "axes": "TYX",
        "frames": len(frames),
        "channels": ["phase"],
        "segment_channel": "phase",
        "height_px": frames.shape[1],
        "width_px": frames.shape[2],
        "dtype": str(frames.dtype),
        "pixel_size_um": pixel_size_um,
        "frame_interval_min": 5.0,
        "time_h": None,
        "exposure_ms": {"phase": None},
        "acquired": None if acquired is None else {"phase": acquired},
        "saturation_au": 65535,
    }
    (folder / "movie.json").write_text(json.dumps(info))
    return folder / "movie.json"


def weights_of(model, folder):
    save_model(model, folder / "weights.safetensors", folder / "model.json", half=False)
    return folder / "weights.safetensors"


def segmented(movie_json, weights, **settings):
    known = {
        "device": "cpu",
        "batch_frames": 2,
        "tile_px": 512,
        "overlap_px": 64,
        "precision": "float32",
        "resample": False,
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
            ahead_of_writer.append(len(read) - segmentation.SAMPLED_FRAMES - len(written) / 2)

    monkeypatch.setattr(segmentation, "open_movie", Watched)
    monkeypatch.setattr(segmentation, "write_stack", slow_writer)

    segmented(a_movie(tmp_path, moving_disk(frames=60)), "weights.safetensors", batch_frames=2)

    assert len(written) == 120
    assert max(ahead_of_writer) <= 10


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


def test_values_beyond_half_precision_are_told_from_a_broken_model():
    network = Bright()
    with torch.no_grad():
        network.weight.fill_(float("inf"))

    with pytest.raises(RuntimeError, match="not numbers in bfloat16; set precision to float32"):
        forward(network, torch.rand(1, 1, 8, 8), torch.bfloat16)


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


# sizes and tiles


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (31, 33), (64, 64), (100, 7)])
def test_a_frame_of_any_size_comes_back_in_its_size(shape):
    image = texture(*shape)

    found = predict(a_model(Bright()), image, device=CPU, precision=torch.float32, tile_px=64, overlap_px=16)

    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-20 * (image - 0.5))), atol=1e-5)


def test_a_frame_is_mirrored_at_the_bottom_and_right_and_not_resized():
    class Echo(Bright):
        def forward(self, image):
            self.image = image
            return super().forward(image)

    network = Echo()
    image = texture(13, 20)

    predict(a_model(network), image, device=CPU, precision=torch.float32, tile_px=64, overlap_px=16)

    np.testing.assert_array_equal(network.image[0, 0], np.pad(image, ((0, 3), (0, 4)), mode="symmetric"))


def test_tiles_that_overlap_widely_give_the_same_as_no_tiles():
    # The network sees some 90 px to every side; a quarter of the overlap, which is thrown away, covers that.
    model = untrained()
    image = texture(512, 1000)

    whole = predict(model, image, device=CPU, precision=torch.float32, tile_px=1024, overlap_px=0)
    tiled = predict(model, image, device=CPU, precision=torch.float32, tile_px=800, overlap_px=400)

    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def disks(height, width, seed=0):
    """Bright disks of 5 to 15 px radius on a dark, noisy ground, and where they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    truth = np.zeros((height, width), bool)
    for _ in range(height * width // 1000):
        radius = rng.uniform(5, 15)
        truth |= (y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2 < radius**2
    return (truth + 0.2 * rng.standard_normal(truth.shape)).astype(np.float32), truth


@pytest.fixture(scope="module")
def trained():
    """A model that has learnt what disks look like."""
    model = untrained()
    model.network.train()
    optimiser = torch.optim.Adam(model.network.parameters(), 2e-3)
    for step in range(30):
        image, truth = disks(96, 96, seed=step)
        target = torch.from_numpy(np.stack([truth, ~truth]).astype(np.float32))[None]
        loss = nn.functional.binary_cross_entropy_with_logits(
            model.network(torch.from_numpy(image)[None, None]), target
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.network.eval()
    return model


def test_tiles_of_a_practical_overlap_give_the_same_cells_and_no_seam(trained):
    image, _ = disks(200, 304, seed=1000)

    whole = predict(trained, image, device=CPU, precision=torch.float32, tile_px=512, overlap_px=0)
    tiled = predict(trained, image, device=CPU, precision=torch.float32, tile_px=128, overlap_px=32)

    assert 0.1 < (whole[0] > 0.5).mean() < 0.6
    assert ((tiled[0] > 0.5) != (whole[0] > 0.5)).mean() < 0.002
    # A seam would be a column, or a row, over which the values jump more than they do without tiles.
    for axis in (1, 2):
        jumps, own = (np.abs(np.diff(each[0], axis=axis - 1)).mean(axis=2 - axis) for each in (tiled, whole))
        assert np.abs(jumps - own).max() < 0.01


@pytest.mark.parametrize(
    ("side_px", "tile_px", "overlap_px"), [(64, 64, 32), (640, 128, 32), (648, 128, 64), (72, 64, 0)]
)
def test_the_shares_of_all_tiles_add_up_to_1_at_every_pixel(side_px, tile_px, overlap_px):
    shares = tile_shares(side_px, tile_px, overlap_px, stride=8)
    total = np.zeros(side_px)
    for start, share in shares.items():
        total[start : start + len(share)] += share

    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_tiles_begin_at_multiples_of_the_stride_and_reach_the_end():
    assert plan_tiles(1000, 256, 64, stride=8) == (256, [0, 192, 384, 576, 744])


def test_a_frame_a_little_larger_than_a_tile_is_cut_in_half_rather_than_computed_twice():
    assert plan_tiles(2112, 2048, 128, stride=32) == (1120, [0, 992])
    assert plan_tiles(2048, 2048, 128, stride=32) == (2048, [0])


def test_a_large_frame_is_shown_in_tiles_and_a_small_one_whole():
    network = Bright()
    predictor = a_predictor(a_model(network), tile_px=64, overlap_px=16)

    predictor(texture(60, 50)[None])
    predictor(texture(60, 100)[None])

    assert network.shown == [(1, 1, 64, 56), (1, 1, 64, 64), (1, 1, 64, 64)]


@pytest.mark.parametrize(("tile_px", "overlap_px"), [(128, 72), (0, 0)])
def test_an_overlap_that_leaves_nothing_of_a_tile_is_refused(tile_px, overlap_px):
    with pytest.raises(ValueError, match=rf"tile_px is {tile_px}, overlap_px is {overlap_px}; a tile must be at least"):
        a_predictor(a_model(Bright()), tile_px=tile_px, overlap_px=overlap_px)


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


def test_without_resample_the_pixel_size_does_not_matter(tmp_path, bright):
    bright.pixel_size_um = 0.25

    segmented(a_movie(tmp_path, moving_disk(frames=1)), "weights.safetensors", resample=False)

    assert set(bright.network.shown) == {(1, 1, 56, 72)}


@pytest.mark.parametrize(
    ("movie_um", "model_um", "scale"),
    [(0.5, 0.25, 2), (0.1, 0.2, 0.5), (0.24, 0.2405, 1), (None, 0.2, 1), (0.2, None, 1)],
)
def test_the_scale_is_the_ratio_of_the_pixel_sizes_where_both_are_known(movie_um, model_um, scale):
    assert resampling_scale(movie_um, model_um) == pytest.approx(scale)


def test_resampling_beyond_a_factor_of_2_is_warned_of(caplog):
    resampling_scale(0.3, 0.2)
    assert not caplog.records

    resampling_scale(0.5, 0.2)
    assert "resampled by 2.5 to the scale of the model (0.2 um/px): so large a factor costs accuracy" in caplog.text


def test_a_pixel_size_that_is_not_known_is_warned_of(caplog):
    resampling_scale(None, 0.2)

    assert "the pixel size of the movie is not known" in caplog.text


# speed that keeps the result


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_batch_normalisation_keeps_the_result_and_the_network(architecture):
    network = build_network(architecture, channels=1, classes=2)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    network.eval()
    digest = weights_digest(network.state_dict())
    image = torch.rand(1, 1, 64, 64)

    quick = folded(network)

    with torch.inference_mode():
        torch.testing.assert_close(torch.sigmoid(quick(image)), torch.sigmoid(network(image)), atol=1e-4, rtol=0)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in quick.modules())
    assert weights_digest(network.state_dict()) == digest


def test_bfloat16_differs_by_little_from_float32():
    model = untrained()
    image = texture(64, 64)

    exact, rough = (
        predict(model, image, device=CPU, precision=dtype, tile_px=64, overlap_px=0)
        for dtype in (torch.float32, torch.bfloat16)
    )

    assert np.abs(exact - rough).mean() < 0.02


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})

    with caplog.at_level(logging.INFO):
        assert choose_precision("auto", untrained(), CPU) == torch.float32
    assert "this processor has no bfloat16" in caplog.text


@pytest.mark.parametrize(
    ("float32_s", "bfloat16_s", "chosen"), [(1.0, 0.5, "bfloat16"), (1.0, 0.95, "float32"), (0.5, 1.0, "float32")]
)
def test_a_processor_with_bfloat16_takes_what_is_clearly_quicker(monkeypatch, caplog, float32_s, bfloat16_s, chosen):
    now = [0.0]

    def timed(network, tile, dtype):
        now[0] += float32_s if dtype == torch.float32 else bfloat16_s

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(segmentation, "forward", timed)
    monkeypatch.setattr(segmentation.time, "perf_counter", lambda: now[0])

    with caplog.at_level(logging.INFO):
        assert choose_precision("auto", untrained(), CPU) == getattr(torch, chosen)
    assert f"precision is auto: torch.{chosen}" in caplog.text


@pytest.mark.parametrize(("has_bfloat16", "chosen"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_the_half_precision_that_it_has(monkeypatch, has_bfloat16, chosen):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)

    assert choose_precision("auto", untrained(), torch.device("cuda")) == chosen


def test_a_precision_that_is_named_is_taken():
    assert choose_precision("bfloat16", untrained(), CPU) == torch.bfloat16


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'int8'; wanted auto, float32, bfloat16, float16"):
        choose_precision("int8", untrained(), CPU)


# GPUs that this machine need not have


@pytest.fixture
def gpu(monkeypatch):
    """torch says that there is a card that it can use."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA Test")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_90", "compute_120"])
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device=None, **more: zeros(*size, **more))
    return monkeypatch


@pytest.fixture
def driver(monkeypatch, tmp_path):
    path = tmp_path / "version"
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n")
    monkeypatch.setattr(segmentation, "DRIVER_FILE", path)


def test_auto_and_cuda_take_a_gpu_that_can_be_used(gpu):
    assert cuda_problem() is None
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (9, 0), (12, 0), (13, 1)])
def test_a_card_of_a_generation_that_the_build_serves_is_taken(gpu, capability):
    gpu.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    assert cuda_problem() is None


@pytest.mark.parametrize("capability", [(6, 0), (7, 0), (10, 0)])
def test_a_card_that_the_build_does_not_serve_is_named_with_its_capability_driver_and_remedy(gpu, driver, capability):
    gpu.setattr(torch.cuda, "get_device_capability", lambda *_: capability)

    with pytest.raises(
        RuntimeError,
        match=rf"device is cuda, but the GPU NVIDIA Test has compute capability {capability[0]}.{capability[1]}, and "
        r"torch .* \(CUDA 13.0\) serves sm_75, .* \(driver 470.57.02\); choose a newer card .* set device to cpu",
    ):
        choose_device("cuda")


def no_driver():
    raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nMore lines.")


def test_a_driver_that_is_missing_or_too_old_is_named_with_the_remedy(gpu, driver):
    gpu.setattr(torch.cuda, "init", no_driver)
    gpu.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(
        RuntimeError,
        match=r"finds no GPU that it can use: The NVIDIA driver on your system is too old \(found version 11040\). "
        r"\(driver 470.57.02, CUDA_VISIBLE_DEVICES \); run the job on a partition with GPUs .* driver installed",
    ):
        choose_device("cuda")


def test_a_build_without_cuda_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)

    with pytest.raises(RuntimeError, match=r"torch .* is built without CUDA; install the packages pinned in envs"):
        choose_device("cuda")


def test_a_card_that_does_not_compute_is_named(gpu):
    def taken(*_, **__):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    gpu.setattr(torch, "zeros", taken)

    with pytest.raises(RuntimeError, match="the GPU NVIDIA Test .* does not compute: CUDA error: all .* nvidia-smi"):
        choose_device("cuda")


def test_auto_without_a_gpu_computes_on_the_cpu_and_says_why(gpu, caplog):
    gpu.setattr(torch.cuda, "init", no_driver)

    assert choose_device("auto") == CPU
    assert "device is auto, the CPU computes: torch" in caplog.text
    assert "driver on your system is too old" in caplog.text


def test_the_cpu_is_taken_where_it_is_asked_for():
    assert choose_device("cpu") == CPU


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device is 'tpu'; wanted auto, cuda or cpu"):
        choose_device("tpu")


def test_a_machine_without_driver_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(segmentation, "DRIVER_FILE", tmp_path / "none")

    assert driver_version() == "not found"


def test_a_movie_fails_at_once_where_cuda_is_asked_for_and_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    weights = weights_of(untrained(), tmp_path)

    with pytest.raises(RuntimeError, match="device is cuda, but torch .* built without CUDA"):
        segmented(a_movie(tmp_path, moving_disk(frames=1)), weights, device="cuda")


class Small(Bright):
    """A network for which GPU memory holds only so many images."""

    def __init__(self, holds, error=None):
        super().__init__()
        self.holds, self.error = holds, error or torch.OutOfMemoryError("CUDA out of memory")

    def forward(self, image):
        found = super().forward(image)
        if len(image) > self.holds:
            raise self.error
        return found


@pytest.fixture
def batched(monkeypatch):
    """A predictor that batches as on a GPU, on the CPU."""

    def made(network, batch_frames, **settings):
        predictor = a_predictor(a_model(network), batch_frames=batch_frames, **settings)
        predictor.batch = batch_frames
        return predictor

    return made


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")]
)
def test_a_batch_that_gpu_memory_does_not_hold_is_halved_until_it_fits_and_stays_so(batched, caplog, error):
    network = Small(holds=2, error=error)
    predictor = batched(network, 8)
    images = np.stack([texture(16, 16, seed) for seed in range(10)])

    found = np.concatenate([predictor(images), predictor(images)])

    assert predictor.batch == 2
    assert [shape[0] for shape in network.shown] == [8, 4] + 10 * [2]
    assert "GPU memory ran out: goes on with 2 frames or tiles at once" in caplog.text
    np.testing.assert_array_equal(found[:10], a_predictor(a_model(Bright()))(images))
    np.testing.assert_array_equal(found[10:], found[:10])


def test_tiles_of_one_frame_are_halved_down_to_one_tile(batched):
    network = Small(holds=1)
    predictor = batched(network, 4, tile_px=32, overlap_px=16)
    image = texture(100, 100)[None]

    found = predictor(image)

    assert predictor.batch == 1
    np.testing.assert_allclose(found.astype(int), a_predictor(a_model(Bright()))(image), atol=1)


def test_memory_that_does_not_hold_one_tile_is_an_error_with_the_remedy(batched):
    predictor = batched(Small(holds=0), 2)

    with pytest.raises(RuntimeError, match="does not suffice for one tile of 16 x 16 px; lower tile_px"):
        predictor(texture(16, 16)[None])


def test_another_error_of_the_network_is_not_taken_for_lack_of_memory(batched):
    network = Small(holds=0, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        batched(network, 4)(texture(16, 16)[None])

    assert len(network.shown) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_gives_the_same_as_the_cpu_for_a_full_and_a_last_batch(precision):
    model = untrained("googlenet_unet")
    images = np.stack([texture(100, 140, seed) for seed in range(5)])

    on_gpu = a_predictor(model, device=torch.device("cuda"), precision=precision, batch_frames=3)
    found = np.concatenate([on_gpu(images[:3]), on_gpu(images[3:])])

    assert np.abs(found.astype(int) - a_predictor(model)(images)).mean() < 2
