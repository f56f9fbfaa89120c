"""Frames -> probabilities of cell and edge for every pixel.

Frames are read, computed and written at the same time, each in a thread of
its own and a few frames ahead at most: memory does not grow with the movie.
"""

import copy
import json
import logging
import math
import os
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.googlenet import BasicConv2d
from tqdm import tqdm

from cytolapse.models import Model, load_model, normalisation_limits, normalise, weights_digest
from cytolapse.movies import Movie, open_movie, write_stack

log = logging.getLogger(__name__)

T = TypeVar("T")

DRIVER_FILE = Path("/proc/driver/nvidia/version")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAMPLED_FRAMES = 16  # for the limits of the grey values
TRIAL_PX = 512  # side of the tile that is timed
# The quicker arithmetic must be this much quicker: two runs should not choose differently by chance.
WORTHWHILE = 1.2
# A model is no better at its own scale than at one this near, and resampling blurs.
SAME_SCALE = 1.05
BIG_RESAMPLING = 2.0


def segment_movie(
    movie_json: str | os.PathLike,
    weights: str | os.PathLike,
    probability_path: str | os.PathLike,
    *,
    device: str,
    batch_frames: int,
    tile_px: int,
    overlap_px: int,
    precision: str,
    resample: bool,
    pixel_size_um: float | None,
    threads: int,
    provenance: dict | None,
) -> None:
    """Segment every frame of a movie: movie.json and model to probability.tif.

    A plane that was not acquired gives pages of 0. A refused movie gives one
    page of one pixel.

    Parameters
    ----------
    movie_json : path
        What inspect found.
    weights : path
        Model file.
    probability_path : path
        Stack (t, classes, y, x) to write, uint8, 255 is a probability of 1.
    device, precision, batch_frames, tile_px, overlap_px
        As in `Predictor`.
    resample : bool
        Show the network the image at the pixel size that it was trained at,
        where that and the movie's are known; the probabilities are brought
        back to the movie's own pixels.
    pixel_size_um : float or None
        As stated in experiments.tsv; None takes the file's.
    threads : int
        Threads that torch may use on a CPU.
    provenance : dict or None
        Record of this stage. Digest of the model, device, precision and seed
        are added, and it is kept in the description of the stack.

    Raises
    ------
    ValueError
        If the model takes more than one channel, or cannot be read.
    RuntimeError
        If CUDA is asked for and cannot be used, or GPU memory does not
        suffice for a single tile.
    """
    with open(movie_json) as file:
        info = json.load(file)
    if info["status"] == "refused":
        _write_nothing(probability_path, provenance)
        return
    chosen = choose_device(device)
    model = load_model(weights)
    if model.channels != 1:
        raise ValueError(
            f"model {weights}: takes images of {model.channels} channels, a movie is segmented by one "
            "(segment_channel in config/experiments.tsv); train a model on images of one channel"
        )
    torch.set_num_threads(threads)
    size_um = info["pixel_size_um"] if pixel_size_um is None else pixel_size_um
    predictor = Predictor(
        model,
        device=chosen,
        precision=choose_precision(precision, model, chosen),
        batch_frames=batch_frames,
        tile_px=tile_px,
        overlap_px=overlap_px,
        scale=resampling_scale(size_um, model.pixel_size_um) if resample else 1.0,
    )
    facts = {
        "model_digest": weights_digest(model.network.state_dict()),
        "device": device_name(chosen),
        "precision": str(predictor.precision).removeprefix("torch."),
        "seed": model.trained.get("seed"),
    }
    log.info("%s: model %s, %s in %s", info["path"], facts["model_digest"], facts["device"], facts["precision"])
    clock = Clock()
    with open_movie(info) as movie:
        together, classes = predictor.frames_at_once(movie.shape), len(model.classes)
        batches = _read_batches(movie, info, model.normalisation, together)
        with (
            ahead(batches, depth=1) as images,
            ahead(_pages(images, predictor, movie, classes, clock), depth=2 * classes * together) as pages,
        ):
            write_stack(
                probability_path,
                pages,
                shape=(movie.frames, classes, *movie.shape),
                dtype=np.uint8,
                pixel_size_um=size_um,
                frame_interval_min=info["frame_interval_min"],
                axes="TCYX",
                description={"segment": {**provenance, **facts}} if provenance is not None else {"segment": facts},
            )
    clock.report(info["path"], movie.frames)


