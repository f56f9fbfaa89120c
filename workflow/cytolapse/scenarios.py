"""What can be simulated: the parameters of cells, microscope and camera."""

import math
from dataclasses import dataclass, fields

from cytolapse.rods import rod_area, rod_volume

_CHOICES = {
    "kind": ("rod", "nucleus"),
    "modality": ("fluorescence", "phase"),
    "grows": ("length", "area", "volume"),
    "division_rule": ("adder", "sizer", "timer"),
    "bits": (12, 16),
}
_FROM_ZERO_BELOW_ONE = (
    *("constriction_fraction", "haze_fraction", "vignetting", "tilt", "bleaching_per_frame", "silent_fraction"),
    *("irregularity", "defocus_fraction"),
)
_MAY_BE_ZERO = (
    *("founders", "surround_um", "growth_rate_cv", "width_of_cell_cv", "division_cv", "share_sd", "bend_rad"),
    *("shift_time_h", "jumps_per_h", "jump_um", "maturation_h", "autofluorescence_au_per_um3", "crosstalk"),
    *("division_angle_rad", "speed_um_per_h", "jitter_um_per_sqrt_h", "jitter_rad_per_sqrt_h", "drift_um_per_sqrt_h"),
    *("reporter_au_per_um3", "reporter_sd", "marker_au_per_um3", "marker_cv", "texture_cv", "halo_fraction"),
    *("phase_contrast", "phase_level_au", "phase_grain", "background_au", "offset_au", "read_noise_e"),
)


def _check_choices(p: "Simulation") -> None:
    for name, allowed in _CHOICES.items():
        if getattr(p, name) not in allowed:
            raise ValueError(f"{name} is {getattr(p, name)!r}; wanted one of {', '.join(map(str, allowed))}")
    if p.kind == "nucleus" and p.grows == "length":
        raise ValueError("grows is 'length', which a nucleus cannot share out at division; wanted area or volume")


def _check_ranges(p: "Simulation") -> None:
    for name in (field.name for field in fields(p) if field.name not in _CHOICES):
        value = getattr(p, name)
        if name in _FROM_ZERO_BELOW_ONE:
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value:g}; it must lie in 0 to 1, 1 not included")
        elif name in _MAY_BE_ZERO:
            if not value >= 0:
                raise ValueError(f"{name} is {value:g}; it must not be below 0")
        elif name == "growth_trend":
            if not -0.5 <= value <= 1:
                raise ValueError(f"growth_trend is {value:g}; it must lie in -0.5 to 1")
        elif name == "background_drift_per_h":
            if not math.isfinite(value):
                raise ValueError(f"background_drift_per_h is {value:g}; it must be a number")
        elif not value > 0:
            raise ValueError(f"{name} is {value:g}; it must be above 0")
    if p.birth_length_um < 1.5 * p.width_of_cell_um and p.kind == "rod":
        raise ValueError(
            f"birth_length_um is {p.birth_length_um:g} um; a rod {p.width_of_cell_um:g} um wide must be born at least "
            f"{1.5 * p.width_of_cell_um:g} um long"
        )


