"""Scores of one movie's results against the truth that there is.

SEG, DET, TRA and LNK of complete truth come from py-ctcmetrics, an
independent program; the rest, where truth has gaps, from counts that are
written out here.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from ctc_metrics import evaluate_sequence

from cytolapse.evaluation import cell_jaccards, match_cells
from cytolapse.exports import write_ctc


def read(path: Path) -> np.ndarray:
    return tifffile.imread(path).squeeze().astype(np.int32)


def drop_margin(labels: np.ndarray, margin_px: int) -> np.ndarray:
    """Labels without the cells that lie wholly in the strip along the border."""
    if not margin_px:
        return labels
    inside = np.unique(labels[margin_px:-margin_px, margin_px:-margin_px])
    return np.where(np.isin(labels, inside), labels, 0)


def export(results: Path, folder: Path) -> Path:
    """The results of a movie in the format of the Cell Tracking Challenge."""
    shutil.rmtree(folder, ignore_errors=True)
    tables = (results / f"{name}.parquet" for name in ("tracks", "lineage", "repairs"))
    write_ctc(results / "labels.tif", *tables, folder)
    return folder


def seg(found: dict, drawn: dict) -> float | None:
    """SEG over the cells of frames that both have, whatever else those hold."""
    jaccards = [cell_jaccards(_image(drawn[frame]), _image(found[frame])) for frame in sorted(found.keys() & drawn)]
    return float(np.concatenate(jaccards).mean()) if jaccards else None


def precision_at(found: Path, truth: dict, judged, margin_px: int, ious=(0.5, 0.75)) -> dict:
    """AP = TP / (TP + FP + FN) over frames on which every cell is drawn that reaches out of the margin."""
    scores = {}
    for iou in ious:
        counts = np.zeros(3, int)
        for frame, mask in truth.items():
            if judged(frame):
                cells = drop_margin(read(found / f"mask{frame:03d}.tif"), margin_px)
                counts += np.array(match_cells(_image(mask), cells, iou)[:3])
        scores[f"AP{round(100 * iou)}"] = float(counts[0] / counts.sum())
    return scores


def detections(found: Path, markers: dict, margin_px: int) -> dict:
    """Recall and precision of cells against the markers of the frames there are.

    A found cell counts where it covers more than half of a marker; markers
    that share one found cell count as one hit, the others as merged. Cells
    that lie wholly in the margin have no markers and count for nothing.
    """
    hits = extra = missed = merged = 0
    for frame, mask in markers.items():
        truth, cells = _image(mask), drop_margin(read(found / f"mask{frame:03d}.tif"), margin_px)
        found_on = owners(truth, cells)
        taken = set(found_on.values())
        hits += len(taken)
        merged += len(found_on) - len(taken)
        missed += len(np.unique(truth[truth > 0])) - len(taken)
        extra += len(set(np.unique(cells[cells > 0])) - taken)
    return {"recall": hits / (hits + missed), "precision": hits / (hits + extra), "merged": merged}


def challenge(found: Path, truth: Path) -> dict:
    """DET, TRA and LNK by py-ctcmetrics; every frame must have markers."""
    scores = evaluate_sequence(str(found), str(truth), metrics=["DET", "TRA", "LNK"])
    return {name: float(scores[name]) for name in ("DET", "TRA", "LNK")}


# Annotated frames before and after a division in which its cells are looked for: it may be seen early or late.
_ASKED_FRAMES = 4


def divisions(matched: dict, man_track: Path, found: Path, asked_frames: int = _ASKED_FRAMES) -> dict:
    """Divisions found with the right mother and both daughters, within 0 to 3 frames; recall and precision within one.

    `matched` is what `match_frames` gives.
    """
    true, have = read_tracks(man_track), read_tracks(found / "res_track.txt")
    wanted, made = _families(true), _families(have)
    late = []
    for mother, daughters in wanted.items():
        mothers = _seen(matched, mother, *true[mother][:2], asked_frames, last=True)
        one, other = (
            _seen(matched, daughter, *true[daughter][:2], asked_frames, last=False) for daughter in daughters[:2]
        )
        delays = [
            abs(have[made[each][0]][0] - true[daughters[0]][0])
            for each in mothers & made.keys()
            if any(a != b for a in one.intersection(made[each]) for b in other.intersection(made[each]))
        ]
        late += [min(delays)] if delays else []
    right = sum(frames <= 1 for frames in late)
    by_tolerance = [
        2 * sum(frames <= tolerance for frames in late) / max(len(wanted) + len(made), 1) for tolerance in range(4)
    ]
    return {
        "divisions": len(wanted),
        "divisions_found": len(made),
        "division_recall": right / max(len(wanted), 1),
        "division_precision": right / max(len(made), 1),
        "division_F1": by_tolerance[1],
        "division_F1_within_3": by_tolerance[3],
        "division_F1_by_tolerance": by_tolerance,
    }


def _image(mask: np.ndarray | Path) -> np.ndarray:
    return mask.astype(np.int32) if isinstance(mask, np.ndarray) else read(mask)


def read_tracks(path: Path) -> dict[int, tuple[int, int, int]]:
    """Label -> first frame, last frame, parent (0 for none), of man_track.txt or res_track.txt."""
    rows = (line.split() for line in path.read_text().splitlines() if line.strip())
    return {int(label): (int(first), int(last), int(parent)) for label, first, last, parent in rows}


def _families(tracks: dict) -> dict[int, list[int]]:
    families: dict[int, list[int]] = {}
    for label, (_, _, parent) in sorted(tracks.items()):
        if parent:
            families.setdefault(parent, []).append(label)
    return {mother: daughters for mother, daughters in families.items() if len(daughters) >= 2}


def match_frames(found: Path, markers: dict) -> dict[int, dict[int, int]]:
    """Of every marked frame: true label -> the found label that covers more than half of it."""
    return {frame: owners(_image(mask), read(found / f"mask{frame:03d}.tif")) for frame, mask in markers.items()}


def owners(truth: np.ndarray, found: np.ndarray) -> dict[int, int]:
    """True label -> the found label that covers more than half of it."""
    pairs = pd.DataFrame({"true": truth[truth > 0], "found": found[truth > 0]})
    shared = pairs.value_counts().reset_index(name="px").query("found > 0")
    sizes = pairs["true"].value_counts()
    most = shared[2 * shared["px"] > shared["true"].map(sizes)]
    return dict(zip(most["true"].tolist(), most["found"].tolist(), strict=True))


def _seen(matched: dict, label: int, first: int, last_frame: int, asked_frames: int, *, last: bool) -> set[int]:
    """The found tracks on this true one, on the annotated frames nearest its division."""
    frames = sorted(frame for frame in matched if first <= frame <= last_frame and label in matched[frame])
    return {matched[frame][label] for frame in (frames[-asked_frames:] if last else frames[:asked_frames])}


def seconds_by_stage(logs: Path) -> dict[str, float]:
    """Wall time of every stage of one movie, from Snakemake's benchmark files."""
    return {
        path.name.removesuffix(".benchmark.tsv"): float(pd.read_csv(path, sep="\t")["s"].sum())
        for path in sorted(logs.glob("*.benchmark.tsv"))
    }


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_between_marks(page: Path, name: str, text: str) -> None:
    """Put text between the comments `NAME: start` and `NAME: end` of a page."""
    start, end = (f"<!-- {name}: {where} -->" for where in ("start", "end"))
    before, rest = page.read_text().split(start)
    _, after = rest.split(end)
    page.write_text(f"{before}{start}\n\n{text}\n{end}{after}")
