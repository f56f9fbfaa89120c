"""Hand-drawn annotations: pairs of an image and its label masks.

Two layouts are read: `images/NAME.tif` with `masks/NAME.tif`, the convention
of StarDist and ZeroCostDL4Mic, and `NAME.tif` beside `NAME_masks.tif` or
`.png`, Cellpose's.
"""

import hashlib
import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

IGNORE = -1
"""Label of pixels that nobody has judged: they count neither in the loss nor in a score.

In masks of an unsigned type, which have no -1, the largest value of 16 and of
32 bits stands for it. In 8 bits 255 is a cell like any other: there it may
be one.
"""

_ENDINGS = (".tif", ".tiff", ".png")
_MASKS = "_masks"


class Pair(NamedTuple):
    """The two files of one annotated image."""

    name: str
    image: Path
    masks: Path


class Annotation(NamedTuple):
    """One annotated image.

    `image` is (y, x) or (channel, y, x), as stored; `labels` (y, x) int32 with
    0 for background, one number a cell, and `IGNORE` where nobody has judged.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray


def find_pairs(folder: str | os.PathLike) -> list[Pair]:
    """The pairs of image and masks in an annotations folder, by name.

    Parameters
    ----------
    folder : path
        Folder in one of the two layouts above. Hidden files and files with
        other endings than .tif, .tiff and .png are passed over.

    Raises
    ------
    ValueError
        If the folder does not exist or holds no image, if both layouts are in
        use, if an image has no masks or masks have no image (all of them, a
        line each), or if two files have the same name but for the ending.
    """
    folder = Path(folder)
    loose = _image_files(folder)
    if (folder / "images").is_dir() or (folder / "masks").is_dir():
        if loose:
            raise ValueError(
                f"annotations {folder}: {loose[0].name} lies beside images/ and masks/; move it into one of them"
            )
        images = _by_name(_image_files(folder / "images"))
        masks = _by_name(_image_files(folder / "masks"))
        wanted = "masks/{name}.tif"
    else:
        drawn = [path for path in loose if path.stem.endswith(_MASKS)]
        images = _by_name([path for path in loose if path not in drawn])
        masks = _by_name(drawn, ending=_MASKS)
        wanted = "{name}_masks.tif or {name}_masks.png"
    wrong = [
        f"annotations {folder}: image {images[name].name} has no masks; wanted {wanted.format(name=name)}"
        for name in sorted(images.keys() - masks.keys())
    ]
    wrong += [
        f"annotations {folder}: masks {masks[name].name} have no image called {name}"
        for name in sorted(masks.keys() - images.keys())
    ]
    if wrong:
        raise ValueError("\n".join(wrong))
    if not images:
        raise ValueError(
            f"annotations {folder}: no images found; wanted images/NAME.tif with masks/NAME.tif, "
            "or NAME.tif beside NAME_masks.tif"
        )
    return [Pair(name, images[name], masks[name]) for name in sorted(images)]


def read_pairs(folder: str | os.PathLike) -> list[Annotation]:
    """Read and check every annotated image of a folder.

    Parameters
    ----------
    folder : path
        As for `find_pairs`.

    Raises
    ------
    ValueError
        If a file cannot be read, an image is not one plane or channels first,
        holds values that are not numbers or has another number of channels
        than the first, or if masks are not a label image of the same size:
        all that is wrong, a line each. And if there is no cell in any of them.
    """
    pairs = find_pairs(folder)
    annotations, wrong = [], []
    channels = None
    for pair in pairs:
        image, labels = (_read_or_note(reader, pair, wrong) for reader in (_read_image, _read_masks))
        if image is None or labels is None:
            continue
        found = 1 if image.ndim == 2 else len(image)
        channels = channels or (found, pair.image.name)
        if image.shape[-2:] != labels.shape:
            wrong.append(
                f"{pair.masks}: masks of {_size(labels)} px for an image of {_size(image)} px; wanted the same size"
            )
        if found != channels[0]:
            wrong.append(f"{pair.image}: {found} channel(s), but {channels[1]} has {channels[0]}")
        annotations.append(Annotation(pair.name, image, labels))
    if wrong:
        raise ValueError("\n".join(wrong))
    if not any((each.labels > 0).any() for each in annotations):
        raise ValueError(f"annotations {folder}: no cell is drawn in any of the {len(pairs)} masks")
    return annotations


def _read_or_note(reader: Callable[[Pair], np.ndarray], pair: Pair, wrong: list[str]) -> np.ndarray | None:
    try:
        return reader(pair)
    except ValueError as error:
        wrong.append(str(error))
        return None


def annotations_digest(folder: str | os.PathLike, cache: MutableMapping[str, dict]) -> str:
    """Digest of the names and whole contents of the images and masks.

    A touched, moved or renamed folder keeps its digest; a file edited, added,
    removed or renamed changes it, also under an old time. Files are not
    paired or decoded: an image that still lacks its masks is the training's
    to refuse, and must not keep other models from being planned.

    Parameters
    ----------
    folder : path
        Annotations.
    cache : mutable mapping
        What is known of each file from before, changed in place: its path to
        {"stat": [mtime_ns, size, inode, ctime_ns], "content": digest}. A file
        is read again only where its stat differs.

    Raises
    ------
    ValueError
        If the folder does not exist.
    """
    folder = Path(folder)
    paths = _image_files(folder)
    for part in ("images", "masks"):
        if (folder / part).is_dir():
            paths += _image_files(folder / part)
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{_content_digest(path, cache)}\n".encode())
    return digest.hexdigest()


def _content_digest(path: Path, cache: MutableMapping[str, dict]) -> str:
    found = path.stat()
    stat = [found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns]
    known = cache.get(str(path), {})
    if known.get("stat") == stat and "content" in known:
        return known["content"]
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    cache[str(path)] = {"stat": stat, "content": content}
    return content


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"annotations {folder}: there is no such folder")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.is_file()
    )


def _by_name(paths: list[Path], ending: str = "") -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        name = path.stem.removesuffix(ending)
        if name in found:
            raise ValueError(f"annotations: {found[name]} and {path} are both called {name}; keep one of them")
        found[name] = path
    return found


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".png":
            from PIL import Image

            with Image.open(path) as file:
                return np.asarray(file).squeeze()
        import tifffile

        return tifffile.imread(path).squeeze()
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error


def _read_image(pair: Pair) -> np.ndarray:
    image = _read(pair.image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] > min(image.shape[1:])):
        raise ValueError(
            f"{pair.image}: shape {image.shape}; wanted one plane (y, x), or channels first (channel, y, x)"
        )
    if image.dtype.kind not in "uif":
        raise ValueError(f"{pair.image}: pixels are {image.dtype}; wanted whole numbers or floats")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{pair.image}: {np.count_nonzero(~np.isfinite(image))} pixels are not finite numbers")
    return image


def _read_masks(pair: Pair) -> np.ndarray:
    masks = _read(pair.masks)
    if masks.ndim != 2:
        raise ValueError(f"{pair.masks}: shape {masks.shape}; wanted one label image (y, x)")
    if masks.dtype.kind not in "ui":
        raise ValueError(
            f"{pair.masks}: pixels are {masks.dtype}; wanted a label image of whole numbers, "
            "0 for background and one number a cell"
        )
    pieces = _pieces_of_the_only_label(masks)
    if pieces >= 3:
        raise ValueError(
            f"{pair.masks}: {pieces} separate pieces have the one number {masks.max()}: a mask of cell and background, "
            "which does not say where touching cells part; wanted one number a cell"
        )
    unjudged = np.zeros(masks.shape, bool)
    if masks.dtype.kind == "u" and masks.dtype.itemsize >= 2:
        unjudged = masks == np.iinfo(masks.dtype).max
        if pieces and unjudged.any():
            raise ValueError(
                f"{pair.masks}: holds 0 and {masks.max()} alone, which in {8 * masks.dtype.itemsize} bits marks what "
                "nobody has judged; number the cells 1, 2, ..., or leave the pair out"
            )
    judged = masks[~unjudged]
    low, high = int(judged.min()), int(judged.max())
    if low < IGNORE or high > np.iinfo(np.int32).max:
        raise ValueError(
            f"{pair.masks}: labels run from {low} to {high}; wanted {IGNORE} (not judged), 0 (background), 1, 2, ..."
        )
    labels = masks.astype(np.int32)
    labels[unjudged] = IGNORE
    return labels


def _pieces_of_the_only_label(labels: np.ndarray) -> int:
    """Pieces of the cells where all have one number; 0 where they have several, or there are none."""
    from scipy import ndimage

    cells = labels > 0
    if not cells.any() or (labels[cells] != labels.max()).any():
        return 0
    return ndimage.label(cells, structure=np.ones((3, 3)))[1]


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape[-2:]))
