"""Simulated images that shipped models learn from, each through a microscope of its own."""

import math
from collections.abc import Callable

import numpy as np

from cytolapse.annotations import Annotation
from cytolapse.simulation import Simulation, simulate_movie


def rods(number: int) -> list[Annotation]:
    """Microcolonies of bacteria in phase contrast."""
    return [_last_frame("rods", seed, _rods(np.random.default_rng(seed).uniform)) for seed in range(number)]


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
