"""Well, position, condition and replicate, read out of the names of movies."""

import re
from typing import NamedTuple

from cytolapse.formats import FORMATS
from planning.checks import did_you_mean

# What a field of a pattern can be; x_... is any column of the user's own.
FIELDS = {
    "well": r"[A-Za-z]{1,2}[0-9]{1,3}",
    "position": r"[A-Za-z0-9]+",
    "replicate": r"[A-Za-z0-9]+",
    "condition": r"[^/]+",
}
_OWN = re.compile(r"x_[A-Za-z0-9_]+")
_ENDING = re.compile(
    rf"(\.ome)?({'|'.join(re.escape(end) for each in FORMATS for end in each.endings)})$", re.IGNORECASE
)
# A field begins and ends at the end of a number, never within one.
_NOT_IN_A_NUMBER = r"(?!(?<=[0-9])[0-9])"


class NamePattern(NamedTuple):
    """How names are read.

    Attributes
    ----------
    text : str
        As the user wrote it.
    fields : tuple of str
    shortest, longest : re.Pattern
        Two readings, of the first fields as short and as long as can be; where
        they agree there is no other.
    """

    text: str
    fields: tuple[str, ...]
    shortest: re.Pattern
    longest: re.Pattern


def name_pattern(text: str) -> NamePattern:
    """Understand a pattern, such as '{condition}_rep{replicate}/{well}_s{position}'.

    Fields stand in braces; '*' is anything but '/'; all else stands for itself.

    Raises
    ------
    ValueError
        If a field is unknown or there twice, a brace is alone, or there is no
        field.
    """
    parts = re.split(r"\{([^{}/]*)\}", text)
    fields, literals = parts[1::2], parts[::2]
    known = f"; known are {', '.join(FIELDS)} and x_... for columns of your own"
    for field in fields:
        if field not in FIELDS and not _OWN.fullmatch(field):
            raise ValueError(f"{{{field}}} is not a field{did_you_mean(field, FIELDS)}{known}")
        if fields.count(field) > 1:
            raise ValueError(f"{{{field}}} stands there twice")
    if any(brace in literal for literal in literals for brace in "{}"):
        raise ValueError("a brace '{' or '}' has no partner")
    if not fields:
        raise ValueError(f"holds no field{known}")
    return NamePattern(text, tuple(fields), _regex(parts, lazy=True), _regex(parts, lazy=False))


def _regex(parts: list[str], lazy: bool) -> re.Pattern:
    least = "?" if lazy else ""
    made = []
    for number, part in enumerate(parts):
        if number % 2:
            of_field = FIELDS.get(part, FIELDS["condition"]).replace("}", "}" + least).replace("+", "+" + least)
            made.append(f"{_NOT_IN_A_NUMBER}(?P<{part}>{of_field}){_NOT_IN_A_NUMBER}")
        else:
            made.append(re.escape(part).replace(r"\*", f"[^/]*{least}"))
    return re.compile("".join(made))


def read_name(pattern: NamePattern, path: str) -> dict[str, str]:
    """What a movie's name says of it.

    As many folders are looked at as the pattern has parts between slashes, and
    the ending only where the name without it does not fit.

    Parameters
    ----------
    pattern : NamePattern
    path : str
        Of the movie; of a position in a folder with its mark as the last part.

    Returns
    -------
    dict
        Field -> text.

    Raises
    ------
    ValueError
        If the name does not fit, or can be read in more than one way.
    """
    name = "/".join(path.rstrip("/").split("/")[-1 - pattern.text.count("/") :])
    for text in (_ENDING.sub("", name), name):
        match = pattern.shortest.fullmatch(text)
        if match is None:
            continue
        other = pattern.longest.fullmatch(text).groupdict()
        if other != match.groupdict():
            field = next(field for field in pattern.fields if other[field] != match[field])
            raise ValueError(
                f"the name {name!r} can be read in more than one way by the pattern {pattern.text!r}: {field} is "
                f"{match[field]!r} or {other[field]!r}"
            )
        return match.groupdict()
    raise ValueError(f"the name {name!r} does not fit the pattern {pattern.text!r}")
