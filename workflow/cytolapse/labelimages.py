"""Label images that the user brings -> labels.tif."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from cytolapse.folders import lay_out_folder
from cytolapse.masks import MOST_LABELS, LabelledFrame, write_labels, write_no_labels
from cytolapse.png import PngPlanes
from cytolapse.tiff import TiffPlanes
from cytolapse.tiffnotes import describe_tiff

logger = logging.getLogger(__name__)

LABEL_DTYPES = ("uint8", "uint16", "int8", "int16", "int32", "uint32", "int64", "uint64")
# A mask of cell and background has one number; so has a movie of a single cell, which is not in so many pieces.
_PIECES_OF_A_MASK = 3


class LabelImages:
    """The label images of one movie, read one frame at a time; use it in a `with` block.

    Parameters
    ----------
    path : path
        A TIFF stack, a PNG of one frame, or a folder with a file a frame.

    Attributes
    ----------
    frames : int

    Raises
    ------
    ValueError
        If they cannot be read, or do not hold whole numbers.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = str(path)
        self._files: list[str] = []
        self._stack: TiffPlanes | PngPlanes | None = None
        if os.path.isdir(path):
            try:
                layout = lay_out_folder(str(path), ["labels"], "labels")
            except ValueError as error:
                raise ValueError(f"label images {path} (column labels of experiments.tsv): {error}") from error
            for warning in layout.warnings:
                logger.warning("label images %s: %s", path, warning)
            (frames,) = layout.files.values()
            if len(frames[0]) > 1:
                raise ValueError(
                    f"label images {path} (column labels of experiments.tsv): are {len(frames[0])} Z slices a frame; "
                    "wanted one image a frame"
                )
            self._files = [os.path.join(path, name) for (name,) in frames]
        if len(self._files) > 1:
            self.frames = len(self._files)
            return
        self._stack = _open(self._files[0] if self._files else self._path)
        if isinstance(self._stack, TiffPlanes):
            # Reads what the file says of itself, which may be that its pages are not all there.
            with _closing_on_error(self._stack):
                describe_tiff(self._stack)
        self.frames = self._stack.count

    def read(self, frame: int) -> np.ndarray:
        """The labels of one frame.

        Returns
        -------
        int array of shape (y, x)
            0 is background; numbers as in the file, or 1 to n where one of
            them is above 65535.

        Raises
        ------
        ValueError
            If a number is below 0.
        """
        if self._stack is not None:
            labels = self._stack.read(frame)
        else:
            with _open(self._files[frame]) as image:
                if image.count != 1:
                    raise ValueError(
                        f"label images {self._files[frame]}: hold {image.count} pages; "
                        "wanted one a file, since the folder holds a file a frame"
                    )
                labels = image.read(0)
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0:
            raise ValueError(
                f"label images {self._path}, frame {frame}: hold the number {lowest}; "
                "wanted 0 for background and a number from 1 on for each cell"
            )
        if highest > MOST_LABELS:
            return np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + int(lowest > 0)
        return labels.astype(np.int32)

    def close(self) -> None:
        """Close the file."""
        if self._stack is not None:
            self._stack.close()

    def __enter__(self) -> "LabelImages":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: str) -> TiffPlanes | PngPlanes:
    return PngPlanes(path) if path.lower().endswith(".png") else TiffPlanes(path, "label images", LABEL_DTYPES)


@contextmanager
def _closing_on_error(planes: TiffPlanes) -> Iterator[None]:
    try:
        yield
    except ValueError:
        planes.close()
        raise


def import_labels(
    images_path: str | os.PathLike,
    movie_json: str | os.PathLike,
    labels_path: str | os.PathLike,
    confidence_path: str | os.PathLike,
    *,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    provenance: dict,
) -> None:
    """Take label images made elsewhere for a movie's labels, as they are.

    Parameters
    ----------
    images_path : path
        As in `LabelImages`.
    movie_json : path
        What inspect found.
    labels_path : path
        Stack (t, y, x), uint16, to write.
    confidence_path : path
        Table `confidence` to write; mask_confidence is null.
    pixel_size_um, frame_interval_min : float or None
        As stated in experiments.tsv; None takes the file's.
    provenance : dict
        Record of this stage.

    Raises
    ------
    ValueError
        If the images are not of this movie by their number or size, or cannot
        be taken for labels.
    """
    info = json.loads(Path(movie_json).read_text())
    if info["status"] == "refused":
        write_no_labels(labels_path, confidence_path, {"label": provenance})
        return
    shape = (info["frames"], info["height_px"], info["width_px"])
    with LabelImages(images_path) as images:
        if images.frames != shape[0]:
            raise ValueError(
                f"label images {images_path}: are {images.frames} frames, movie {info['path']} has {shape[0]}; "
                "wanted one for each, an empty one where there is no cell"
            )
        cells = write_labels(
            labels_path,
            confidence_path,
            _of_movie(images, images_path, shape, info["path"]),
            info=info,
            shape=shape,
            pixel_size_um=pixel_size_um,
            frame_interval_min=frame_interval_min,
            # Not among the settings, which are the same for all movies of an experiment.
            records={"label": {**provenance, "mask_source": "given", "images": str(images_path)}},
            remedy="remove specks from the label images",
        )
    logger.info("%s: %d cells in %d frames of %s", info["path"], cells, shape[0], images_path)


def _of_movie(
    images: LabelImages, path: str | os.PathLike, shape: tuple[int, int, int], movie: str
) -> Iterator[LabelledFrame]:
    numbers: set[int] = set()
    pieces = 0
    for frame in tqdm(range(images.frames), desc="import", unit="frame", mininterval=10):
        labels = images.read(frame)
        if labels.shape != shape[1:]:
            raise ValueError(
                f"label images {path}, frame {frame}: are {' x '.join(map(str, labels.shape))} px, "
                f"movie {movie} is {shape[1]} x {shape[2]}; wanted labels of the movie's own pixels"
            )
        numbers.update(np.unique(labels[labels > 0])[:2].tolist())
        pieces = max(pieces, ndimage.label(labels, np.ones((3, 3)))[1])
        yield LabelledFrame(labels, None)
    if len(numbers) == 1 and pieces >= _PIECES_OF_A_MASK:
        raise ValueError(
            f"label images {path}: up to {pieces} separate pieces of a frame have the one number {numbers.pop()}: "
            "masks of cell and background; wanted a number of its own for each cell "
            "(Fiji: MorphoLibJ > Connected Components Labeling)"
        )
