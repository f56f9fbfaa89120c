"""What can be simulated: the parameters of cells, microscope and camera."""

import math
from dataclasses import dataclass, fields

from cytolapse.rods import rod_area, rod_volume

_CHOICES = {
    "kind": ("rod", "nucleus", "yeast"),
    "modality": ("fluorescence", "phase"),
    "grows": ("length", "area", "volume"),
    "division_rule": ("adder", "sizer", "timer"),
    "bits": (12, 16),
}
_FROM_ZERO_BELOW_ONE = (
    *("constriction_fraction", "haze_fraction", "vignetting", "tilt", "bleaching_per_frame", "silent_fraction"),
    *("irregularity", "defocus_fraction", "phase_floor", "halo_wide_fraction", "bud_share", "bud_width"),
)
_MAY_BE_ZERO = (
    *("founders", "surround_um", "growth_rate_cv", "width_of_cell_cv", "division_cv", "share_sd", "bend_rad"),
    *("shift_time_h", "jumps_per_h", "jump_um", "maturation_h", "autofluorescence_au_per_um3", "crosstalk"),
    *("division_angle_rad", "speed_um_per_h", "jitter_um_per_sqrt_h", "jitter_rad_per_sqrt_h", "drift_um_per_sqrt_h"),
    *("reporter_au_per_um3", "reporter_sd", "marker_au_per_um3", "marker_cv", "texture_cv", "halo_fraction"),
    *("phase_contrast", "phase_level_au", "phase_grain", "background_au", "offset_au", "read_noise_e"),
    *("vacuole_contrast", "nuclear_ratio", "nuclear_ratio_cv", "translocation_time_h", "translocation_h"),
    *("nuclear_marker_au_per_um3",),
)


def _check_choices(p: "Simulation") -> None:
    for name, allowed in _CHOICES.items():
        if getattr(p, name) not in allowed:
            raise ValueError(f"{name} is {getattr(p, name)!r}; wanted one of {', '.join(map(str, allowed))}")
    if p.kind != "rod" and p.grows == "length":
        raise ValueError(f"grows is 'length', which a {p.kind} cannot share out at division; wanted area or volume")
    if p.kind == "rod" and p.nuclear_ratio:
        raise ValueError(f"nuclear_ratio is {p.nuclear_ratio:g}, but a rod has no nucleus; it must be 0")
    if p.kind == "yeast" and p.growth_trend:
        raise ValueError(f"growth_trend is {p.growth_trend:g}; yeast grows at one rate, it must be 0")


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
    if p.kind == "yeast" and not 0 < p.bud_width**2 < p.bud_share / 2:
        raise ValueError(
            f"bud_width is {p.bud_width:g} and bud_share {p.bud_share:g}; a bud emerges with less than half of the "
            "size at which it parts: the square of bud_width must lie in 0 to half of bud_share, ends not included"
        )


