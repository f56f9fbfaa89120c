"""Precision and recall of divisions over the score from which they are believed, `link.min_division_score`."""

import json
from pathlib import Path

import data as movies
from scores import divisions, match_frames, write_json
from sequences import Sequence
from trackers import Tracked
from trackscores import divisions_by_traccuracy

from cytolapse.exports import write_ctc
from cytolapse.lineage import link_movie
from planning.settings import read_settings

SCORES = (0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 0.9)
# Of these sequences, those that are there: nuclei and rods, own labels and the truth's.
SEQUENCES = ("own_hela", "own_sim", "given_sim", "own_ecoli", "given_ecoli")


def balance(sequence: Sequence, tracked: Tracked, folder: Path) -> dict[str, dict]:
    """What is found, and how much of it is right, from each score on; all else as the defaults say.

    Parameters
    ----------
    sequence : Sequence
    tracked : Tracked
        By Cytolapse; movie.json and objects.parquet lie beside.
    folder : Path
        For the tables and masks of each score.
    """
    settings = read_settings({})["link"]
    markers = movies.frames(sequence.truth / "TRA", "man_track")
    found = {}
    for least in SCORES:
        tables = [folder / f"{name}.parquet" for name in ("tracks", "lineage", "repairs")]
        folder.mkdir(parents=True, exist_ok=True)
        link_movie(
            tracked.labels.with_name("movie.json"),
            tracked.labels.with_name("objects.parquet"),
            *tables,
            **{**settings, "min_division_score": least},
            frame_interval_min=sequence.row["interval"],
            division=sequence.row["division"],
            provenance=None,
        )
        ctc = folder / "ctc"
        write_ctc(tracked.labels, *tables, ctc)
        found[f"{least:g}"] = divisions(match_frames(ctc, markers), sequence.truth / "TRA/man_track.txt", ctc)
        if sequence.complete:
            found[f"{least:g}"] |= divisions_by_traccuracy(ctc, sequence.truth / "TRA")
    return found


def balances(sequences: list[Sequence], tracked: dict[str, Tracked], folder: Path) -> dict[str, dict]:
    """The balance of all sequences that have one, by name; kept as JSON, and made again where the tracks are newer."""
    for sequence in sequences:
        kept = folder / f"{sequence.name}.json"
        by = tracked[sequence.name]
        if sequence.name in SEQUENCES and (not kept.exists() or kept.stat().st_mtime < by.tracks.stat().st_mtime):
            write_json(kept, balance(sequence, by, folder / sequence.name))
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def balance_as_markdown(found: dict[str, dict]) -> str:
    """The table of docs/method.md: recall and precision within one frame, and F1 behind them."""
    names = [name for name in SEQUENCES if name in found]
    lines = [["`min_division_score`", *(name.replace("_", ": ") for name in names)], ["---"] * (len(names) + 1)]
    lines += [[f"{least:g}", *(_shown(found[name][f"{least:g}"]) for name in names)] for least in SCORES]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _shown(each: dict) -> str:
    counted = [each["division_recall"], each["division_precision"], each["division_F1"]]
    text = ", ".join(f"{value:.3f}" for value in counted)
    return text + (f" / {each['divisions_traccuracy'][1]:.3f}" if "divisions_traccuracy" in each else "")
