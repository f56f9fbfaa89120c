"""The networks, nothing else: image in, one logit a class and pixel out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import GoogLeNet
from torchvision.models.googlenet import BasicConv2d

# Layers of torchvision's GoogLeNet, one group a scale: 1/2, 1/4, 1/8, 1/16, 1/32 of the image.
SCALES = (
    ("conv1",),
    ("maxpool1", "conv2", "conv3"),
    ("maxpool2", "inception3a", "inception3b"),
    ("maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"),
    ("maxpool4", "inception5a", "inception5b"),
)
WIDTHS = (64, 192, 480, 832, 1024)  # channels at the end of each scale


class Encoder(nn.Module):
    """GoogLeNet without its classifier, as torchvision has it.

    Parameters
    ----------
    channels : int
        Channels of the image. The first convolution is made to fit; the
        image is taken as it is (no ImageNet means).
    scales : int
        How many halvings of the image to keep, 1 to 5.

    References
    ----------
    Szegedy et al., Going deeper with convolutions, CVPR 2015. torchvision's
    version has batch normalisation, and 3 x 3 kernels where the paper has
    5 x 5.
    """

    def __init__(self, channels: int, scales: int):
        super().__init__()
        # Its own initialisation draws from a clipped normal of 0.01, too small for most layers: see initialise.
        googlenet = GoogLeNet(num_classes=1, aux_logits=False, transform_input=False, init_weights=False)
        if channels != 3:
            googlenet.conv1 = BasicConv2d(channels, 64, kernel_size=7, stride=2, padding=3)
        self.scales = SCALES[:scales]
        for name in sum(self.scales, ()):
            setattr(self, name, getattr(googlenet, name))

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        x = image  # (b, channels, y, x)
        for scale in self.scales:
            for name in scale:
                x = getattr(self, name)(x)
            features.append(x)
        # (b, 64, y/2, x/2), (b, 192, y/4, x/4), (b, 480, y/8, x/8), (b, 832, y/16, x/16), (b, 1024, y/32, x/32)
        return features


class GoogLeNetFCN(nn.Module):
    """GoogLeNet and one transposed convolution from 1/32 back to full size.

    References
    ----------
    Long, Shelhamer and Darrell, Fully convolutional networks for semantic
    segmentation, CVPR 2015 (there FCN-32s, on other encoders).
    """

    stride = 32

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.encoder = Encoder(channels, scales=5)
        self.upsample = nn.ConvTranspose2d(WIDTHS[4], classes, kernel_size=64, stride=32, padding=16)
        initialise(self)
        initialise_bilinear(self.upsample)

    def forward(self, image: Tensor) -> Tensor:
        check_size(image, self.stride)
        x = self.encoder(image)[-1]  # (b, 1024, y/32, x/32)
        # In bfloat16 a CPU takes five times as long for a kernel this large.
        with torch.autocast(x.device.type, enabled=False):
            return self.upsample(x.float())  # (b, classes, y, x)


class Step(nn.Module):
    """One step of the decoder: doubles the size and takes in a skip connection.

    Both sides are brought to `width` channels by 1 x 1 convolutions first,
    the deep one while it is still small, so that the 3 x 3 convolution is
    cheap.
    """

    def __init__(self, deep: int, skip: int, width: int):
        super().__init__()
        self.deep = nn.Conv2d(deep, width, kernel_size=1)
        self.skip = nn.Conv2d(skip, width, kernel_size=1)
        self.mix = BasicConv2d(2 * width, width, kernel_size=3, padding=1)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        x = double(self.deep(deep))  # (b, deep, y, x) -> (b, width, 2 y, 2 x)
        x = torch.cat([x, self.skip(skip)], dim=1)  # (b, 2 width, 2 y, 2 x)
        return self.mix(x)  # (b, width, 2 y, 2 x)


class Outline(nn.Module):
    """The last step, from 1/2 to full size, with the image at hand.

    A few features are brought to full size, and one 3 x 3 convolution draws
    the outline with the pixels of the image beside them. Blocks of 2 x 2 pixels
    as channels would be cheaper, but drew worse outlines (docs/method.md).
    """

    def __init__(self, channels: int, width: int, classes: int):
        super().__init__()
        few = max(16 - channels, 8)  # with the image a width that processors like
        self.reduce = nn.Conv2d(width, few, kernel_size=1)
        self.mix = BasicConv2d(few + channels, 16, kernel_size=3, padding=1)
        self.classify = nn.Conv2d(16, classes, kernel_size=1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        x = double(self.reduce(x))  # (b, width, y/2, x/2) -> (b, few, y, x)
        x = torch.cat([x, image], dim=1)  # (b, few + channels, y, x)
        return self.classify(self.mix(x))  # (b, classes, y, x)


class GoogLeNetUNet(nn.Module):
    """GoogLeNet with skip connections to a light decoder.

    References
    ----------
    Ronneberger, Fischer and Brox, U-Net, MICCAI 2015: the skip connections.
    """

    stride = 32

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.encoder = Encoder(channels, scales=5)
        self.step16 = Step(WIDTHS[4], WIDTHS[3], 256)
        self.step8 = Step(256, WIDTHS[2], 128)
        self.step4 = Step(128, WIDTHS[1], 64)
        self.step2 = Step(64, WIDTHS[0], 32)
        self.outline = Outline(channels, 32, classes)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        check_size(image, self.stride)
        half, quarter, eighth, sixteenth, x = self.encoder(image)
        x = self.step16(x, sixteenth)  # (b, 256, y/16, x/16)
        x = self.step8(x, eighth)  # (b, 128, y/8, x/8)
        x = self.step4(x, quarter)  # (b, 64, y/4, x/4)
        x = self.step2(x, half)  # (b, 32, y/2, x/2)
        return self.outline(x, image)  # (b, classes, y, x)


class GoogLeNetUNetSmall(nn.Module):
    """The upper part of googlenet_unet, down to 1/8, with about a million parameters.

    A convolution with gaps widens the view that the missing scales gave.
    """

    stride = 8

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.encoder = Encoder(channels, scales=3)
        self.context = nn.Sequential(
            BasicConv2d(WIDTHS[2], 128, kernel_size=1),
            BasicConv2d(128, 128, kernel_size=3, padding=2, dilation=2),
        )
        self.step4 = Step(128, WIDTHS[1], 64)
        self.step2 = Step(64, WIDTHS[0], 32)
        self.outline = Outline(channels, 32, classes)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        check_size(image, self.stride)
        half, quarter, eighth = self.encoder(image)
        x = self.context(eighth)  # (b, 128, y/8, x/8)
        x = self.step4(x, quarter)  # (b, 64, y/4, x/4)
        x = self.step2(x, half)  # (b, 32, y/2, x/2)
        return self.outline(x, image)  # (b, classes, y, x)


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "googlenet_fcn": GoogLeNetFCN,
    "googlenet_unet": GoogLeNetUNet,
    "googlenet_unet_small": GoogLeNetUNetSmall,
}


def build_network(architecture: str, *, channels: int, classes: int) -> nn.Module:
    """A network with random weights, ready to be trained.

    The weights are drawn from torch's own generator: after the same
    `torch.manual_seed` they are the same.

    Parameters
    ----------
    architecture : str
        One of ARCHITECTURES.
    channels : int
        Channels of the image, 1 or more.
    classes : int
        Classes to tell apart, 1 or more.

    Returns
    -------
    nn.Module
        Maps an image of shape (b, channels, y, x) to logits of shape
        (b, classes, y, x). y and x are multiples of its attribute `stride`.

    Raises
    ------
    ValueError
        If there is no such architecture, or fewer than one channel or class.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"no architecture is called {architecture!r}; the architectures are {', '.join(ARCHITECTURES)}"
        )
    if channels < 1 or classes < 1:
        raise ValueError(f"{architecture}: channels is {channels}, classes is {classes}; both must be 1 or more")
    return ARCHITECTURES[architecture](channels, classes)


