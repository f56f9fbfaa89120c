"""The model file and the network that it holds.

A model is a safetensors file: the tensors, and one entry of metadata (JSON)
with everything that prediction needs and where the model came from. Beside it
lies model.json with what other rules may depend on.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cytolapse.cards import CHOSEN, check_card
from cytolapse.files import atomic_path
from cytolapse.networks import ARCHITECTURES, build_network

FORMAT = "1"
# From 0 (the darkest 1 %) to 1 (the brightest 0.2 %); beyond that a cell in mitosis or a speck of dirt is cut off.
# The logarithm then lifts cells that express little: one of 3 % of the brightest is shown at 15 %.
NORMALISATION = {"kind": "percentile", "low": 1.0, "high": 99.8, "clip": [-1.0, 4.0], "log_gain": 20.0}

# One entry holds all: safetensors writes several in an order that changes from run to run.
ENTRY = "cytolapse"
KEYS = (
    "format",
    "architecture",
    "channels",
    "classes",
    "normalisation",
    "pixel_size_um",
    "cell_area_px",
    "small_part",
    "scale",
    *CHOSEN,
    "trained",
    "digest",
)
SAMPLES = 1 << 18  # pixels of one plane that are enough for a percentile


@dataclass
class Model:
    """A network and what is needed to use it.

    Attributes
    ----------
    network : nn.Module
        Maps (b, channels, y, x), normalised, to logits (b, classes, y, x).
    architecture : str
        One of `networks.ARCHITECTURES`.
    channels : int
        Channels of the image that the network takes.
    classes : tuple of str
        What each channel of the output is a probability of.
    normalisation : dict
        How images are scaled: 'kind' ('percentile'), the percentiles 'low'
        and 'high' that become 0 and 1, and 'clip', the limits after scaling.
    pixel_size_um : float or None
        Pixel size that the model was trained at; None where not known.
    cell_area_px : float
        Median area of the cells that it learned from, in the pixels of their images.
    small_part : float
        Area below which a cell is small, over `cell_area_px` (`judgement.part_of_small`).
    scale : float
        Size at which the network saw those images, over their own.
    threshold, split_depth, split_neck, min_confidence : float
        `CHOSEN`, as in `labeling.label_cells`.
    trained : dict
        Where the model came from: digest of the annotations, seed, steps,
        settings, model it started from, metrics. Must fit into JSON.
    """

    network: nn.Module
    architecture: str
    channels: int
    classes: tuple[str, ...]
    normalisation: dict[str, Any]
    pixel_size_um: float | None
    cell_area_px: float
    small_part: float
    scale: float
    threshold: float
    split_depth: float
    split_neck: float
    min_confidence: float
    trained: dict[str, Any] = field(default_factory=dict)


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """Digest of a network's tensors: of names, types, shapes and values.

    Floating-point tensors are taken as float32, so that a file that stores
    them as float16 has the digest of the network that is loaded from it. The
    order of the tensors and their layout in memory do not matter.

    Parameters
    ----------
    state_dict : mapping of str to tensor

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()


