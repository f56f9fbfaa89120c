"""Microscope and camera: from a drawn scene to the counts of a frame.

The optics blur the scene and light it unevenly. The camera counts photons.
"""

import math
from typing import NamedTuple

import numpy as np

from cytolapse.drawing import Scene
from cytolapse.scenarios import Simulation


class Optics(NamedTuple):
    """Lamp, pad and lenses of one movie."""

    light: np.ndarray  # relative brightness of the lamp over the field, mean 1
    grain: np.ndarray  # relative brightness of the pad under phase contrast
    fluorescence: np.ndarray  # optical transfer functions, of the padded scene
    phase: np.ndarray
    sharp: np.ndarray
    defocus: np.ndarray
    pad_px: int


_WIDE_HALO = 3.0  # the faint outer part of a halo is that much wider than the bright inner one


def set_up_optics(parameters: Simulation, rng: np.random.Generator) -> Optics:
    """Light, pad and transfer functions, the same for all frames of a movie.

    Parameters
    ----------
    parameters : Simulation
        Of which those of the optics are used.
    rng : numpy.random.Generator
        Of the direction of the light and the grain of the pad.
    """
    from scipy.ndimage import gaussian_filter

    p = parameters
    y = np.linspace(-1, 1, p.height_px, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, p.width_px, dtype=np.float32)[None, :]
    towards, off_y, off_x = rng.uniform(-math.pi, math.pi), *rng.uniform(-0.2, 0.2, 2)
    bowl = 1 - p.vignetting * ((y - off_y) ** 2 + (x - off_x) ** 2) / 2
    light = bowl * (1 + p.tilt / 2 * (y * math.cos(towards) + x * math.sin(towards)))
    noise = rng.standard_normal((p.height_px, p.width_px)).astype(np.float32)
    grain = gaussian_filter(noise, 0.3 / p.pixel_size_um) + 2 * gaussian_filter(noise, 1.0 / p.pixel_size_um)
    grain = 1 + p.phase_grain * grain / max(float(grain.std()), 1e-9)
    wide_um = max(p.psf_sigma_um, p.haze_sigma_um, _WIDE_HALO * p.halo_sigma_um if p.modality == "phase" else 0)
    pad_px = math.ceil(2.5 * wide_um / p.pixel_size_um)
    defocus = _gaussian_transfer(p, pad_px, p.defocus_sigma_um)
    return Optics(light / light.mean(), grain, *_transfer_functions(p, pad_px), defocus, pad_px)