def double(x: Tensor) -> Tensor:
    """Twice the size by bilinear interpolation: (b, c, y, x) -> (b, c, 2 y, 2 x)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def check_size(image: Tensor, stride: int) -> None:
    """Refuse an image whose sides the network cannot halve and double again.

    Raises
    ------
    ValueError
        If a side is not a multiple of `stride`.
    """
    if torch.jit.is_tracing():
        return
    height, width = image.shape[-2:]
    if height % stride or width % stride:
        raise ValueError(
            f"an image of {height} x {width} px does not fit the network: both sides must be multiples of {stride} px"
        )


def initialise(network: nn.Module) -> None:
    """Draw every convolution so that the spread of values is kept (He et al. 2015)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise_bilinear(layer: nn.ConvTranspose2d) -> None:
    """Start as a random 1 x 1 convolution followed by bilinear interpolation.

    Drawn pixel by pixel, a kernel this large starts as noise of a period of
    `stride` px, which training then has to undo.
    """
    size, stride = layer.kernel_size[0], layer.stride[0]
    distance = (torch.arange(size) - (size - 1) / 2).abs()
    ramp = (1 - distance / stride).clamp(min=0)
    mix = torch.empty(*layer.weight.shape[:2], 1, 1)  # (in, out, 1, 1)
    nn.init.normal_(mix, std=layer.in_channels**-0.5)
    with torch.no_grad():
        layer.weight.copy_(mix * ramp[:, None] * ramp[None, :])
        nn.init.zeros_(layer.bias)
