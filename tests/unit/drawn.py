"""Images that are drawn: annotated ones with settings to learn them in a moment, fields of disks, movies."""

import json

import numpy as np
import tifffile
from scipy import ndimage

from cytolapse.annotations import Annotation

TARGETS = {"edge_px": 1, "edge_weight": 5.0, "gap_weight": 0.0, "gap_px": 3.0}
AUGMENTATION = {
    "roll": True,
    "flip": True,
    "rotation": "any",
    "zoom_fraction": 0.1,
    "bend_px": 2.0,
    "crowded_fraction": 0.5,
    "gain_fraction": 0.2,
    "offset": 0.1,
    "gamma_fraction": 0.2,
    "noise": 0.05,
    "blur_px": 0.5,
    "shading_fraction": 0.1,
    "bleached_fraction": 0.1,
    "shot_noise": 0.01,
}
FIT = TARGETS | {
    "architecture": "googlenet_unet_small",
    "channels": 1,
    "crop_px": 64,
    "batch_crops": 2,
    "learning_rate": 1e-3,
    "augmentation": AUGMENTATION,
    "scale": 1.0,
    "seed": 3,
    "threads": 1,
    "device": "cpu",
    "precision": "float32",
    "start_from": None,
    "patience": None,
}
TRAIN = {name: value for name, value in FIT.items() if name != "scale"} | {
    "steps": 3,
    "steps_held_out": 3,
    "hold_out": 0.25,
    "folds": None,
    "floor_roc_area": 0.0,
    "pixel_size_um": 0.5,
    "working_diameter_px": None,
}


def drawn(name: str = "a", seed: int = 0, side: int = 80) -> Annotation:
    """Bright disks on a dark, noisy ground."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    labels = np.zeros((side, side), np.int32)
    for number in range(1, 7):
        row, column = rng.integers(8, side - 8, 2)
        labels[(y - row) ** 2 + (x - column) ** 2 < 8**2] = number
    image = 100 + 60 * (labels > 0) + rng.normal(0, 5, labels.shape)
    return Annotation(name, image.astype(np.uint16), labels)


def several(count: int = 4) -> list[Annotation]:
    return [drawn(f"image{number}", seed=number) for number in range(count)]


def empty(count: int) -> list[Annotation]:
    return [Annotation(f"empty{n}", np.zeros((80, 80), np.uint8), np.zeros((80, 80), np.int32)) for n in range(count)]


def field(seed=0, shift=(0.0, 0.0), blur_px=0.0, shape=(256, 256), cells=12, noise_au=3.0):
    """A picture of disks over noise; the places come from the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for cy, cx in rng.uniform(30, 226, (cells, 2)):
        image += 300 / (1 + np.exp(np.hypot(y - cy - shift[0], x - cx - shift[1]) - 9))
    if blur_px:
        image = ndimage.gaussian_filter(image, blur_px)
    noise = np.random.default_rng(seed + 1000 + int(10 * shift[0])).normal(100, noise_au, shape)
    return (image + noise).round().clip(0, 65535).astype(np.uint16)


def disks(shape, *centres_and_radii):
    """A label image of disks; a later one lies on top."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, int)
    for number, (cy, cx, radius) in enumerate(centres_and_radii, 1):
        labels[np.hypot(y - cy, x - cx) <= radius] = number
    return labels


def a_movie(folder, frames, *, acquired=None, pixel_size_um=0.5):
    """movie.json of a stack of frames (t, y, x) in one channel."""
    path = folder / "movie.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})
    info = {
        "status": "ok",
        "reason": None,
        "warnings": [],
        "path": str(path),
        "kind": "file",
        "position": None,
        "z_projection": "none",
        "focus_slices": None,
        "axes": "TYX",
        "frames": len(frames),
        "channels": ["phase"],
        "segment_channel": "phase",
        "height_px": frames.shape[1],
        "width_px": frames.shape[2],
        "dtype": str(frames.dtype),
        "pixel_size_um": pixel_size_um,
        "frame_interval_min": 5.0,
        "time_h": None,
        "exposure_ms": {"phase": None},
        "acquired": None if acquired is None else {"phase": acquired},
        "saturation_au": 65535,
    }
    (folder / "movie.json").write_text(json.dumps(info))
    return folder / "movie.json"
