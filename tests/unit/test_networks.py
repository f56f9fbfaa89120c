import pytest
import torch
from torchvision.models import GoogLeNet

from cytolapse.networks import ARCHITECTURES, build_network

torch.set_num_threads(1)


def seeded(architecture, *, channels=1, classes=2, seed=0):
    torch.manual_seed(seed)
    return build_network(architecture, channels=channels, classes=classes).eval()


def parameters(network):
    return sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 1)])
def test_every_network_gives_a_logit_for_each_class_and_pixel(architecture, channels, classes):
    network = seeded(architecture, channels=channels, classes=classes)

    with torch.inference_mode():
        logits = network(torch.rand(2, channels, 64, 96))

    assert logits.shape == (2, classes, 64, 96)
    assert torch.isfinite(logits).all()


def test_googlenet_fcn_is_torchvisions_googlenet_without_classifier_and_one_transposed_convolution():
    network = seeded("googlenet_fcn", channels=3)
    googlenet = GoogLeNet(num_classes=1, aux_logits=False, transform_input=False, init_weights=False).eval()
    kept = {name: tensor for name, tensor in network.encoder.state_dict().items() if not name.startswith(("fc", "aux"))}
    missing, unexpected = googlenet.load_state_dict(kept, strict=False)
    googlenet.avgpool, googlenet.dropout, googlenet.fc = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity()
    image = torch.rand(1, 3, 64, 64)

    assert sorted(missing) == ["fc.bias", "fc.weight"]
    assert not unexpected
    assert (network.upsample.kernel_size, network.upsample.stride, network.upsample.padding) == (
        (64, 64),
        (32, 32),
        (16, 16),
    )
    with torch.inference_mode():
        features = googlenet(image).reshape(1, 1024, 2, 2)
        torch.testing.assert_close(network(image), network.upsample(features))


def test_googlenet_fcn_enlarges_in_float32_whatever_the_encoder_computes_in():
    network = build_network("googlenet_fcn", channels=1, classes=2).eval()

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.zeros(1, 1, 64, 64))

    assert logits.dtype == torch.float32


def test_googlenet_fcn_starts_with_smooth_upsampling():
    kernel = seeded("googlenet_fcn").upsample.weight[0, 0]

    # Bilinear: no jump is larger than a 32nd of the peak, which lies in the middle.
    assert kernel.abs().max() == kernel[31:33, 31:33].abs().max()
    assert kernel.diff(dim=0).abs().max() <= kernel.abs().max() / 31


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_gives_the_same_network_and_another_seed_another(architecture):
    once, again, other = (seeded(architecture, seed=seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], other[name]) for name in once)


def test_the_small_network_has_about_a_million_parameters_and_the_others_more():
    assert parameters(seeded("googlenet_unet_small")) == pytest.approx(1e6, rel=0.1)
    assert parameters(seeded("googlenet_unet")) > 5e6
    assert parameters(seeded("googlenet_fcn")) > 10e6


@pytest.mark.parametrize("architecture", ["googlenet_unet", "googlenet_unet_small"])
def test_a_unet_tells_a_pixel_from_its_neighbour(architecture):
    network = seeded(architecture)
    image = torch.rand(1, 1, 64, 64)
    other = image.clone()
    other[0, 0, 31, 31] += 1

    with torch.inference_mode():
        change = (network(other) - network(image)).abs()[0, 0, 28:36, 28:36]

    # Interpolated from half size, neighbouring changes would lie on straight lines.
    bent = (change[1:-1] - (change[:-2] + change[2:]) / 2).abs()
    assert change.min() > 0
    assert (bent > 0.01 * change.max()).float().mean() > 0.5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_learns_a_disk_in_a_few_steps(architecture):
    network = seeded(architecture).train()
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disk = ((y - 30) ** 2 + (x - 34) ** 2 < 15**2).float()[None, None]
    image = (disk + 0.2 * torch.randn(2, 1, 64, 64)).contiguous()
    target = disk.expand(2, 2, -1, -1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(25):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(image), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    with torch.no_grad():
        right = ((network(image) > 0) == (target > 0)).float().mean()
    assert right > 0.95


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_size_that_cannot_be_halved_and_doubled_is_refused(architecture):
    with pytest.raises(ValueError, match=r"an image of 64 x 100 px does not fit .* multiples of (32|8) px"):
        seeded(architecture)(torch.rand(1, 1, 64, 100))


def test_an_unknown_architecture_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no architecture is called 'unet'; .*googlenet_fcn, googlenet_unet"):
        build_network("unet", channels=1, classes=2)


@pytest.mark.parametrize(("channels", "classes"), [(0, 2), (1, 0)])
def test_a_network_without_channels_or_classes_is_refused(channels, classes):
    with pytest.raises(ValueError, match=f"channels is {channels}, classes is {classes}; both must be 1 or more"):
        build_network("googlenet_unet", channels=channels, classes=classes)
