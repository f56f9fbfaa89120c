"""Models in memory: one whose answer is known, and one that has learned nothing."""

import torch
from torch import nn

from cytolapse.cards import CLASSES
from cytolapse.models import NORMALISATION, Model
from cytolapse.networks import build_network

LINEAR = {**NORMALISATION, "log_gain": 0.0}


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


def a_model(network, architecture="googlenet_unet_small", *, pixel_size_um=None, scale=1.0, channels=1):
    of_cells = (900.0, 0.1, scale, 0.5, 0.2, 0.7, 0.0)
    return Model(network, architecture, channels, CLASSES, LINEAR, pixel_size_um, *of_cells, {"seed": 5})


def untrained(architecture="googlenet_unet_small", **of_model):
    torch.manual_seed(0)
    network = build_network(architecture, channels=of_model.get("channels", 1), classes=2).eval()
    return a_model(network, architecture, **of_model)