def _write_nothing(probability_path: str | os.PathLike, provenance: dict | None) -> None:
    write_stack(
        probability_path,
        [np.zeros((1, 1), np.uint8)],
        shape=(1, 1, 1),
        dtype=np.uint8,
        pixel_size_um=None,
        frame_interval_min=None,
        axes="TYX",
        description={"segment": provenance} if provenance is not None else None,
    )


def choose_device(device: str) -> torch.device:
    """The device to compute on; 'auto' takes a GPU that can be used, else the CPU.

    Parameters
    ----------
    device : {'auto', 'cuda', 'cpu'}

    Raises
    ------
    ValueError
        If the name is none of these.
    RuntimeError
        If CUDA is asked for and cannot be used: which of build, driver and
        card is at fault, and what to do.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise ValueError(f"device is {device!r}; wanted auto, cuda or cpu")
    if device == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    if problem is None:
        return torch.device("cuda")
    if device == "cuda":
        raise RuntimeError(f"device is cuda, but {problem}; or set device to cpu in config.yaml")
    log.warning("device is auto, the CPU computes: %s", problem)
    return torch.device("cpu")


def cuda_problem() -> str | None:
    """Why CUDA cannot be used and what to do about it; None where it can be used."""
    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return f"{build} is built without CUDA; install the packages pinned in envs/requirements.txt"
    build = f"{build} (CUDA {torch.version.cuda})"
    try:
        torch.cuda.init()
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        return (
            f"{build} finds no GPU that it can use: {said} (driver {driver_version()}, "
            f"CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}); run the job on a partition "
            "with GPUs and ask for one, or have the driver installed or updated"
        )
    built_for = torch.cuda.get_arch_list()
    if not _serves(built_for, capability):
        return (
            f"the GPU {name} has compute capability {capability[0]}.{capability[1]}, and {build} serves "
            f"{', '.join(built_for)} (driver {driver_version()}); choose a newer card (constraint in the profile), "
            "or install a torch that was built for this one"
        )
    try:
        torch.zeros(1, device="cuda").add_(1).cpu()
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        return (
            f"the GPU {name} (compute capability {capability[0]}.{capability[1]}, driver {driver_version()}, {build}) "
            f"does not compute: {said}; see with nvidia-smi whether it is broken or taken, and update the driver"
        )
    return None


def _serves(built_for: Sequence[str], capability: tuple[int, int]) -> bool:
    """Machine code runs on cards of the same generation and later; code to be compiled (compute_) on any later one."""
    for architecture in built_for:
        kind, number = re.match(r"(\w+)_(\d+)", architecture).groups()
        major, minor = divmod(int(number), 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= tuple(capability):
            return True
    return False


def driver_version() -> str:
    """Version of the NVIDIA driver, or 'not found'."""
    try:
        found = re.search(r"Module\s.*?(\d+\.[\d.]+)", DRIVER_FILE.read_text())
    except OSError:
        found = None
    return found.group(1) if found else "not found"


def device_name(device: torch.device) -> str:
    """What the tables say of a device: 'cpu', or 'cuda' and the card."""
    return f"cuda ({torch.cuda.get_device_name()})" if device.type == "cuda" else "cpu"


def choose_precision(precision: str, model: Model, device: torch.device) -> torch.dtype:
    """The arithmetic to run the network in; 'auto' takes the quickest that keeps the result.

    On a GPU that is bfloat16, or float16 where the card has no bfloat16. On a
    CPU that has bfloat16 it is timed against float32 on one tile: it helps one
    network and hurts another, by the processor. Results differ by about one
    step of the 255 that are stored.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bfloat16', 'float16'}
    model : Model
    device : torch.device

    Raises
    ------
    ValueError
        If the name is none of these.
    """
    if precision not in ("auto", *DTYPES):
        raise ValueError(f"precision is {precision!r}; wanted auto, {', '.join(DTYPES)}")
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if not any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        log.info("precision is auto: float32, this processor has no bfloat16")
        return torch.float32
    return _quickest(model)


def _quickest(model: Model) -> torch.dtype:
    network = folded(model.network)
    side = round_up(TRIAL_PX, network.stride)
    tile = torch.rand(1, model.channels, side, side, generator=torch.Generator().manual_seed(0))
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        # The first run prepares, and is not timed.
        seconds[dtype] = min([_seconds(network, tile, dtype) for _ in range(4)][1:])
    slow, quick = seconds.values()
    chosen = torch.bfloat16 if slow > WORTHWHILE * quick else torch.float32
    log.info("precision is auto: %s (a tile takes %.3f s in float32, %.3f s in bfloat16)", chosen, slow, quick)
    return chosen


def _seconds(network: nn.Module, tile: Tensor, dtype: torch.dtype) -> float:
    start = time.perf_counter()
    forward(network, tile, dtype)
    return time.perf_counter() - start


def folded(network: nn.Module) -> nn.Module:
    """A copy for prediction: batch normalisation inside the convolutions, channels last.

    The same results but for rounding, in about five sixths of the time.
    """
    network = copy.deepcopy(network).eval()
    for block in network.modules():
        if isinstance(block, BasicConv2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.bn)
            block.bn = nn.Identity()
    return network.to(memory_format=torch.channels_last).requires_grad_(False)


def forward(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Tensor:
    """Probabilities of a batch: (b, channels, y, x) -> (b, classes, y, x), float32.

    Raises
    ------
    RuntimeError
        If the network gives values that are not numbers.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(images.device.type, dtype=dtype, enabled=dtype != torch.float32):
        logits = network(images).float()
    if not torch.isfinite(logits).all():
        name = str(dtype).removeprefix("torch.")
        raise RuntimeError(
            f"the network gives values that are not numbers in {name}; "
            + ("the model is broken: train it again" if name == "float32" else "set precision to float32")
        )
    return torch.sigmoid(logits)


