"""Scores of tracks: by two independent programs, and by counts that are written out here.

py-ctcmetrics and traccuracy want truth on every frame. Where truth has gaps in
time (HeLa), they are shown the frames that have it, as a sequence of its own;
what is counted here knows the true frames of divisions.
"""

import contextlib
import io
from pathlib import Path

import data as movies
import numpy as np
import pandas as pd
from ctc_metrics import evaluate_sequence
from scipy import ndimage
from scores import divisions, match_frames, owners, read, read_tracks
from sequences import Sequence, Tracks, write_dense
from trackers import Tracked

from cytolapse.tables import read_table
from cytolapse.trackedlabels import TrackedLabels

TOLERANCES = range(4)
# A bud's mother is beside it where no more than these pixels lie between the two.
_BESIDE_PX = 5


def score(sequence: Sequence, tracked: Tracked, folder: Path) -> dict:
    """All that is known to be right or wrong about one program's tracks of one movie."""
    markers = movies.frames(sequence.truth / "TRA", "man_track")
    true = read_tracks(sequence.truth / "TRA/man_track.txt")
    matched = match_tracks(tracked, markers)
    result = {"identity": identity(matched)}
    if not sequence.families:
        return result | buds(tracked, markers, true, matched)
    found, truth = tracked.ctc, sequence.truth
    numbered = match_frames(found, markers)
    result |= divisions(numbered, truth / "TRA/man_track.txt", found)
    nearest = divisions(numbered, truth / "TRA/man_track.txt", found, asked_frames=1)
    result["division_F1_nearest"] = nearest["division_F1"]
    result |= cycles(numbered, true, read_tracks(found / "res_track.txt"))
    if not sequence.complete:
        found, truth = _on_marked_frames(sequence, tracked, markers, folder)
    return result | by_ctcmetrics(found, truth) | by_traccuracy(found, truth / "TRA")


def match_tracks(tracked: Tracked, markers: dict[int, Path]) -> dict[int, dict[int, int]]:
    """Of every marked frame: true cell -> the track that covers more than half of it."""
    with TrackedLabels(tracked.labels, tracked.tracks, tracked.repairs) as labels:
        return {frame: owners(read(path), labels.read(frame)) for frame, path in markers.items()}


def identity(matched: dict[int, dict[int, int]]) -> float:
    """Share of true cells, found on two marked frames in a row, that keep their track between them."""
    kept = total = 0
    frames = sorted(matched)
    for before, after in zip(frames, frames[1:], strict=False):
        cells = matched[before].keys() & matched[after].keys()
        total += len(cells)
        kept += sum(matched[before][cell] == matched[after][cell] for cell in cells)
    return kept / total


def cycles(matched: dict[int, dict[int, int]], true: Tracks, have: Tracks) -> dict:
    """Share of true mothers whose whole cycle is right.

    Right is a mother who is one found track, of hers alone, on all marked
    frames of her life but those within one frame of its ends, and whose
    division is found with both daughters within one frame. Of mothers born in
    view the division before has to be right as well for `cycle_right_born`.
    """
    daughters: dict[int, list[int]] = {}
    for cell, (_, _, parent) in sorted(true.items()):
        daughters.setdefault(parent, []).append(cell)
    mothers = [cell for cell in true if len(daughters.get(cell, ())) == 2]
    right = {mother: _whole(mother, daughters[mother], true, have, matched) for mother in mothers}
    divides = {mother: _divides(mother, daughters[mother], true, have, matched) for mother in mothers}
    born = [mother for mother in mothers if true[mother][2] in divides]
    return {
        "cycles": len(mothers),
        "cycle_right": _share(right[mother] for mother in mothers),
        "cycles_born": len(born),
        "cycle_right_born": _share(right[mother] and divides[true[mother][2]] for mother in born),
    }


def _share(values) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def _divides(mother: int, daughters: list[int], true: Tracks, have: Tracks, matched: dict) -> bool:
    """The division is found with mother and daughters within one frame."""
    tracks = _track_near(mother, true, matched, last=True)
    ones = [_track_near(daughter, true, matched, last=False) for daughter in daughters]
    return any(
        one != other
        and one in have
        and other in have
        and have[one][2] == have[other][2] == track
        and abs(have[one][0] - true[daughters[0]][0]) <= 1
        for track in tracks
        for one in ones[0]
        for other in ones[1]
    )


def _whole(mother: int, daughters: list[int], true: Tracks, have: Tracks, matched: dict) -> bool:
    first, last, _ = true[mother]
    inside = [frame for frame in matched if first < frame < last] or [f for f in matched if first <= f <= last]
    tracks = {matched[frame].get(mother) for frame in inside}
    if len(tracks) != 1 or None in tracks:
        return False
    (track,) = tracks
    alone = all(cell == mother for frame in inside for cell, own in matched[frame].items() if own == track)
    return alone and _divides(mother, daughters, true, have, matched)


