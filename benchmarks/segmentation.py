"""Segmentation learned from few annotated stills, judged on others.

    python benchmarks/segmentation.py [PART ...] [--folder bench/segmentation]

A part is TASK, TASK/NETWORK or TASK/NETWORK/IMAGES, such as hela/googlenet_unet/3;
all tasks with their own network and all their images by default. Every part is
trained, judged and kept as a JSON of its own: what is there is not done again,
so that a run can be cut off at any time. The table is made of all that is there
and written into docs/accuracy.md.
"""

import argparse
import json
import time
from pathlib import Path

import data as movies
import numpy as np
import pandas as pd
import stills
from scores import drop_margin, write_between_marks

from cytolapse.devices import choose_device
from cytolapse.evaluation import roc_area
from cytolapse.judgement import cell_histogram, usual_area_px
from cytolapse.labeling import label_cells, least_area_px
from cytolapse.learning import choose_precision, predict_still, prepare_still
from cytolapse.training import train
from planning.settings import read_settings

DOCS = movies.REPOSITORY / "docs/accuracy.md"
IOUS = (0.5, 0.75, 0.8)
DRAWS = 1000


def judge_part(task: stills.Stills, architecture: str | None, images: int | None) -> dict:
    """Train on the annotations of a task, or the first ones of them evenly chosen, and score the rest."""
    teaching, judging = task.load(movies.data_folder())
    if images:
        teaching = [teaching[round(at)] for at in np.linspace(0, len(teaching) - 1, images)]
    config = read_settings({"train": task.train["train"], "label": {}})
    settings = config["train"]
    settings["architecture"] = architecture or task.train.get("architecture", settings["architecture"])
    start = time.perf_counter()
    model = train(teaching, **settings, pixel_size_um=None, channels=1, device="auto", start_from=None).model
    seconds = time.perf_counter() - start
    label = config["label"] | {"threshold": model.threshold}
    label["network_scale"] = model.scale
    label["min_area_px"] = least_area_px(usual_area_px(each.labels for each in teaching))
    device = choose_device("auto")
    network, precision = model.network.to(device), choose_precision("auto", device)
    cells, histogram = [], 0
    for each in judging:
        image = prepare_still(each.still, 1, model.normalisation, model.scale)
        shape = each.still.labels.shape
        probability = predict_still(network, image, shape=shape, device=device, precision=precision)
        histogram = histogram + cell_histogram([each.still], [probability])
        found = label_cells(probability.astype(np.float32) / 255, **label)
        cells.append(compare(each, drop_margin(found, each.margin_px)))
    table = pd.concat(cells, ignore_index=True)
    return {
        "network": settings["architecture"],
        "images": len(teaching),
        "judged": len(judging),
        "train_s": round(seconds),
        "threshold": model.threshold,
        "roc_area": roc_area(histogram),
        **summary(table),
        **intervals(table, tracked=judging[0].tracked),
    }


def compare(judged: stills.Judged, found: np.ndarray) -> pd.DataFrame:
    """One row a true cell, matched or missed, and one a cell found in vain.

    Columns: still, label (0 where found in vain), iou with the found cell that
    overlaps most, jaccard as in SEG, log_area_ratio (found over true, of
    matches at 0.5), merged and split (of true cells).
    """
    truth = judged.still.labels
    shared = pd.DataFrame({"label": truth.ravel(), "found": found.ravel()}).value_counts().reset_index(name="px")
    true_px = shared.groupby("label")["px"].sum()
    found_px = shared.groupby("found")["px"].sum()
    pairs = shared.query("label > 0 and found > 0").copy()
    pairs["true_px"], pairs["found_px"] = pairs["label"].map(true_px), pairs["found"].map(found_px)
    pairs["iou"] = pairs["px"] / (pairs["true_px"] + pairs["found_px"] - pairs["px"])
    best = pairs.sort_values("iou", ascending=False).drop_duplicates("label").set_index("label")
    cells = true_px[true_px.index > 0].to_frame("true_px").join(best[["iou", "found", "px", "found_px"]])
    cells["jaccard"] = cells["iou"].where(2 * cells["px"] > cells["true_px"], 0.0).fillna(0.0)
    cells["log_area_ratio"] = np.log(cells["found_px"] / cells["true_px"]).where(cells["iou"] > 0.5)
    held = pairs[2 * pairs["px"] > pairs["true_px"]].groupby("found")["label"].nunique()
    parts = pairs[2 * pairs["px"] > pairs["found_px"]].groupby("label")["found"].nunique()
    cells["merged"] = cells["found"].map(held).fillna(0) > 1
    cells["split"] = cells.index.to_series().map(parts).fillna(0) > 1
    taken = set(cells.loc[cells["iou"] > 0.5, "found"])
    vain = [number for number in found_px.index if number > 0 and number not in taken]
    best_of = pairs.groupby("found")["iou"].max()
    rows = cells.reset_index()[["label", "iou", "jaccard", "log_area_ratio", "merged", "split", "true_px"]]
    extra = pd.DataFrame({"label": 0, "iou": [best_of.get(number, 0.0) for number in vain]})
    return pd.concat([rows, extra], ignore_index=True).assign(still=judged.still.name)


