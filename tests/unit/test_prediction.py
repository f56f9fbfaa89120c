import numpy as np
import pytest
import torch
from bright import Bright, a_model, untrained
from torch import nn

from cytolapse.models import weights_digest
from cytolapse.networks import ARCHITECTURES, build_network
from cytolapse.prediction import (
    Predictor,
    folded,
    forward,
    plan_tiles,
    tile_shares,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def a_predictor(model, **settings):
    known = {"device": CPU, "precision": torch.float32, "batch_frames": 4, "tile_px": 512, "overlap_px": 64, "scale": 1}
    return Predictor(model, **{**known, "views": 1, **settings})


def predict(model, image, **settings):
    return a_predictor(model, batch_frames=1, scale=model.scale, **settings).probabilities(image[None])[0].numpy()


def texture(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


# views


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_with_four_views_a_flipped_frame_gives_the_same_flipped(axes):
    model, image = untrained(), texture(64, 96)
    flipped = np.ascontiguousarray(np.flip(image, axes))
    beside = {}
    for views in (1, 4):
        answer, of_flipped = (predict(model, each, views=views) for each in (image, flipped))
        beside[views] = np.abs(np.flip(of_flipped, [axis + 1 for axis in axes]) - answer).max()

    assert beside[4] < 1e-5 < 1e-3 < beside[1]


def test_views_are_averaged():
    model, image = untrained(), texture(64, 64)
    turned = np.ascontiguousarray(image[::-1, ::-1])
    mean = (predict(model, image) + predict(model, turned)[:, ::-1, ::-1]) / 2

    np.testing.assert_allclose(predict(model, image, views=2), mean, atol=1e-6)


# sizes and tiles


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (31, 33), (64, 64), (100, 7)])
def test_a_frame_of_any_size_comes_back_in_its_size(shape):
    image = texture(*shape)

    found = predict(a_model(Bright()), image, tile_px=64, overlap_px=16)

    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-20 * (image - 0.5))), atol=1e-5)


def test_a_frame_is_mirrored_at_the_bottom_and_right_and_not_resized():
    class Echo(Bright):
        def forward(self, image):
            self.image = image
            return super().forward(image)

    network = Echo()
    image = texture(13, 20)

    predict(a_model(network), image, tile_px=64, overlap_px=16)

    np.testing.assert_array_equal(network.image[0, 0], np.pad(image, ((0, 3), (0, 4)), mode="symmetric"))


def test_tiles_that_overlap_widely_give_the_same_as_no_tiles():
    # The network sees some 90 px to every side; a quarter of the overlap, which is thrown away, covers that.
    model = untrained()
    image = texture(512, 1000)

    whole = predict(model, image, tile_px=1024, overlap_px=0)
    tiled = predict(model, image, tile_px=800, overlap_px=400)

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

    whole = predict(trained, image, tile_px=512, overlap_px=0)
    tiled = predict(trained, image, tile_px=128, overlap_px=32)

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
        predict(model, image, precision=dtype, tile_px=64, overlap_px=0) for dtype in (torch.float32, torch.bfloat16)
    )

    assert np.abs(exact - rough).mean() < 0.02


def test_values_beyond_half_precision_are_told_from_a_broken_model():
    network = Bright()
    with torch.no_grad():
        network.weight.fill_(float("inf"))

    with pytest.raises(RuntimeError, match="not numbers in bfloat16; set precision to float32"):
        forward(network, torch.rand(1, 1, 8, 8), torch.bfloat16)


# GPUs that this machine need not have


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
