"""Microscope and camera: from the cells of one moment to the counts of a frame.

The scene is what lies under the microscope. The optics blur it and light it
unevenly. The camera counts photons.
"""

import math
from typing import NamedTuple

import numpy as np

from cytolapse.colony import Shapes
from cytolapse.scenarios import Simulation


class Scene(NamedTuple):
    """What lies under the microscope at one moment; images with a rim around the field."""

    marker_au: np.ndarray
    reporter_au: np.ndarray
    thickness: np.ndarray  # over the width of the mean cell
    labels: np.ndarray  # of the field alone: row of the cell in the array of cells, from 1


def draw_scene(cells: np.ndarray, shapes: Shapes, drift_um: np.ndarray, pad_px: int, parameters: Simulation) -> Scene:
    """Draw cells on pixels, before any blur.

    Parameters
    ----------
    cells : structured array of shape (n,)
        Cells of a colony.
    shapes : Shapes
        Of these cells.
    drift_um : array of shape (2,)
        Where the field begins, (y, x).
    pad_px : int
        Width of the rim around the field.
    parameters : Simulation
        What is simulated.
    """
    p = parameters
    size = (p.height_px + 2 * pad_px, p.width_px + 2 * pad_px)
    marker_au, reporter_au, thickness = (np.zeros(size, np.float32) for _ in range(3))
    depth_um = np.zeros(size, np.float32)
    labels = np.zeros(size, np.int32)
    height_um = p.width_of_cell_um if p.kind == "rod" else p.height_of_cell_um
    for row, cell in enumerate(cells):
        centre_px = (np.array([cell["y_um"], cell["x_um"]]) - drift_um) / p.pixel_size_um + pad_px
        drawn = _drawn(cell, Shapes(*(values[row] for values in shapes)), centre_px, p)
        window, inner = _overlap(drawn.corner_px, drawn.thickness_um.shape, size)
        if window is None:
            continue
        density = drawn.thickness_um * drawn.texture
        density /= density.sum()
        density = density[inner]
        cell_marker_au = cell["marker_au_per_um3"] * shapes.volume_um3[row]
        own_au = p.autofluorescence_au_per_um3 * shapes.volume_um3[row] + p.crosstalk * cell_marker_au
        marker_au[window] += cell_marker_au * density
        reporter_au[window] += (cell["total_au"] + own_au) * density
        thickness[window] += drawn.thickness_um[inner] / height_um
        deeper = drawn.depth_um[inner] < depth_um[window]
        depth_um[window][deeper] = drawn.depth_um[inner][deeper]
        labels[window][deeper] = row + 1
    field = labels[pad_px : pad_px + p.height_px, pad_px : pad_px + p.width_px]
    return Scene(marker_au, reporter_au, thickness, field)


class _Drawn(NamedTuple):
    corner_px: tuple[int, int]
    thickness_um: np.ndarray  # mean over each pixel
    depth_um: np.ndarray  # signed distance to the outline, below 0 inside
    texture: np.ndarray