@dataclass(frozen=True)
class Simulation:
    """What to simulate; the defaults are *E. coli* on a pad under phase contrast.

    Attributes
    ----------
    kind : {'rod', 'nucleus'}
        Spherocylinders that push each other, or flat ellipses that wander and
        round up before they divide.
    modality : {'phase', 'fluorescence'}
        How the first channel, the one to segment, is made: dark cells with a
        halo, or a marker that fills the cell.
    frames, height_px, width_px : int
        Size of the movie.
    pixel_size_um, frame_interval_min : float
        Scale of the movie.
    founders : int
        Cells at the start, without overlap; 0 gives an empty field.
    surround_um : float
        Width of the strip around the field in which cells live too, so that
        some come in. Beyond it they are forgotten.
    grows : {'length', 'area', 'volume'}
        The quantity that grows exponentially, adds a fixed amount from birth to
        division, and is shared out at division. Called size below. The volume
        of a nucleus is proportional to its area.
    growth_rate_per_h, growth_rate_cv : float
        d ln(size)/dt: mean, and coefficient of variation between cells.
    growth_trend : float
        Rise of the rate over one doubling time from birth, as a share of the
        cell's own rate, which it has in the middle; -0.5 to 1.
    shift_time_h, shift_factor : float
        When all cells change their pace (0: never), and by what the rate is
        multiplied from then on.
    division_rule : {'adder', 'sizer', 'timer'}
        What decides when a cell divides: a size added since birth, a size, or
        a time since birth.
    birth_length_um, width_of_cell_um : float
        Of the mean cell at birth; for a nucleus its two axes.
    width_of_cell_cv : float
        Between founders; daughters inherit the width.
    height_of_cell_um : float
        Of a nucleus, all its life. A rod is as high as wide.
    bend_rad : float
        Standard deviation of the angle by which a rod bends from pole to pole;
        its length, along the midline, its area and volume stay the same.
    irregularity : float
        Relative depth of the waves in the outline of a nucleus; its area stays
        the same, length and width are then those of the ellipse behind it.
    division_cv : float
        Coefficient of variation of what the rule of division fixes: added
        size, size at division, or time.
    share_sd : float
        Standard deviation of the share of size that a daughter gets; mean 1/2.
    constriction_fraction : float
        Share of the growth, the last, in which a rod constricts and a nucleus
        rounds up.
    division_angle_rad : float
        Standard deviation of the angle by which a daughter turns at division.
    speed_um_per_h, persistence_h : float
        Of the persistent random walk of nuclei: root mean square speed and
        correlation time of the velocity.
    jitter_um_per_sqrt_h, jitter_rad_per_sqrt_h : float
        Brownian motion of rods.
    drift_um_per_sqrt_h, jumps_per_h, jump_um : float
        Random walk of the stage, along each axis; jumps of the stage, and how
        far they go on average.
    reporter_au_per_um3 : float
        Mean concentration of the reporter, mature and not, in camera counts.
    reporter_sd : float
        Standard deviation of the logarithm of the reporter's production.
    reporter_memory_h : float
        Correlation time of it, through divisions.
    reporter_every_frames : int
        The reporter is looked at in each nth frame; planes between are 0.
    silent_fraction : float
        Share of founders that make no reporter, and neither do their daughters.
    maturation_h : float
        Mean time until new reporter is seen; 0 for at once.
    bleaching_per_frame : float
        Share of what shines that each exposure destroys.
    autofluorescence_au_per_um3, crosstalk : float
        What any cell shows in the channel of the reporter, and the share of
        the marker's light that is seen there.
    marker_au_per_um3, marker_cv : float
        Concentration of the marker, and its variation between founders.
    texture_cv : float
        Relative variation of density inside a cell.
    psf_sigma_um : float
        Width of the Gaussian that stands for the point spread function.
    defocus_fraction, defocus_sigma_um : float
        Share of frames that are out of focus, and the blur of these.
    haze_fraction, haze_sigma_um : float
        Share of the fluorescence that comes from out of focus, and its width.
    halo_fraction, halo_sigma_um, phase_contrast : float
        Brightness and width of the halo of phase contrast; darkness of a cell.
    phase_level_au, phase_grain : float
        Brightness of the empty field, and relative amplitude of its fixed
        pattern.
    background_au, background_drift_per_h : float
        Background of the fluorescence per pixel, above the camera's offset,
        and its relative change per hour.
    vignetting, tilt : float
        Loss of light towards the corners, and change from edge to edge, as
        shares. The mean over the field stays 1.
    offset_au, electrons_per_au, read_noise_e, bits : float, float, float, int
        The camera: counts in the dark, electrons a count, read noise, and 12
        or 16 bits.

    Raises
    ------
    ValueError
        If a value makes no sense; the text names the parameter.
    """

    kind: str = "rod"
    modality: str = "phase"
    frames: int = 30
    height_px: int = 256
    width_px: int = 256
    pixel_size_um: float = 0.1
    frame_interval_min: float = 5.0
    founders: int = 5
    surround_um: float = 0.0
    grows: str = "length"
    growth_rate_per_h: float = 1.0
    growth_rate_cv: float = 0.1
    growth_trend: float = 0.0
    shift_time_h: float = 0.0
    shift_factor: float = 1.0
    division_rule: str = "adder"
    division_cv: float = 0.12
    birth_length_um: float = 2.4
    width_of_cell_um: float = 0.9
    width_of_cell_cv: float = 0.03
    height_of_cell_um: float = 5.0
    bend_rad: float = 0.0
    irregularity: float = 0.0
    share_sd: float = 0.02
    constriction_fraction: float = 0.25
    division_angle_rad: float = 0.08
    speed_um_per_h: float = 10.0
    persistence_h: float = 0.3
    jitter_um_per_sqrt_h: float = 0.15
    jitter_rad_per_sqrt_h: float = 0.1
    drift_um_per_sqrt_h: float = 0.0
    jumps_per_h: float = 0.0
    jump_um: float = 2.0
    reporter_au_per_um3: float = 25_000.0
    reporter_sd: float = 0.35
    reporter_memory_h: float = 1.0
    reporter_every_frames: int = 1
    silent_fraction: float = 0.0
    maturation_h: float = 0.0
    bleaching_per_frame: float = 0.0
    autofluorescence_au_per_um3: float = 0.0
    crosstalk: float = 0.0
    marker_au_per_um3: float = 60_000.0
    marker_cv: float = 0.15
    texture_cv: float = 0.06
    psf_sigma_um: float = 0.12
    defocus_fraction: float = 0.0
    defocus_sigma_um: float = 0.6
    haze_fraction: float = 0.12
    haze_sigma_um: float = 0.7
    halo_fraction: float = 0.65
    halo_sigma_um: float = 0.55
    phase_contrast: float = 1.15
    phase_level_au: float = 12_000.0
    phase_grain: float = 0.015
    background_au: float = 120.0
    background_drift_per_h: float = 0.0
    vignetting: float = 0.12
    tilt: float = 0.06
    offset_au: float = 100.0
    electrons_per_au: float = 0.6
    read_noise_e: float = 1.6
    bits: int = 16

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_ranges(self)

    @property
    def channels(self) -> tuple[str, str]:
        """Names of the two channels: the one to segment, then the reporter."""
        return ("phase" if self.modality == "phase" else "marker", "reporter")

    @property
    def birth_size(self) -> float:
        """Mean size at birth, in the unit of the quantity that grows."""
        length_um, width_um = self.birth_length_um, self.width_of_cell_um
        if self.kind == "rod":
            sizes = {
                "length": length_um,
                "area": rod_area(length_um, width_um / 2, 0.0),
                "volume": rod_volume(length_um, width_um / 2, 0.0),
            }
            return float(sizes[self.grows])
        area_um2 = math.pi / 4 * length_um * width_um
        return area_um2 if self.grows == "area" else area_um2 * self.height_of_cell_um * 2 / 3


NUCLEI = Simulation(
    kind="nucleus",
    modality="fluorescence",
    frames=60,
    height_px=512,
    width_px=512,
    pixel_size_um=0.25,
    frame_interval_min=10.0,
    founders=40,
    surround_um=15.0,
    grows="area",
    growth_rate_per_h=math.log(2) / 14,
    birth_length_um=13.0,
    width_of_cell_um=10.5,
    width_of_cell_cv=0.08,
    constriction_fraction=0.06,
    division_angle_rad=0.3,
    share_sd=0.03,
    reporter_au_per_um3=350.0,
    marker_au_per_um3=900.0,
    marker_cv=0.35,
    texture_cv=0.16,
    psf_sigma_um=0.25,
    haze_fraction=0.15,
    haze_sigma_um=2.5,
    background_au=60.0,
)
"""Nuclei of cultured cells with a fluorescent marker, the other usual case."""
