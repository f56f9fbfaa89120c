"""Numbers and units in metadata: which are believed, and what they are in micrometres and seconds."""

import math

PIXEL_SIZE_UM = (0.005, 50.0)

_UM_PER_UNIT = {
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "pm": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
}
_S_PER_UNIT = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
}


def positive(value: object) -> float | None:
    """A finite number above 0, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def whole(value: object) -> int:
    """A count of at least 1; 1 where there is none."""
    number = positive(value)
    return max(1, int(number)) if number else 1


def unit_um(unit: str | None) -> float | None:
    """Micrometres in one `unit`; None where it is none of length."""
    if unit is None:
        return None
    plain = _plain(unit.replace("\\u00B5", "u"))
    return _UM_PER_UNIT.get(plain) or _UM_PER_UNIT.get(plain.lower())


def unit_s(unit: str) -> float | None:
    """Seconds in one `unit`; None where it is none of time."""
    return _S_PER_UNIT.get(_plain(unit).lower())


def _plain(unit: str) -> str:
    return unit.strip().replace("\u00b5", "u").replace("\u03bc", "u")


def believed_size_um(
    x_um: float | None,
    y_um: float | None,
    believed: tuple[float, float] = PIXEL_SIZE_UM,
    warnings: list[str] | None = None,
) -> float | None:
    """Pixel size where it is that of square pixels of a microscope, else None and a warning.

    Parameters
    ----------
    x_um, y_um : float or None
        As the file says, in micrometres; a missing y is taken to be x.
    believed : tuple of float
        Smallest and largest that are believed, in micrometres.
    warnings : list of str or None
        Appended to.
    """
    if x_um is None:
        return None
    y_um = x_um if y_um is None else y_um
    said = None
    if abs(x_um - y_um) > 0.01 * max(x_um, y_um):
        said = f"its metadata say pixels of {y_um:g} x {x_um:g} um, which are not square: not used"
    elif not believed[0] <= x_um <= believed[1]:
        said = f"its metadata say a pixel size of {x_um:g} um, outside of {believed[0]:g} to {believed[1]:g}: not used"
    if said is None:
        return x_um
    if warnings is not None:
        warnings.append(said)
    return None
