"""The models that ship in resources/, trained from data whose terms allow it.

    python benchmarks/shipped.py [nuclei] [phase]

Each goes to resources/models/NAME with its card, README.md. The images that
judge in benchmarks/stills.py teach none of them. A training takes hours: what
was learned is kept in bench/shipped/NAME until the end, and goes on from there,
unless annotations, settings or arithmetic have changed. (The code is not asked:
remove the folder after a change of it.)
"""

import argparse
import hashlib
import logging
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import data as movies
import numpy as np
import simulatedstills
import stills
import torch

from cytolapse.acceptance import training_key
from cytolapse.annotations import Annotation
from cytolapse.checkpoints import Checkpoints
from cytolapse.judgement import usual_area_px
from cytolapse.models import save_model
from cytolapse.scaling import diameter_px, resize_images, resize_labels, scaled_shape
from cytolapse.training import train
from planning.settings import read_settings

DIAMETER_PX = 32.0
ENLARGED = 4.0
FOLDER = movies.REPOSITORY / "resources/models"
CHECKPOINTS = movies.REPOSITORY / "bench/shipped"


@dataclass(frozen=True)
class Shipped:
    """A model to train.

    Attributes
    ----------
    tasks : tuple of str
        Of `stills.TASKS`, whose teaching images it learns from.
    train : dict
        Settings of train that differ from the defaults.
    what, data, limits : str
        For the card.
    simulated : callable
        A number -> that many simulated images.
    number : int
        How many of these it learns from, too.
    """

    tasks: tuple[str, ...]
    train: dict
    what: str
    data: str
    limits: str
    simulated: Callable[[int], list[Annotation]]
    number: int


MODELS = {
    "nuclei": Shipped(
        tasks=("dsb",),
        simulated=simulatedstills.nuclei,
        number=40,
        train={
            **{"steps": 16000, "steps_held_out": 4000, "hold_out": 0.1, "threads": 1},
            "augmentation": {"zoom_fraction": 0.25},
        },
        what="Nuclei in fluorescence, bright on dark.",
        data=(
            "353 of 441 fluorescence images of the Data Science Bowl 2018 (BBBC038 of the Broad Bioimage Benchmark "
            "Collection; CC0) in its corrected edition, and 40 simulated images of nuclei by 40 microscopes (`nuclei` "
            "of `benchmarks/simulatedstills.py`); every fifth image of the former, by id, is left out and judges (part "
            "`dsb` of `benchmarks/segmentation.py`)."
        ),
        limits=(
            "It knows nuclei of one width; that of a movie is measured with `segment.cell_diameter_px: auto`, or given "
            "in pixels. Two-dimensional images, one channel. Nuclei that overlap are parted where they are, as well "
            "as one image shows it. Not for phase contrast, nor for whole cells."
        ),
    ),
    "phase": Shipped(
        tasks=("usiigaci", "yeast"),
        simulated=simulatedstills.rods,
        number=24,
        train={"steps": 6000, "steps_held_out": 1500, "threads": 1, "augmentation": {"zoom_fraction": 0.25}},
        what="Cells in phase contrast: adherent mammalian cells, budding yeast and rods.",
        data=(
            "Four of seven stills of T98G glioblastoma cells (Usiigaci, Okinawa Institute of Science and Technology; "
            "MIT), four of ten frames of budding yeast in a microfluidic chip (yeastvision, North Carolina State "
            "University; BSD-3), and 24 simulated images of rods on a pad by 24 microscopes (`rods` of "
            "`benchmarks/simulatedstills.py`), all resized to cells of 32 px. The other real images judge (parts "
            "`usiigaci` and `yeast` of `benchmarks/segmentation.py`)."
        ),
        limits=(
            "Eight real images of two microscopes: a first look. Yeast of the same movie is found with AP 0.96 at 0.5 "
            "(5 of 100 cells merged), *E. coli* with 0.94 (and drawn a seventh too large), glioblastoma cells with "
            "0.69 where their width is given, and 0.26 where it is measured. As a start for a model of your own it "
            "gained nothing on *E. coli*, and is taken only where `start_from` names it, or where it draws your cells "
            "better than those. It has seen no real bacterium: terms of the data at hand do not allow it."
        ),
    ),
}