def summary(cells: pd.DataFrame) -> dict[str, float]:
    """The scores over all cells together."""
    true, vain = cells[cells["label"] > 0], cells[cells["label"] == 0]
    iou = true["iou"].fillna(0.0)
    scores = {"SEG": true["jaccard"].mean()}
    for limit in IOUS:
        hits = int((iou > limit).sum())
        # A cell matched at 0.5 and not at the limit is found in vain and missed.
        wrong = len(vain) + int(((iou > 0.5) & (iou <= limit)).sum())
        scores[f"AP{round(100 * limit)}"] = hits / max(len(true) + wrong, 1)
    hits = int((iou > 0.5).sum())
    scores["recall"], scores["precision"] = hits / len(true), hits / max(hits + len(vain), 1)
    scores["merged_per_100"] = 100 * true["merged"].astype(float).mean()
    scores["split_per_100"] = 100 * true["split"].astype(float).mean()
    scores["area_bias"] = float(np.exp(true["log_area_ratio"].mean()) - 1)
    scores["area_sd"] = float(true["log_area_ratio"].std())
    return {name: float(value) for name, value in scores.items()}


def intervals(cells: pd.DataFrame, *, tracked: bool) -> dict[str, list[float]]:
    """95 % of the scores over draws of whole tracks; cells found in vain are drawn by still."""
    rng = np.random.default_rng(0)
    key = cells["label"].astype(str) if tracked else cells["still"] + "/" + cells["label"].astype(str)
    groups = [part for _, part in cells.groupby(key.where(cells["label"] > 0, "vain/" + cells["still"]))]
    draws = []
    for _ in range(DRAWS):
        chosen = rng.integers(len(groups), size=len(groups))
        draws.append(summary(pd.concat([groups[number] for number in chosen], ignore_index=True)))
    table = pd.DataFrame(draws)
    return {f"{name}_95": [float(q) for q in table[name].quantile([0.025, 0.975])] for name in ("SEG", "AP50")}


def as_markdown(results: list[dict]) -> str:
    """The table of docs/accuracy.md."""
    head = ["task", "network", "images", "judged", "SEG (95 %)", "AP50 (95 %)", "AP75", "AP80", "recall", "precision"]
    head += ["merged per 100", "split per 100", "area bias", "area SD", "ROC area", "minutes"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    for result in results:
        spans = {
            name: f"{result[name]:.3f} ({result[f'{name}_95'][0]:.3f} to {result[f'{name}_95'][1]:.3f})"
            for name in ("SEG", "AP50")
        }
        row = [result["task"], result["network"], result["images"], result["judged"], spans["SEG"], spans["AP50"]]
        row += [f"{result[name]:.3f}" for name in ("AP75", "AP80", "recall", "precision")]
        row += [f"{result[name]:.1f}" for name in ("merged_per_100", "split_per_100")]
        row += [f"{result[name]:+.1%}" for name in ("area_bias",)] + [f"{result['area_sd']:.1%}"]
        row += [f"{result['roc_area']:.4f}", f"{result['train_s'] / 60:.0f}"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def parts_of(wanted: list[str]) -> list[tuple[stills.Stills, str | None, int | None]]:
    """The parts that were asked for, in the order of the tasks."""
    tasks = {task.name: task for task in stills.TASKS}
    parts = []
    for part in wanted or list(tasks):
        name, network, images = (*part.split("/"), None, None)[:3]
        if name not in tasks:
            raise SystemExit(f"{part}: no task is called {name}; they are {', '.join(tasks)}")
        parts.append((tasks[name], network or None, int(images) if images else None))
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help="TASK, TASK/NETWORK or TASK/NETWORK/IMAGES")
    parser.add_argument("--folder", type=Path, default=movies.REPOSITORY / "bench/segmentation")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for task, network, images in parts_of(options.parts):
        kept = options.folder / f"{task.name}-{network or 'own'}-{images or 'all'}.json"
        if not kept.exists():
            result = {"task": task.name, **judge_part(task, network, images)}
            kept.write_text(json.dumps(result, indent=1) + "\n")
    results = [json.loads(path.read_text()) for path in sorted(options.folder.glob("*.json"))]
    text = as_markdown(results)
    print(text)
    write_between_marks(DOCS, "stills", text)


if __name__ == "__main__":
    main()