def _drawn(cell: np.void, shape: Shapes, centre_px: np.ndarray, p: Simulation) -> _Drawn:
    """One cell on pixels: thickness by the distance to its axis, smooth below a pixel."""
    pixel_um = p.pixel_size_um
    cos, sin = math.cos(cell["angle_rad"]), math.sin(cell["angle_rad"])
    half_um, radius_um = shape.length_um / 2, shape.width_um / 2
    # room for the bow of a bent rod, or the waves of an irregular outline
    extra_um = shape.length_um * (abs(cell["bend_rad"]) / 8 + 0.5 * float(np.abs(cell["outline"]).sum()))
    reach_px = [
        (half_um - radius_um) * abs(part) / pixel_um + (radius_um + extra_um) / pixel_um + 1.5 for part in (cos, sin)
    ]
    corner = [math.floor(c - r) for c, r in zip(centre_px, reach_px, strict=True)]
    stop = [math.ceil(c + r) + 1 for c, r in zip(centre_px, reach_px, strict=True)]
    y_um = (np.arange(corner[0], stop[0])[:, None] - centre_px[0]) * pixel_um
    x_um = (np.arange(corner[1], stop[1])[None, :] - centre_px[1]) * pixel_um
    along_um, across_um = y_um * cos + x_um * sin, x_um * cos - y_um * sin
    if p.kind == "rod":
        along_um, across_um = _unbent(along_um, across_um, cell["bend_rad"] / shape.length_um)
        thickness_um, depth_um = _rod_profile(along_um, across_um, shape, pixel_um)
    else:
        reach = _outline(along_um / half_um, across_um / radius_um, cell["outline"] * (1 - shape.constriction))
        thickness_um, depth_um = _ellipse_profile(
            along_um / reach, across_um / reach, shape, pixel_um, p.height_of_cell_um
        )
    return _Drawn((corner[0], corner[1]), thickness_um, depth_um, _texture(cell, y_um, x_um, shape, p))