@dataclass(frozen=True)
class Simulation:
    """What to simulate; the defaults are *E. coli* on a pad under phase contrast.

    Attributes
    ----------
    kind : {'rod', 'nucleus', 'yeast'}
        Spherocylinders that push each other; flat ellipses that wander and
        round up before they divide; or ellipsoids that push each other and
        bud: a mother keeps her size while what the two grow by goes into the
        bud at her neck.
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
        cell's own rate, which it has in the middle; -0.5 to 1, and 0 in yeast.
    shift_time_h, shift_factor : float
        When all cells change their pace (0: never), and by what the rate is
        multiplied from then on.
    division_rule : {'adder', 'sizer', 'timer'}
        What decides when a cell divides: a size added since birth, a size, or
        a time since birth. In yeast it decides when a cell buds first, and
        counts from when she left her mother.
    birth_length_um, width_of_cell_um : float
        Of the mean cell at birth, in yeast when she leaves her mother; for a
        nucleus and for yeast the two axes.
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
        Standard deviation of the share of size that a daughter gets, mean 1/2;
        in yeast of the share of her mother's size at which a bud leaves her.
    bud_share, bud_width : float
        Mean size of a bud when it leaves its mother, and its width when it
        emerges, over the mother's.
    rest_h : float
        Mean time from when a bud leaves until its mother's next one emerges.
    constriction_fraction : float
        Share of the growth, the last, in which a rod constricts and a nucleus
        rounds up; yeast does neither.
    division_angle_rad : float
        Standard deviation of the angle by which a daughter turns at division.
    speed_um_per_h, persistence_h : float
        Of the persistent random walk of nuclei: root mean square speed and
        correlation time of the velocity.
    jitter_um_per_sqrt_h, jitter_rad_per_sqrt_h : float
        Brownian motion of rods and yeast.
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
    nuclear_ratio, nuclear_ratio_cv : float
        Concentration of the reporter in the nucleus over that around it, and
        its variation between cells; 0 for a reporter that knows no nucleus.
        Above 0 the reporter is drawn as in an optical section, light by
        concentration alone; yeast gets a third channel, in which its nuclei
        shine, and nuclei get a rim of cytoplasm in the reporter's channel.
    translocation_time_h, translocated_ratio, translocation_h : float
        When the reporter moves (0: never), the ratio that it moves to, and the
        time within which all but 1/e of the way is done; 0 for at once.
    cytoplasm_um : float
        How far the cell reaches beyond its nucleus.
    nuclear_marker_au_per_um3 : float
        Concentration of the marker of the nuclei of yeast.
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
    halo_fraction, halo_sigma_um, halo_wide_fraction, phase_contrast : float
        Brightness and width of the halo of phase contrast, the part of it that
        reaches three times as far; darkness of a cell.
    phase_floor, vacuole_contrast : float
        Brightness of the darkest place under phase contrast, and how much
        brighter a vacuole of yeast is, over that of the empty field.
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
    bud_share: float = 0.6
    bud_width: float = 0.2
    rest_h: float = 0.25
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
    nuclear_ratio: float = 0.0
    nuclear_ratio_cv: float = 0.1
    translocation_time_h: float = 0.0
    translocated_ratio: float = 1.0
    translocation_h: float = 0.1
    cytoplasm_um: float = 4.0
    nuclear_marker_au_per_um3: float = 4_000.0
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
    halo_wide_fraction: float = 0.25
    phase_contrast: float = 1.15
    phase_level_au: float = 12_000.0
    phase_grain: float = 0.015
    phase_floor: float = 0.12
    vacuole_contrast: float = 0.4
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
    def channels(self) -> tuple[str, ...]:
        """Names of the channels: the one to segment, the reporter, and the nuclei of yeast where they are shown."""
        nuclei = ("nucleus",) if self.kind == "yeast" and self.nuclear_ratio else ()
        return ("phase" if self.modality == "phase" else "marker", "reporter", *nuclei)

    @property
    def division(self) -> str:
        """How the cells divide, as the sheet of experiments calls it: fission or budding."""
        return "budding" if self.kind == "yeast" else "fission"

    @property
    def fold(self) -> float:
        """Size at division over size at birth of the mean cell; in yeast from one's mother to one's own first bud."""
        return 1 / self.bud_share if self.kind == "yeast" else 2.0

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
        height_um = width_um if self.kind == "yeast" else self.height_of_cell_um
        area_um2 = math.pi / 4 * length_um * width_um
        return area_um2 if self.grows == "area" else area_um2 * height_um * 2 / 3


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

YEAST = Simulation(
    kind="yeast",
    frames=60,
    height_px=256,
    width_px=256,
    pixel_size_um=0.25,
    founders=6,
    grows="volume",
    growth_rate_per_h=math.log(2) / 1.5,
    birth_length_um=5.1,
    width_of_cell_um=4.4,
    width_of_cell_cv=0.05,
    division_cv=0.2,
    share_sd=0.06,
    jitter_um_per_sqrt_h=0.3,
    jitter_rad_per_sqrt_h=0.1,
    reporter_au_per_um3=400.0,
    marker_au_per_um3=1_500.0,
    marker_cv=0.2,
    psf_sigma_um=0.2,
    haze_sigma_um=1.2,
    halo_fraction=32.0,
    halo_sigma_um=0.42,
    halo_wide_fraction=0.05,
    phase_contrast=32.0,
    phase_level_au=250.0,
    phase_floor=0.85,
    vacuole_contrast=0.8,
    vignetting=0.06,
    tilt=0.03,
    phase_grain=0.004,
    background_au=60.0,
)
"""Budding yeast in a chip under phase contrast."""
