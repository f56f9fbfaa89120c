"""Simulated images that shipped models learn from, each through a microscope of its own."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cytolapse.annotations import Annotation
from cytolapse.simulation import NUCLEI, Simulation, simulate_movie

# Side of an image of nuclei, and the width of the strip around it in which they live, too.
_SIDE_PX, _SURROUND_UM = 384, 15.0


def rods(number: int) -> list[Annotation]:
    """Microcolonies of bacteria in phase contrast."""
    return [_last_frame("rods", seed, _rods(np.random.default_rng(seed).uniform)) for seed in range(number)]


def nuclei(number: int) -> list[Annotation]:
    """Nuclei in fluorescence: smooth and coarse, bright and lost in noise, some out of focus, all of them drawn."""
    return [_last_frame("nuclei", seed, _nuclei(np.random.default_rng(seed).uniform)) for seed in range(number)]


def _last_frame(name: str, seed: int, parameters: Simulation) -> Annotation:
    simulated = simulate_movie(parameters, seed)
    return Annotation(f"{name} {seed}", simulated.movie[-1, 0], simulated.labels[-1].astype(np.int32))


def _rods(draw: Callable[[float, float], float]) -> Simulation:
    # From dark by thickness to as dark as can be up to a steep rim; halos up to three times as bright as the field.
    contrast = math.exp(draw(math.log(0.6), math.log(6)))
    return Simulation(
        frames=int(draw(15, 32)),
        founders=int(draw(4, 11)),
        surround_um=2.0,
        pixel_size_um=draw(0.08, 0.14),
        birth_length_um=draw(1.8, 3.4),
        width_of_cell_um=draw(0.75, 1.1),
        bend_rad=draw(0.0, 0.35),
        division_cv=draw(0.1, 0.4),
        constriction_fraction=draw(0.1, 0.35),
        psf_sigma_um=draw(0.09, 0.18),
        halo_fraction=contrast * draw(0.4, 0.8),
        halo_sigma_um=draw(0.25, 0.7),
        phase_contrast=contrast,
        phase_floor=draw(0.1, 0.5),
        phase_grain=draw(0.005, 0.03),
        vignetting=draw(0.0, 0.25),
        tilt=draw(0.0, 0.15),
        reporter_every_frames=100,
    )


def _nuclei(draw: Callable[[float, float], float]) -> Simulation:
    pixel_um, width_um = draw(0.2, 0.45), draw(8, 11)
    length_um = width_um * draw(1.05, 1.6)
    # The share of the field that nuclei cover; much more of it does not fit without overlap.
    covered = draw(0.06, 0.2)
    return replace(
        NUCLEI,
        frames=2,
        height_px=_SIDE_PX,
        width_px=_SIDE_PX,
        surround_um=_SURROUND_UM,
        pixel_size_um=pixel_um,
        birth_length_um=length_um,
        width_of_cell_um=width_um,
        width_of_cell_cv=draw(0.05, 0.25),
        founders=int(covered * (_SIDE_PX * pixel_um + 2 * _SURROUND_UM) ** 2 / (length_um * width_um)),
        irregularity=draw(0.0, 0.08),
        marker_cv=draw(0.2, 0.6),
        texture_cv=draw(0.1, 0.45),
        psf_sigma_um=draw(0.2, 0.6),
        defocus_fraction=0.9 if draw(0, 1) < 0.3 else 0.0,
        defocus_sigma_um=draw(0.4, 1.2),
        haze_fraction=draw(0.05, 0.35),
        haze_sigma_um=draw(1.5, 4.0),
        marker_au_per_um3=math.exp(draw(math.log(90), math.log(1500))),
        electrons_per_au=math.exp(draw(math.log(0.1), math.log(0.6))),
        background_au=draw(20, 200),
        read_noise_e=draw(1, 4),
        vignetting=draw(0.0, 0.3),
        tilt=draw(0.0, 0.15),
        reporter_every_frames=100,
    )