def resampling_scale(movie_um: float | None, model_um: float | None) -> float:
    """By what factor to enlarge the frames to show them at the model's scale.

    Parameters
    ----------
    movie_um, model_um : float or None
        Pixel sizes, in micrometres.

    Returns
    -------
    float
        1 where a pixel size is not known, or where the two are alike.
    """
    if movie_um is None or model_um is None:
        log.warning(
            "resample is on, but the pixel size of the %s is not known: the frames are taken as they are",
            "movie" if movie_um is None else "model",
        )
        return 1.0
    scale = movie_um / model_um
    if 1 / SAME_SCALE <= scale <= SAME_SCALE:
        return 1.0
    text = "the frames (%.4g um/px) are resampled by %.3g to the scale of the model (%.4g um/px)"
    if 1 / BIG_RESAMPLING <= scale <= BIG_RESAMPLING:
        log.info(text, movie_um, scale, model_um)
    else:
        log.warning(text + ": so large a factor costs accuracy; train on images like these", movie_um, scale, model_um)
    return scale


class Tile(NamedTuple):
    """A part of frame `image`: rows from y to y + height, columns from x to x + width."""

    image: int
    y: int
    x: int
    height: int
    width: int


class Predictor:
    """A network made ready for one device: images of any size in, probabilities out.

    A frame is mirrored at the bottom and right up to a multiple of the
    network's stride, never resized to fit. One larger than `tile_px` is cut
    into tiles that overlap; a quarter of the overlap at either side is thrown
    away and the rest passes smoothly from one tile to the next.

    Parameters
    ----------
    model : Model
    device : torch.device
    precision : torch.dtype
        float32, or what the network is cast to by autocast.
    batch_frames : int
        Frames, or tiles of one frame, that the network sees at once. Halved
        when GPU memory runs out. On a CPU they go one by one, which is as
        quick.
    tile_px : int
        Largest side of a tile.
    overlap_px : int
        Overlap of neighbouring tiles.
    scale : float
        Factor to enlarge an image by for the network.

    Attributes
    ----------
    batch : int
        Frames or tiles that the network sees at once, after all halvings.
    device, precision
        As given.

    Raises
    ------
    ValueError
        If the overlap leaves nothing of a tile.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device,
        precision: torch.dtype,
        batch_frames: int,
        tile_px: int,
        overlap_px: int,
        scale: float,
    ):
        stride = model.network.stride
        self._tile_px, self._overlap_px = (round_up(length, stride) for length in (tile_px, overlap_px))
        if self._tile_px < 2 * self._overlap_px or tile_px < 1:
            raise ValueError(
                f"tile_px is {tile_px}, overlap_px is {overlap_px}; a tile must be at least twice its overlap, "
                f"both rounded up to a multiple of {stride}"
            )
        self.device = device
        self.precision = precision
        self._network = folded(model.network).to(device)
        self._classes = len(model.classes)
        self._stride = stride
        self._scale = scale
        self.batch = batch_frames if device.type == "cuda" else 1
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = True

    def frames_at_once(self, shape: tuple[int, int]) -> int:
        """Frames of a shape to hand over together: one where a frame is cut into tiles."""
        tiles = self._tiles(1, *self._padded(self._scaled(shape)))
        return self.batch if len(tiles) == 1 else 1

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities, as they are stored.

        Parameters
        ----------
        images : float32 array of shape (n, y, x)
            Normalised.

        Returns
        -------
        uint8 array of shape (n, classes, y, x)
            255 is a probability of 1.
        """
        with torch.inference_mode():
            # Made bytes on the device: a quarter of the data to carry over.
            return (255 * self.probabilities(images)).round_().to(torch.uint8).cpu().numpy()

    def probabilities(self, images: np.ndarray) -> Tensor:
        """Probabilities on the device, shape (n, classes, y, x), float32, from 0 to 1.

        Parameters
        ----------
        images : float32 array of shape (n, y, x)
            Normalised.

        Raises
        ------
        RuntimeError
            If GPU memory does not suffice for a single tile.
        """
        shape = images.shape[1:]
        with torch.inference_mode():
            x = self._send(images)[:, None]  # (n, 1, y, x)
            scaled = self._scaled(shape)
            if scaled != shape:
                x = _resized(x, scaled)  # (n, 1, y', x')
            x = _mirrored(x, self._padded(scaled))  # (n, 1, y'', x''), multiples of the stride
            x = self._tiled(x)[..., : scaled[0], : scaled[1]]  # (n, classes, y', x')
            return _resized(x, shape).clamp_(0, 1) if scaled != shape else x

    def _send(self, images: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(images)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def _scaled(self, shape: tuple[int, int]) -> tuple[int, int]:
        return tuple(max(1, round(side * self._scale)) for side in shape)

    def _padded(self, shape: tuple[int, int]) -> tuple[int, int]:
        return tuple(round_up(side, self._stride) for side in shape)

    def _tiles(self, images: int, height: int, width: int) -> list[Tile]:
        (tile_height, ys), (tile_width, xs) = (
            plan_tiles(side, self._tile_px, self._overlap_px, self._stride) for side in (height, width)
        )
        return [Tile(image, y, x, tile_height, tile_width) for image in range(images) for y in ys for x in xs]

    def _tiled(self, x: Tensor) -> Tensor:
        images, _, height, width = x.shape
        tiles = self._tiles(images, height, width)
        if len(tiles) == images:
            return torch.cat([found for _, found in self._halving(x, tiles)])
        shares = {
            "y": tile_shares(height, self._tile_px, self._overlap_px, self._stride),
            "x": tile_shares(width, self._tile_px, self._overlap_px, self._stride),
        }
        whole = torch.zeros(images, self._classes, height, width, device=x.device)
        for chunk, found in self._halving(x, tiles):
            for tile, part in zip(chunk, found, strict=True):
                share = np.outer(shares["y"][tile.y], shares["x"][tile.x])
                window = whole[tile.image, :, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
                window += part * torch.from_numpy(share).to(x.device)
        return whole

    def _halving(self, x: Tensor, tiles: list[Tile]) -> Iterator[tuple[list[Tile], Tensor]]:
        """Tiles and their probabilities, as many at a time as GPU memory holds."""
        done = 0
        while done < len(tiles):
            chunk = tiles[done : done + self.batch]
            found = self._attempt(x, chunk)
            if found is None:
                torch.cuda.empty_cache()
                self.batch //= 2
                log.warning("GPU memory ran out: goes on with %d frames or tiles at once", self.batch)
                continue
            yield chunk, found
            done += len(chunk)

    def _attempt(self, x: Tensor, chunk: list[Tile]) -> Tensor | None:
        """Probabilities of some tiles; None where memory ran out and fewer may fit."""
        parts = [x[t.image, :, t.y : t.y + t.height, t.x : t.x + t.width] for t in chunk]
        if x.device.type == "cuda":
            # cudnn looks for its quickest way anew for every size of a batch, which costs more than the blanks.
            parts += [parts[-1]] * (self.batch - len(parts))
        try:
            return forward(self._network, torch.stack(parts), self.precision)[: len(chunk)]
        except RuntimeError as error:
            if not _memory_ran_out(error):
                raise
            if self.batch == 1:
                raise RuntimeError(
                    f"GPU memory does not suffice for one tile of {chunk[0].height} x {chunk[0].width} px; lower "
                    "tile_px (segment in config.yaml), or ask for a GPU with more memory"
                ) from error
        return None


def _memory_ran_out(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)


def _resized(x: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=shape, mode="bilinear", align_corners=False, antialias=True)


def _mirrored(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Continue at the bottom and right as in a mirror, also by more than the image's own size."""
    for axis, side in zip((-2, -1), shape, strict=True):
        own = x.shape[axis]
        if side > own:
            index = np.pad(np.arange(own), (0, side - own), mode="symmetric")
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def plan_tiles(side_px: int, tile_px: int, overlap_px: int, stride: int) -> tuple[int, list[int]]:
    """Length of the tiles along one axis, and where they begin.

    As few tiles as can be and no longer than need be, so that little is
    computed twice. All begin at multiples of the network's stride: off these
    the network halves other pixels together and gives slightly other values.

    Parameters
    ----------
    side_px, tile_px, overlap_px : int
        Multiples of `stride`, tile_px at least twice overlap_px.
    stride : int
        Of the network.

    Returns
    -------
    (int, list of int)
        Neighbours overlap by overlap_px, the last one by what is left over.
    """
    if side_px <= tile_px:
        return side_px, [0]
    tiles = math.ceil((side_px - overlap_px) / (tile_px - overlap_px))
    length = round_up(math.ceil((side_px + (tiles - 1) * overlap_px) / tiles), stride)
    return length, [min(tile * (length - overlap_px), side_px - length) for tile in range(tiles)]


def round_up(length_px: int, stride: int) -> int:
    """The next multiple of the network's stride."""
    return -(-length_px // stride) * stride


def tile_shares(side_px: int, tile_px: int, overlap_px: int, stride: int) -> dict[int, np.ndarray]:
    """How much each tile of one axis counts at each of its pixels.

    Nothing in the outer quarter of the overlap, all beyond three quarters of
    it, a straight line between; the shares of all tiles add up to 1 at every
    pixel. The edge of the frame is no edge of a tile.

    Parameters
    ----------
    side_px, tile_px, overlap_px, stride : int
        As in `plan_tiles`.

    Returns
    -------
    dict of int to float32 array, as long as a tile
        By where the tile begins.
    """
    length, starts = plan_tiles(side_px, tile_px, overlap_px, stride)
    inside = np.arange(length) + 0.5
    raw, total = {}, np.zeros(side_px)
    for start in starts:
        far = np.full(length, float(side_px))
        if start > 0:
            far = np.minimum(far, inside)
        if start + length < side_px:
            far = np.minimum(far, length - inside)
        raw[start] = np.clip((far - overlap_px / 4) / max(overlap_px / 2, 1e-9), 0, 1)
        total[start : start + length] += raw[start]
    return {start: (share / total[start : start + length]).astype(np.float32) for start, share in raw.items()}


def predict(
    model: Model, image: np.ndarray, *, device: torch.device, precision: torch.dtype, tile_px: int, overlap_px: int
) -> np.ndarray:
    """Probabilities of one image.

    Parameters
    ----------
    model : Model
    image : float32 array of shape (y, x)
        Normalised.
    device, precision, tile_px, overlap_px
        As in `Predictor`.

    Returns
    -------
    float32 array of shape (classes, y, x)
    """
    predictor = Predictor(
        model,
        device=device,
        precision=precision,
        batch_frames=1,
        tile_px=tile_px,
        overlap_px=overlap_px,
        scale=1.0,
    )
    return predictor.probabilities(image[None])[0].cpu().numpy()


@contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread of its own, so that it works while its items are used.

    An error in it is raised where the next item is asked for. Leaving the
    block ends the thread, also where the items were not used up.

    Parameters
    ----------
    items : iterable
    depth : int
        Items that may lie ready; the thread waits when there are as many.

    Yields
    ------
    iterator
        The same items.
    """
    ready: queue.Queue = queue.Queue(maxsize=depth)
    left = threading.Event()

    def offer(entry: tuple) -> bool:
        while not left.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer(("item", item)):
                    return
            offer(("end", None))
        except BaseException as error:
            offer(("error", error))

    def taken() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        thread.join()


class Batch(NamedTuple):
    """Frames read together: for each whether it was acquired; images (n, y, x) of those that were."""

    acquired: list[bool]
    images: np.ndarray


def _read_batches(movie: Movie, info: Mapping, normalisation: Mapping, size: int) -> Iterator[Batch]:
    channel = info["segment_channel"]
    limits = movie_limits(movie, info, normalisation)
    for start in range(0, movie.frames, size):
        planes = [movie.read(frame, channel) for frame in range(start, min(start + size, movie.frames))]
        images = [normalise(plane, limits, normalisation) for plane in planes if plane is not None]
        yield Batch(
            [plane is not None for plane in planes],
            np.stack(images) if images else np.empty((0, *movie.shape), np.float32),
        )


def movie_limits(movie: Movie, info: Mapping, normalisation: Mapping) -> tuple[float, float]:
    """The grey values of the segmented channel that become 0 and 1, the same for every frame.

    Parameters
    ----------
    movie : Movie
    info : mapping
        Content of movie.json.
    normalisation : mapping
        Of the model.

    Returns
    -------
    (float, float)
        From frames sampled evenly over those that were acquired.

    Raises
    ------
    ValueError
        If no plane of the channel was acquired.
    """
    channel = info["segment_channel"]
    acquired = np.arange(movie.frames)
    if info["acquired"] is not None:
        acquired = np.flatnonzero(info["acquired"][channel])
    if not len(acquired):
        raise ValueError(f"movie {info['path']}: channel {channel!r} is to be segmented and has no acquired plane")
    sampled = acquired[np.unique(np.linspace(0, len(acquired) - 1, SAMPLED_FRAMES).round().astype(int))]
    return normalisation_limits((movie.read(int(frame), channel) for frame in sampled), normalisation)


class Clock:
    """Where the time goes: waiting for frames, computing, waiting for the writer."""

    def __init__(self):
        self._start = self._last = time.perf_counter()
        self._spent = {"reading": 0.0, "computing": 0.0, "writing": 0.0}

    def spent(self, activity: str) -> None:
        """Book the time since the last call."""
        now = time.perf_counter()
        self._spent[activity] += now - self._last
        self._last = now

    def report(self, path: str, frames: int) -> None:
        """Log the speed and the shares."""
        whole = max(time.perf_counter() - self._start, 1e-9)
        shares = {activity: 100 * seconds / whole for activity, seconds in self._spent.items()}
        log.info(
            "%s: %d frames in %.1f s, %.2f frames/s; %.0f %% of the time computing, %.0f %% waiting for frames, "
            "%.0f %% waiting for the writer",
            *(path, frames, whole, frames / whole, shares["computing"], shares["reading"], shares["writing"]),
        )


def _pages(
    batches: Iterable[Batch], predictor: Predictor, movie: Movie, classes: int, clock: Clock
) -> Iterator[np.ndarray]:
    """Pages of probability.tif in order: every class of a frame, then the next frame."""
    nothing = np.zeros((classes, *movie.shape), np.uint8)
    with tqdm(total=movie.frames, unit="frame", mininterval=10) as progress:
        for batch in batches:
            clock.spent("reading")
            found = iter(predictor(batch.images) if len(batch.images) else [])
            clock.spent("computing")
            for acquired in batch.acquired:
                yield from next(found) if acquired else nothing
                progress.update()
            clock.spent("writing")