def _transfer_functions(p: Simulation, pad_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of fluorescence, of phase contrast, and of the lens alone.

    The second makes a picture that looks like phase contrast: dark by
    thickness, bright around, lighter inside of a crowd. The ring of the
    condenser is stood for by two Gaussians; it is no theory of it.
    """
    sharp = _gaussian_transfer(p, pad_px, p.psf_sigma_um)
    haze = _gaussian_transfer(p, pad_px, p.haze_sigma_um)
    near = _gaussian_transfer(p, pad_px, p.halo_sigma_um)
    wide = _gaussian_transfer(p, pad_px, _WIDE_HALO * p.halo_sigma_um)
    fluorescence = (1 - p.haze_fraction) * sharp + p.haze_fraction * haze
    halo = (1 - p.halo_wide_fraction) * near + p.halo_wide_fraction * wide
    return fluorescence, p.halo_fraction * halo - p.phase_contrast * sharp, sharp


def _gaussian_transfer(p: Simulation, pad_px: int, sigma_um: float) -> np.ndarray:
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(size + 2 * pad_px, real=True) for size in (p.height_px, p.width_px))
    sigma_px = sigma_um / p.pixel_size_um
    along_y, along_x = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
    return np.exp(-2 * (math.pi * sigma_px) ** 2 * (along_y[:, None] ** 2 + along_x**2)).astype(np.float32)


def stage_drift(parameters: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Where the field begins in each frame, (frames, 2) in micrometres: a random walk with jumps, from 0."""
    p = parameters
    steps = rng.normal(0, p.drift_um_per_sqrt_h * math.sqrt(p.frame_interval_min / 60), (p.frames, 2))
    if p.jumps_per_h:
        jumps = rng.poisson(p.jumps_per_h * p.frame_interval_min / 60, p.frames) > 0
        towards = rng.uniform(-math.pi, math.pi, p.frames)
        far_um = rng.exponential(p.jump_um, p.frames) * jumps
        steps += far_um[:, None] * np.stack([np.cos(towards), np.sin(towards)], axis=1)
    steps[0] = 0
    return steps.cumsum(axis=0)


def frames_out_of_focus(parameters: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Which frames are out of focus, bool of shape (frames,)."""
    return rng.uniform(size=parameters.frames) < parameters.defocus_fraction


def image_scene(
    scene: Scene, optics: Optics, parameters: Simulation, time_h: float, *, out_of_focus: bool
) -> tuple[np.ndarray, ...]:
    """Light on the camera, in au above its offset, of every channel.

    Parameters
    ----------
    scene : Scene
        With a rim as wide as the optics want.
    optics : Optics
        As `set_up_optics` gives.
    parameters : Simulation
        What is simulated.
    time_h : float
        Since the first frame: the background drifts.
    out_of_focus : bool
        Blur what is seen.

    Returns
    -------
    arrays of shape (y, x)
        In the order of `Simulation.channels`.
    """
    p = parameters
    blur = optics.defocus if out_of_focus else 1.0
    background_au = p.background_au * max(1 + p.background_drift_per_h * time_h, 0)
    seen = [scene.reporter_au] if p.modality == "phase" else [scene.marker_au, scene.reporter_au]
    if len(p.channels) > 2:
        seen.append(scene.nuclei_au)
    glowing = [_seen(each, optics.fluorescence * blur, optics.pad_px, p) for each in seen]
    light_au = [optics.light * (background_au + np.maximum(each, 0)) for each in glowing]
    if p.modality == "phase":
        light_au.insert(0, _phase_contrast(scene, optics, blur, p))
    return tuple(light_au)


def _phase_contrast(scene: Scene, optics: Optics, blur: np.ndarray | float, p: Simulation) -> np.ndarray:
    contrast = _seen(scene.thickness, optics.phase * blur, optics.pad_px, p)
    lamp_au = p.phase_level_au * optics.light
    light_au = lamp_au * optics.grain * np.maximum(1 + contrast, p.phase_floor)
    if p.kind == "yeast":
        light_au += lamp_au * _seen(scene.organelles, optics.sharp * blur, optics.pad_px, p)
    return np.maximum(light_au, 0)


def _seen(scene: np.ndarray, transfer: np.ndarray, pad_px: int, p: Simulation) -> np.ndarray:
    """The field, after the scene with its rim went through the optics."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = [next_fast_len(length, real=True) for length in scene.shape]
    image = irfft2(rfft2(scene, s=size) * transfer, s=size)
    return image[pad_px : pad_px + p.height_px, pad_px : pad_px + p.width_px]


def camera_counts(light_au: np.ndarray, parameters: Simulation, rng: np.random.Generator) -> np.ndarray:
    """What the camera counts: shot noise, read noise, offset, whole counts, a largest value.

    Parameters
    ----------
    light_au : array of shape (y, x)
        Mean signal above the offset, in counts, not below 0.
    parameters : Simulation
        Of which those of the camera are used.
    rng : numpy.random.Generator
        Random numbers.

    Returns
    -------
    array of shape (y, x), uint16
        Counts. The variance at a mean signal m is
        m / electrons_per_au + (read_noise_e / electrons_per_au)^2 + 1/12.
    """
    p = parameters
    electrons = rng.poisson(light_au * p.electrons_per_au).astype(np.float32)
    electrons += p.read_noise_e * rng.standard_normal(light_au.shape, dtype=np.float32)
    counts = np.rint(electrons / p.electrons_per_au + p.offset_au)
    return np.clip(counts, 0, 2**p.bits - 1).astype(np.uint16)