def _track_near(cell: int, true: Tracks, matched: dict, *, last: bool) -> set[int]:
    """The found tracks on a true one, on the two marked frames nearest its end or its beginning."""
    first, end, _ = true[cell]
    frames = sorted(frame for frame in matched if first <= frame <= end and cell in matched[frame])
    return {matched[frame][cell] for frame in (frames[-2:] if last else frames[:2])}


def buds(tracked: Tracked, markers: dict[int, Path], true: Tracks, matched: dict[int, dict[int, int]]) -> dict:
    """Share of true buds that begin a track of their own in their first frame, and of these with a mother beside it."""
    lineage = read_table("lineage", tracked.lineage).set_index("track")
    new = begun = mothered = 0
    for cell, (first, _, _) in true.items():
        if first == min(markers):
            continue
        new += 1
        track = matched[first].get(cell)
        if track is None or lineage.loc[track, "first_frame"] != first:
            continue
        begun += 1
        mother = lineage.loc[track, "parent"]
        if pd.notna(mother):
            with TrackedLabels(tracked.labels, tracked.tracks, tracked.repairs) as labels:
                mask = labels.read(first)
            near = ndimage.binary_dilation(mask == track, iterations=_BESIDE_PX)
            mothered += bool((near & (mask == mother)).any())
    return {"buds": new, "begin": begun / new, "with_mother": mothered / new}


def _on_marked_frames(
    sequence: Sequence, tracked: Tracked, markers: dict[int, Path], folder: Path
) -> tuple[Path, Path]:
    """Result and truth of the frames that have markers, as sequences without gaps."""
    frames = sorted(markers)
    found, truth = folder / "found", folder / "truth"
    for place, masks, tracks, true in (
        (found, (read(tracked.ctc / f"mask{frame:03d}.tif") for frame in frames), tracked.ctc / "res_track.txt", False),
        (
            truth / "TRA",
            (read(markers[frame]) for frame in frames),
            sequence.truth / "TRA/man_track.txt",
            True,
        ),
    ):
        for stale in place.glob("*.tif"):
            stale.unlink()
        write_dense(place, masks, read_tracks(tracks), truth=true)
    return found, truth


def by_ctcmetrics(found: Path, truth: Path) -> dict:
    """DET, TRA, LNK and branching correctness BC(i), the F1 of divisions within i frames, by py-ctcmetrics."""
    names = ["DET", "TRA", "LNK", "CT", "BC"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        scores = evaluate_sequence(str(found), str(truth), metrics=names, threads=1)
    if scores.get("TRA") is None:
        raise SystemExit(f"{found}: py-ctcmetrics refuses the result: {said.getvalue()}")
    branching = [scores.get(f"BC({tolerance})") for tolerance in TOLERANCES]
    return {
        **{name: float(scores[name]) for name in ("DET", "TRA", "LNK", "CT")},
        "BC": [None if each is None else float(each) for each in branching],
    }


def by_traccuracy(found: Path, truth: Path) -> dict:
    """DET, TRA, LNK and F1 of divisions within 0 to 3 frames by traccuracy."""
    from traccuracy.metrics import CTCMetrics

    with contextlib.redirect_stderr(io.StringIO()):
        matched = _matched_by_traccuracy(found, truth)
        scores = CTCMetrics().compute(matched).results
    return {f"{name}_traccuracy": float(scores[name]) for name in ("DET", "TRA", "LNK")} | _divisions_of(matched)


def divisions_by_traccuracy(found: Path, truth: Path) -> dict:
    """F1 of divisions within 0 to 3 frames by traccuracy, alone."""
    with contextlib.redirect_stderr(io.StringIO()):
        return _divisions_of(_matched_by_traccuracy(found, truth))


def _matched_by_traccuracy(found: Path, truth: Path):
    from traccuracy.loaders import load_ctc_data
    from traccuracy.matchers import CTCMatcher

    return CTCMatcher().compute_mapping(
        load_ctc_data(str(truth), str(truth / "man_track.txt"), run_checks=False),
        load_ctc_data(str(found), str(found / "res_track.txt"), run_checks=False),
    )


def _divisions_of(matched) -> dict:
    from traccuracy.matchers import Matched
    from traccuracy.metrics import DivisionMetrics

    # A found cell that holds two true ones can be matched to one for divisions: to the first.
    taken: dict = {}
    for true_node, found_node in matched.mapping:
        taken.setdefault(found_node, true_node)
    single = [(true_node, found_node) for found_node, true_node in taken.items()]
    single = Matched(matched.gt_graph, matched.pred_graph, single, {"name": "one to one"})
    with contextlib.redirect_stderr(io.StringIO()):
        by_tolerance = DivisionMetrics(max_frame_buffer=max(TOLERANCES)).compute(single).results
    return {"divisions_traccuracy": [_known(by_tolerance[f"Frame Buffer {n}"]["Division F1"]) for n in TOLERANCES]}


def _known(value: float) -> float | None:
    """None for the nan of a program that found no division at all."""
    return None if np.isnan(value) else float(value)