def _unbent(along_um: np.ndarray, across_um: np.ndarray, curvature_per_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Along and across an arc through the centre; what lies around it keeps its area."""
    if not curvature_per_um:
        return along_um, across_um
    radius_um = 1 / curvature_per_um
    turn_rad = np.arctan2(along_um * np.sign(radius_um), (radius_um - across_um) * np.sign(radius_um))
    offset_um = radius_um - np.sign(radius_um) * np.hypot(along_um, radius_um - across_um)
    return turn_rad * radius_um, offset_um


def _outline(u: np.ndarray, v: np.ndarray, waves: np.ndarray) -> np.ndarray | float:
    """How far an irregular outline reaches beyond its ellipse, towards each pixel; the area is that of the ellipse."""
    if not waves.any():
        return 1.0
    angle = np.arctan2(v, u)
    reach = np.ones_like(angle)
    for order, (cosine, sine) in enumerate(waves, start=2):
        reach += cosine * np.cos(order * angle) + sine * np.sin(order * angle)
    return np.maximum(reach, 0.3) / math.sqrt(1 + (waves**2).sum() / 2)


def _rod_profile(along_um: np.ndarray, across_um: np.ndarray, shape: Shapes, pixel_um: float):
    radius_um, half_um = shape.width_um / 2, shape.length_um / 2
    from_waist_um = np.minimum(np.abs(along_um - (shape.waist - 0.5) * shape.length_um), radius_um)
    pole_um = np.sqrt(np.maximum(radius_um**2 - (radius_um - from_waist_um) ** 2, 0))
    local_um = np.maximum((1 - shape.constriction) * radius_um + shape.constriction * pole_um, 1e-3)
    distance_um = np.hypot(np.maximum(np.abs(along_um) - (half_um - radius_um), 0), across_um)
    thickness = _mean_chord(distance_um / local_um, pixel_um / 2 / local_um)
    return 2 * local_um * thickness, distance_um - local_um


def _ellipse_profile(
    along_um: np.ndarray, across_um: np.ndarray, shape: Shapes, pixel_um: float, height_um: float
) -> tuple[np.ndarray, np.ndarray]:
    long_um, short_um = shape.length_um / 2, shape.width_um / 2
    rho = np.maximum(np.hypot(along_um / long_um, across_um / short_um), 1e-6)
    steepness = np.maximum(np.hypot(along_um / long_um**2, across_um / short_um**2) / rho, 1e-6)
    return height_um * _mean_chord(rho, pixel_um / 2 * steepness), (rho - 1) / steepness


def _mean_chord(rho: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Mean of sqrt(1 - x^2), 0 beyond 1, for x within `half` of `rho`."""
    high, low = np.clip(rho + half, -1, 1), np.clip(rho - half, -1, 1)
    return (_chord_integral(high) - _chord_integral(low)) / (2 * half)


def _chord_integral(x: np.ndarray) -> np.ndarray:
    return (x * np.sqrt(1 - x**2) + np.arcsin(x)) / 2


def _texture(cell: np.void, y_um: np.ndarray, x_um: np.ndarray, shape: Shapes, p: Simulation) -> np.ndarray | float:
    """Relative density inside a cell: standing waves that turn with it, and nucleoli."""
    if not p.texture_cv:
        return 1.0
    cos, sin = math.cos(cell["angle_rad"]), math.sin(cell["angle_rad"])
    along, across, phase = cell["waves"].T
    down = y_um * (along * cos - across * sin) + phase
    right = x_um.T * (along * sin + across * cos)
    waves = np.cos(down) @ np.cos(right).T - np.sin(down) @ np.sin(right).T
    texture = 1 + p.texture_cv * math.sqrt(2 / len(phase)) * waves
    if p.kind == "nucleus":
        u = (y_um * cos + x_um * sin) / (shape.length_um / 2)
        v = (x_um * cos - y_um * sin) / (shape.width_um / 2)
        # as the nucleus rounds up, chromatin condenses and nucleoli dissolve
        fade = 3 * p.texture_cv * (1 - shape.constriction)
        for at_u, at_v in cell["nucleoli"]:
            texture *= 1 - fade * np.exp(-((u - at_u) ** 2 + (v - at_v) ** 2) / (2 * 0.17**2))
    return np.maximum(texture, 0.05)


def _overlap(corner: tuple[int, int], shape: tuple[int, ...], size: tuple[int, int]):
    """The part of a patch that lies on the canvas: slices of the canvas and of the patch."""
    window, inner = [], []
    for start, length, limit in zip(corner, shape, size, strict=True):
        low, high = max(start, 0), min(start + length, limit)
        if low >= high:
            return None, None
        window.append(slice(low, high))
        inner.append(slice(low - start, high - start))
    return tuple(window), tuple(inner)


class Optics(NamedTuple):
    """Lamp, pad and lenses of one movie."""

    light: np.ndarray  # relative brightness of the lamp over the field, mean 1
    grain: np.ndarray  # relative brightness of the pad under phase contrast
    fluorescence: np.ndarray  # optical transfer functions, of the padded scene
    phase: np.ndarray
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


def _transfer_functions(p: Simulation, pad_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Of fluorescence, and of phase contrast.

    The second makes a picture that looks like phase contrast: dark by
    thickness, bright around, lighter inside of a crowd. The ring of the
    condenser is stood for by two Gaussians; it is no theory of it.
    """
    sharp = _gaussian_transfer(p, pad_px, p.psf_sigma_um)
    haze = _gaussian_transfer(p, pad_px, p.haze_sigma_um)
    near = _gaussian_transfer(p, pad_px, p.halo_sigma_um)
    wide = _gaussian_transfer(p, pad_px, _WIDE_HALO * p.halo_sigma_um)
    fluorescence = (1 - p.haze_fraction) * sharp + p.haze_fraction * haze
    return fluorescence, p.halo_fraction * (0.75 * near + 0.25 * wide) - p.phase_contrast * sharp


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
) -> tuple[np.ndarray, np.ndarray]:
    """Light on the camera, in au above its offset: of the channel to segment, and of the reporter.

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
    two arrays of shape (y, x)
    """
    p = parameters
    blur = optics.defocus if out_of_focus else 1.0
    background_au = p.background_au * max(1 + p.background_drift_per_h * time_h, 0)
    reporter_au = _seen(scene.reporter_au, optics.fluorescence * blur, optics.pad_px, p)
    reporter_au = optics.light * (background_au + np.maximum(reporter_au, 0))
    if p.modality == "phase":
        contrast = _seen(scene.thickness, optics.phase * blur, optics.pad_px, p)
        return p.phase_level_au * optics.light * optics.grain * np.maximum(1 + contrast, 0.12), reporter_au
    marker_au = _seen(scene.marker_au, optics.fluorescence * blur, optics.pad_px, p)
    return optics.light * (background_au + np.maximum(marker_au, 0)), reporter_au


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