def save_model(model: Model, weights_path: str | os.PathLike, json_path: str | os.PathLike, *, half: bool) -> str:
    """Write the model file and model.json, whole or not at all.

    Parameters
    ----------
    model : Model
        What to write.
    weights_path : path
        The model file (safetensors).
    json_path : path
        model.json: digest, architecture, channels, classes, normalisation,
        what training chose, pixel size, area of a usual cell and of a small one,
        scale and metrics. It
        holds no times and no versions: the same weights give the same file.
    half : bool
        Store the convolutions as float16, half the size, for a file that
        ships with the code. The digest is that of the rounded values.

    Returns
    -------
    str
        Digest of the weights as they will be loaded.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    if half:
        # The statistics of batch normalisation are one number a channel: nothing to gain, and float16 can overflow.
        tensors = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    digest = weights_digest(tensors)
    described = {
        "architecture": model.architecture,
        "channels": model.channels,
        "classes": list(model.classes),
        "normalisation": model.normalisation,
        "pixel_size_um": model.pixel_size_um,
        "cell_area_px": model.cell_area_px,
        "small_part": model.small_part,
        "scale": model.scale,
        **{name: getattr(model, name) for name in CHOSEN},
    }
    metadata = {"format": FORMAT, **described, "trained": model.trained, "digest": digest}
    with atomic_path(weights_path) as temporary:
        # save_file makes a file that only its owner may read; others of the lab need the model too.
        temporary.write_bytes(save(tensors, metadata={ENTRY: json.dumps(metadata, sort_keys=True)}))
    summary = {"digest": digest, **described, "metrics": model.trained.get("metrics", {})}
    with atomic_path(json_path) as temporary:
        temporary.write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    return digest


def load_model(weights_path: str | os.PathLike) -> Model:
    """Read a model file and build its network, in evaluation mode, as float32.

    Parameters
    ----------
    weights_path : path
        A file that `save_model` wrote.

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not safetensors, lacks a key or holds a value that no
        model has, names an architecture that this version does not have, or
        holds tensors that do not fit it or are not those that were saved.
    """
    if not os.path.isfile(weights_path):
        raise FileNotFoundError(
            f"model {weights_path}: there is no such file; name a model file under models: in config.yaml (weights), "
            "or give annotations to train from"
        )
    metadata, tensors = _read(weights_path)
    if metadata["architecture"] not in ARCHITECTURES:
        raise ValueError(
            f"model {weights_path}: architecture is {metadata['architecture']!r}, this version of Cytolapse has "
            f"{', '.join(ARCHITECTURES)}; use the version that made the model, or train it again"
        )
    classes = tuple(metadata["classes"])
    network = build_network(metadata["architecture"], channels=metadata["channels"], classes=len(classes))
    _check_fit(weights_path, metadata, tensors, network.state_dict())
    digest = weights_digest(tensors)
    if digest != metadata["digest"]:
        raise ValueError(
            f"model {weights_path}: key 'digest' is {metadata['digest']}, the tensors have {digest}; "
            "the file was changed or damaged after it was written: copy it again from where it came"
        )
    network.load_state_dict(tensors)
    return Model(
        network=network.eval(),
        architecture=metadata["architecture"],
        channels=metadata["channels"],
        classes=classes,
        normalisation=metadata["normalisation"],
        pixel_size_um=metadata["pixel_size_um"],
        cell_area_px=metadata["cell_area_px"],
        small_part=metadata["small_part"],
        scale=metadata["scale"],
        **{name: metadata[name] for name in CHOSEN},
        trained=metadata["trained"],
    )


def _read(weights_path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Tensor]]:
    remedy = "give a model file that Cytolapse wrote (models/NAME/weights.safetensors)"
    try:
        with safe_open(weights_path, framework="pt") as file:
            entries = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"model {weights_path}: not a safetensors file ({error}); {remedy}") from error
    if ENTRY not in entries:
        raise ValueError(
            f"model {weights_path}: its metadata has no key {ENTRY!r} (found: {', '.join(entries) or 'none'}); {remedy}"
        )
    try:
        metadata = json.loads(entries[ENTRY])
    # Brackets may be nested deeper than Python can follow.
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"model {weights_path}: key {ENTRY!r} of its metadata is not JSON ({error}); {remedy}"
        ) from error
    check_card(f"model {weights_path}", metadata, KEYS)
    if metadata["format"] != FORMAT:
        raise ValueError(
            f"model {weights_path}: key 'format' is {metadata['format']!r}, this version of Cytolapse reads "
            f"{FORMAT!r}; use the version that made the model, or train it again"
        )
    return metadata, tensors


def _check_fit(
    weights_path: str | os.PathLike,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
) -> None:
    for name in sorted({*tensors, *wanted}):
        found = list(tensors[name].shape) if name in tensors else "missing"
        fits = list(wanted[name].shape) if name in wanted else "none of that name"
        if found != fits:
            raise ValueError(
                f"model {weights_path}: tensor {name!r} is {found}, {metadata['architecture']} with "
                f"{metadata['channels']} channels and classes {', '.join(metadata['classes'])} wants {fits}; "
                "use the version of Cytolapse that made the model, or train it again"
            )


def normalisation_limits(planes: Iterable[np.ndarray], normalisation: Mapping[str, Any]) -> tuple[float, float]:
    """The grey values that become 0 and 1, from planes of one movie pooled.

    One pair for the whole movie: scaled one by one, a dark frame would be
    treated unlike its neighbours.

    Parameters
    ----------
    planes : iterable of arrays of shape (y, x)
        Planes sampled evenly over the movie; a still in training is its own
        sample. Of a large plane every n-th pixel is taken. Pixels that are
        not numbers do not count.
    normalisation : mapping
        Of the model: 'low' and 'high' (percentiles).

    Returns
    -------
    (float, float)
        Low and high, with low < high also for a movie of one grey value.

    Raises
    ------
    ValueError
        If no pixel is a number.
    """
    samples = [_sample(plane) for plane in planes]
    pooled = np.concatenate(samples) if samples else np.empty(0, np.float32)
    if not pooled.size:
        raise ValueError("no pixel to take the limits of the grey values from: no plane, or none with a number in it")
    low, high = np.percentile(pooled, [normalisation["low"], normalisation["high"]])
    return float(low), float(max(high, np.nextafter(np.float32(low), np.float32(np.inf))))


def _sample(plane: np.ndarray) -> np.ndarray:
    step = max(1, int(np.ceil(np.sqrt(plane.size / SAMPLES))))
    sample = plane[::step, ::step].ravel().astype(np.float32)
    return sample[np.isfinite(sample)]


def normalise(image: np.ndarray, limits: tuple[float, float], normalisation: Mapping[str, Any]) -> np.ndarray:
    """The image with the limits at 0 and 1, cut off at the model's clip.

    Parameters
    ----------
    image : array of shape (..., y, x)
        Grey values of any type.
    limits : (float, float)
        From `normalisation_limits`.
    normalisation : mapping
        Of the model: 'clip', the smallest and largest value to return.

    Returns
    -------
    array of float32, of the same shape
        A pixel that is not a number becomes 0.
    """
    low, high = limits
    scaled = image.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    np.clip(scaled, *normalisation["clip"], out=scaled)
    if image.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0.0)
    return scaled


def compress(image: Tensor, normalisation: Mapping[str, Any]) -> Tensor:
    """A normalised image with its dark parts lifted, as the network is shown it.

    x becomes sign(x) log(1 + g |x|) / log(1 + g): 0 and 1 stay. It follows
    resampling, which is to average light and not its logarithm.

    Parameters
    ----------
    image : Tensor of any shape
        From `normalise`.
    normalisation : mapping
        Of the model: 'log_gain' g; 0, or none, leaves the image as it is.
    """
    gain = normalisation.get("log_gain", 0.0)
    if not gain:
        return image
    return image.sign() * (gain * image.abs()).log1p_().div_(math.log1p(gain))
