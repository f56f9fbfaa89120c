"""Images -> probabilities of cell and edge for every pixel, by a network on one device."""

import copy
import logging
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.googlenet import BasicConv2d

from cytolapse.models import Model, compress
from cytolapse.scaling import resize_images, scaled_shape

log = logging.getLogger(__name__)

# The axes along which a view is flipped. Turned by a right angle as well they gain no more.
FLIPS = ((), (-2, -1), (-2,), (-1,))


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
        Factor to enlarge an image by for the network: the model's own, times
        that of the movie.
    views : {1, 2, 4}
        How often the network sees an image: as it is, turned by half, and
        flipped in y and in x. The mean of its answers counts.

    Attributes
    ----------
    batch : int
        Frames or tiles that the network sees at once, after all halvings.
    scale : float
        As given; another one holds from the next call on.
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
        views: int,
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
        self._normalisation = model.normalisation
        self._stride = stride
        self._flips = FLIPS[:views]
        self.scale = scale
        self.batch = batch_frames if device.type == "cuda" else 1
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            torch.backends.cudnn.allow_tf32 = True

    def frames_at_once(self, shape: tuple[int, int]) -> int:
        """Frames of a shape to hand over together: one where a frame is cut into tiles."""
        tiles = self._tiles(1, *self._padded(scaled_shape(shape, self.scale)))
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
            scaled = scaled_shape(shape, self.scale)
            x = resize_images(x, scaled)  # (n, 1, y', x')
            x = compress(x, self._normalisation)
            x = _mirrored(x, self._padded(scaled))  # (n, 1, y'', x''), multiples of the stride
            views = [self._tiled(x.flip(axes)).flip(axes) for axes in self._flips]  # (n, classes, y'', x'')
            x = (sum(views) / len(views))[..., : scaled[0], : scaled[1]]  # (n, classes, y', x')
            return resize_images(x, shape).clamp_(0, 1)

    def _send(self, images: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(images)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

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
