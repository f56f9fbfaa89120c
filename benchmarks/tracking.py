"""Tracks and lineages on real movies, beside trackpy alone and LapTrack on the same labels; and speed.

    python benchmarks/tracking.py [PART ...] [--folder bench/tracking] [--accuracy bench/accuracy] [--cores all]

A part is given_sim, given_gowt1, given_hela, given_ecoli or given_yeast (labels
of the truth itself), own_gowt1, own_hela, own_ecoli or own_sim (labels that a
finished run of benchmarks/accuracy.py found, in the folder --accuracy), balance
(precision and recall of divisions over link.min_division_score), or speed. All by
default; own_... is left out where that run is missing. The scores of each part
and program are kept as a JSON of their own (FOLDER/scores), and made again
where the tracks are newer, so that a run can be cut off at any time. The tables
are made of all that is there and written into docs/accuracy.md, the balance into
docs/method.md.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import data as movies
from balance import SEQUENCES, balance_as_markdown, balances
from scores import write_between_marks, write_json
from sequences import GIVEN, Sequence, own
from trackers import OTHERS, Tracked, lay_out, run_cytolapse, run_other, speeds
from trackscores import score

DOCS = movies.REPOSITORY / "docs"
OWN = tuple(f"own_{task.name}" for task in movies.TASKS)
TRACKERS = {"cytolapse": "Cytolapse", "trackpy": "trackpy alone", "laptrack": "LapTrack"}
OTHER_PARTS = ("balance", "speed")
CELLS, FRAMES, ROUNDS = 1000, 200, 3


def sequences_of(parts: list[str], data: Path, folder: Path, accuracy: Path) -> list[Sequence]:
    """The movies that are asked for, with their truth written out."""
    return [
        GIVEN[part](data, folder) if part in GIVEN else own(part.removeprefix("own_"), data, folder, accuracy)
        for part in parts
        if part not in OTHER_PARTS
    ]


def judge_all(sequences: list[Sequence], folder: Path, cores: str) -> dict[str, Tracked]:
    """Track every movie by every program, and score what is not scored yet; give what Cytolapse made."""
    lay_out(folder, sequences)
    tracked = run_cytolapse(folder, sequences, cores)
    for tracker, sequence in itertools.product(TRACKERS, sequences):
        by = tracked[sequence.name]
        kept = folder / "scores" / sequence.name / f"{tracker}.json"
        if not kept.exists() or kept.stat().st_mtime < by.tracks.stat().st_mtime:
            found = run_other(tracker, by, folder / "others") if tracker in OTHERS else by
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, score(sequence, found, folder / "dense" / sequence.name / tracker))
    return tracked


def read_scores(folder: Path) -> dict[str, dict]:
    """What was scored so far, by sequence and program."""
    found: dict[str, dict] = {}
    for path in sorted((folder / "scores").glob("*/*.json")):
        found.setdefault(path.parent.name, {})[path.stem] = json.loads(path.read_text())
    return found


def as_markdown(results: dict[str, dict], speed: dict | None) -> str:
    """The tables of docs/accuracy.md."""
    lines = ["Independent programs: py-ctcmetrics, and traccuracy behind the stroke.", ""]
    head = ["labels", "tracks by", "DET", "TRA", "LNK", "CT", "division F1 within 0, 1, 2, 3 frames: BC(i)"]
    lines += _table([*head, "traccuracy"], _rows(results, _independent))
    lines += ["", "Counted here:", ""]
    head = ["labels", "tracks by", "divisions", "found", "F1 within 0, 1, 2, 3", "recall", "precision", "F1, nearest"]
    lines += _table([*head, "identity", "cycles right", "of those born in view"], _rows(results, _counted))
    lines += ["", "Buds (yeast):", ""]
    head = ["labels", "tracks by", "identity", "buds", "begin a track", "with a mother beside"]
    lines += _table(head, _rows(results, _budding))
    if speed:
        size = f"{speed['cells']:,} cells x {speed['frames']} frames"
        lines += ["", f"Speed on {size}, synthetic, by processor time of one thread:", ""]
        rows = [[name, f"{speed['per_second'][tracker]:,.0f}"] for tracker, name in TRACKERS.items()]
        lines += _table(["tracks by", "cells linked a second"], rows)
    return "\n".join(lines) + "\n"


def _rows(results: dict[str, dict], columns) -> list[list[str]]:
    rows = []
    for name in (*GIVEN, *OWN):
        for tracker, shown in TRACKERS.items():
            cells = columns(results.get(name, {}).get(tracker, {}))
            if cells:
                rows.append([name.replace("_", ": "), shown, *cells])
    return rows


def _independent(found: dict) -> list[str] | None:
    if "TRA" not in found:
        return None
    both = [f"{found[name]:.3f} / {found[f'{name}_traccuracy']:.3f}" for name in ("DET", "TRA", "LNK")]
    return [*both, _number(found["CT"]), _curve(found["BC"]), _curve(found["divisions_traccuracy"])]


def _counted(found: dict) -> list[str] | None:
    if "divisions" not in found:
        return None
    cells = [str(found["divisions"]), str(found["divisions_found"]), _curve(found["division_F1_by_tolerance"])]
    cells += [_number(found[name]) for name in ("division_recall", "division_precision", "division_F1_nearest")]
    right = f"{_number(found['cycle_right'])} of {found['cycles']}"
    born = f"{_number(found['cycle_right_born'])} of {found['cycles_born']}" if found["cycles_born"] else ""
    return [*cells, f"{found['identity']:.4f}", right, born]


def _budding(found: dict) -> list[str] | None:
    if "buds" not in found:
        return None
    return [f"{found['identity']:.4f}", str(found["buds"]), _number(found["begin"]), _number(found["with_mother"])]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _curve(values: list[float | None]) -> str:
    return "" if None in values else ", ".join(f"{value:.3f}" for value in values)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def parts_of(wanted: list[str], accuracy: Path) -> list[str]:
    """The parts that were asked for; by default all that can be done."""
    known = [*GIVEN, *OWN, *OTHER_PARTS]
    unknown = [part for part in wanted if part not in known]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such part; they are {', '.join(known)}")
    there = {part: any((accuracy / "results" / part.removeprefix("own_")).glob("*/labels.tif")) for part in OWN}
    missing = [part for part in wanted if not there.get(part, True)]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)}: {accuracy} holds no labels of it; run benchmarks/accuracy.py first, or name the "
            "folder of a finished run by --accuracy"
        )
    parts = wanted or [part for part in known if there.get(part, True)]
    more = [part for part in SEQUENCES if "balance" in parts and part not in parts and there.get(part, True)]
    return [*more, *parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="given_..., own_..., balance or speed; all by default")
    parser.add_argument("--folder", type=Path, default=movies.REPOSITORY / "bench/tracking")
    parser.add_argument("--accuracy", type=Path, default=movies.REPOSITORY / "bench/accuracy")
    parser.add_argument("--cores", default="all")
    options = parser.parse_args()
    folder = options.folder.resolve()
    parts = parts_of(options.parts, options.accuracy)
    folder.mkdir(parents=True, exist_ok=True)
    sequences = sequences_of(parts, movies.data_folder().resolve(), folder, options.accuracy)
    tracked = judge_all(sequences, folder, options.cores) if sequences else {}
    if "balance" in parts:
        text = balance_as_markdown(balances(sequences, tracked, folder / "balance"))
        write_between_marks(DOCS / "method.md", "balance", text)
    speed = folder / "speed.json"
    if "speed" in parts and (options.parts or not speed.exists()):
        found = speeds(folder / "speed", CELLS, FRAMES, ROUNDS)
        write_json(speed, {"cells": CELLS, "frames": FRAMES, "per_second": found})
    text = as_markdown(read_scores(folder), json.loads(speed.read_text()) if speed.exists() else None)
    sys.stdout.write(text)
    write_between_marks(DOCS / "accuracy.md", "tracking", text)


if __name__ == "__main__":
    main()