def teaching(shipped: Shipped) -> list[Annotation]:
    """The annotated images that a model learns from, each with its usual cell at the same width."""
    found = []
    for name in shipped.tasks:
        task = next(task for task in stills.TASKS if task.name == name)
        images, _ = task.load(movies.data_folder())
        found += images
    found += shipped.simulated(shipped.number)
    return [_resized(each, _scale(each)) for each in found]


def _scale(still: Annotation) -> float:
    """To usual cells of `DIAMETER_PX`, whatever the microscope, as far as that can work."""
    if not (still.labels > 0).any():
        return 1.0
    return float(np.clip(DIAMETER_PX / diameter_px(usual_area_px([still.labels])), 1 / ENLARGED, ENLARGED))


def _resized(still: Annotation, scale: float) -> Annotation:
    if scale == 1:
        return still
    shape = scaled_shape(still.labels.shape, scale)
    image = resize_images(torch.from_numpy(still.image.astype(np.float32))[None, None], shape)[0, 0].numpy()
    return Annotation(still.name, image, resize_labels(still.labels, shape))


def make(name: str, shipped: Shipped) -> None:
    """Train a model and write it with its card."""
    settings = read_settings({"train": shipped.train})["train"]
    settings |= {"pixel_size_um": None, "channels": 1, "device": "auto", "start_from": None}
    images = teaching(shipped)
    with Checkpoints(CHECKPOINTS / name, training_key(_digest(images), "", settings)) as checkpoints:
        result = train(images, **settings, checkpoints=checkpoints, progress_folder=CHECKPOINTS / f"{name}_course")
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    digest = save_model(result.model, folder / "weights.safetensors", folder / "model.json", half=True)
    (folder / "README.md").write_text(card(name, shipped, result.model, digest, len(images)), encoding="utf-8")
    checkpoints.remove()


def _digest(images: list[Annotation]) -> str:
    digest = hashlib.sha256()
    for each in images:
        digest.update(np.ascontiguousarray(each.image))
        digest.update(np.ascontiguousarray(each.labels))
    return digest.hexdigest()


def card(name: str, shipped: Shipped, model, digest: str, images: int) -> str:
    """What a user has to know of a model."""
    held_out = model.trained["metrics"]["held_out"]
    size_mb = (FOLDER / name / "weights.safetensors").stat().st_size / 1e6
    use = (
        f"`models: {{{name}: {{weights: resources/models/{name}}}}}` and `segment: {{cell_diameter_px: auto}}` in "
        "config.yaml. A training of yours starts from it where it suits the annotated "
        "images, or where `start_from` names it."
    )
    points = {
        "Use": use,
        "Network": f"`{model.architecture}`, {size_mb:.1f} MB, half precision.",
        "Digest": f"`{digest}`",
        "Data": shipped.data,
        "Training": f"{images} images, each resized to usual cells of {diameter_px(model.cell_area_px):.0f} px, "
        f"{model.trained['steps']} steps, seed {model.trained['seed']}; `make shipped-models`.",
        "Scores": f"of {len(held_out['images'])} of its images by a network of "
        f"{model.trained['settings']['steps_held_out']} steps that had not seen them, all cells together: pixelwise "
        f"ROC area {held_out['roc_area']:.4f}, SEG {held_out['seg']:.3f}, AP {held_out['ap_50']:.3f} at IoU 0.5 and "
        f"{held_out['ap_75']:.3f} at 0.75. Scores of the model itself on images that taught it nothing are in "
        "[accuracy](../../../docs/accuracy.md).",
        "Limits": shipped.limits,
    }
    lines = [textwrap.fill(f"- **{point}:** {text}", 88, subsequent_indent="  ") for point, text in points.items()]
    return "\n".join([f"# {name}", "", shipped.what, "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="model", help=", ".join(MODELS))
    logging.basicConfig(level=logging.INFO)
    for name in parser.parse_args().models or MODELS:
        make(name, MODELS[name])


if __name__ == "__main__":
    main()
