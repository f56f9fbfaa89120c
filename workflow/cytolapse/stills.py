"""Annotated images as networks learn from them and are shown them, and what networks answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cytolapse.annotations import Annotation
from cytolapse.arithmetic import autocast, choose_precision, reproducible
from cytolapse.models import NORMALISATION, compress, normalisation_limits, normalise
from cytolapse.progress import Progress
from cytolapse.scaling import resize_images, resize_labels, scaled_shape


class Still(NamedTuple):
    """An annotated image as large as the network sees it: image (channels, y, x) normalised, linear in light."""

    image: np.ndarray
    labels: np.ndarray


def scaled_still(annotation: Annotation, channels: int, scale: float) -> Still:
    """An annotated image as networks learn from it: normalised, at their scale, its cells numbered without gaps.

    Parameters
    ----------
    annotation : Annotation
    channels : int
        Channels that the network takes.
    scale : float
        Factor to enlarge the image by.
    """
    shape = scaled_shape(annotation.labels.shape, scale)
    image = resize_images(_normalised(annotation, channels, NORMALISATION)[None], shape)[0].numpy()
    return Still(image, resize_labels(_in_order(annotation.labels), shape))


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Cells numbered 1 to n: ids may be as large as colours, and time goes with the largest."""
    numbers, inverse = np.unique(labels, return_inverse=True)
    order = np.where(numbers > 0, np.cumsum(numbers > 0), numbers)
    return order[inverse].reshape(labels.shape).astype(np.int32)


def prepare_still(annotation: Annotation, channels: int, normalisation: Mapping[str, Any], scale: float) -> np.ndarray:
    """The image of an annotation as a network sees it.

    It is normalised by its own limits, one channel at a time, resized and
    compressed.

    Returns
    -------
    float32 array of shape (channels, y, x)
        Enlarged by `scale`.

    Raises
    ------
    ValueError
        If the image has another number of channels.
    """
    light = _normalised(annotation, channels, normalisation)[None]
    return compress(resize_images(light, scaled_shape(annotation.labels.shape, scale))[0], normalisation).numpy()


def _normalised(annotation: Annotation, channels: int, normalisation: Mapping[str, Any]) -> Tensor:
    image = annotation.image if annotation.image.ndim == 3 else annotation.image[None]
    if len(image) != channels:
        wanted = "one plane (y, x)" if channels == 1 else f"{channels} planes (channel, y, x)"
        raise ValueError(
            f"annotation {annotation.name}: image of shape {annotation.image.shape}; the model takes {wanted} "
            "(channels of the model in config.yaml)"
        )
    planes = [normalise(plane, normalisation_limits([plane], normalisation), normalisation) for plane in image]
    return torch.from_numpy(np.stack(planes))


def predict_still(
    network: nn.Module,
    image: np.ndarray,
    *,
    shape: tuple[int, int],
    device: torch.device,
    precision: torch.dtype,
) -> np.ndarray:
    """Probabilities of one image, as the pipeline stores them.

    Parameters
    ----------
    network : nn.Module
        On `device`, in evaluation mode.
    image : float32 array of shape (channels, y, x)
        From `prepare_still`.
    shape : (int, int)
        Rows and columns of the image as annotated.

    Returns
    -------
    uint8 array of shape (classes, *shape)
        255 is a probability of 1.
    """
    height, width = image.shape[1:]
    # mirrored up to the next multiple of the stride, also by more than the image's own size
    beyond = [(0, 0), *((0, -side % network.stride) for side in (height, width))]
    padded = np.pad(image, beyond, mode="symmetric")
    tensor = torch.from_numpy(padded)[None].to(device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(device, precision):
        probability = torch.sigmoid(network(tensor).float())[..., :height, :width]
        probability = resize_images(probability, shape)[0].clamp_(0, 1)
    return torch.round(255 * probability).to(torch.uint8).cpu().numpy()


def predict_stills(
    network: nn.Module, annotations: Sequence[Annotation], progress: Progress | None, settings: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    """Probabilities of annotated images, one after another.

    Parameters
    ----------
    network : nn.Module
    annotations : sequence of Annotation
    progress : Progress or None
        Told of the time that each takes.
    settings : mapping
        Of a training: channels, scale, precision, seed and threads.

    Yields
    ------
    uint8 array of shape (classes, y, x)
        255 is a probability of 1.
    """
    device = next(network.parameters()).device
    precision = choose_precision(settings["precision"], device)
    for each in annotations:
        image = prepare_still(each, settings["channels"], NORMALISATION, settings["scale"])
        timed = progress.timed("predict", each.labels.size) if progress else nullcontext()
        # as many threads as in training: sums in another order could tip a pixel over
        with timed, reproducible(settings["seed"], settings["threads"]):
            probability = predict_still(network, image, shape=each.labels.shape, device=device, precision=precision)
        yield probability
