"""Segmentation learned from few annotated stills, judged on others.

    python benchmarks/segmentation.py [PART ...] [--views 1] [--folder bench/segmentation]

A part is TASK, TASK/NETWORK, TASK/NETWORK/IMAGES or TASK/NETWORK/IMAGES/START,
such as hela/googlenet_unet/3/nuclei: the network learns from that many of the
annotated images, from random weights or from those of a shipped model. No
image at all (hela/googlenet_unet/0/nuclei) judges the shipped model as it is, with
the width of cells measured on each still (segment.cell_diameter_px: auto), or
given (yeast/googlenet_unet/0/phase/given): that of the annotated images.
By default all tasks with their own network and all their images, and again
with the case study's. Every part is trained, judged and kept as a JSON of its
own, with a picture of its worst cells beside it: what is there is not done
again, so that a run can be cut off at any time. The table is made of all that
is there and written into docs/accuracy.md.
"""

import argparse
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import data as movies
import numpy as np
import pandas as pd
import stills
import torch
from scores import drop_margin, write_between_marks
from worst import draw_worst

from cytolapse.annotations import Annotation
from cytolapse.arithmetic import choose_precision
from cytolapse.cards import CHOSEN
from cytolapse.devices import choose_device
from cytolapse.evaluation import roc_area
from cytolapse.judgement import cell_histogram, usual_area_px
from cytolapse.labeling import area_limits_px, label_cells
from cytolapse.models import Model, load_model, normalisation_limits, normalise, save_model
from cytolapse.prediction import Predictor
from cytolapse.scaling import diameter_px, movie_scale
from cytolapse.segmentation import measured_diameter_px
from cytolapse.training import train
from planning.settings import read_settings

DOCS = movies.REPOSITORY / "docs/accuracy.md"
SHIPPED = movies.REPOSITORY / "resources/models"
IOUS = (0.5, 0.75, 0.8)
DRAWS = 1000
# Columns of areas: bias in the geometric mean, standard deviation of ln(found / true), change of it a doubling.
AREAS = {"area_bias": "+.1%", "area_sd": ".1%", "area_trend": "+.1%"}


class Part(NamedTuple):
    """What to train, from what, and what to judge it by."""

    task: stills.Stills
    architecture: str | None
    images: int | None
    start: str | None
    given: bool = False
    """Whether a shipped model, judged as it is, is told the width of cells."""

    @property
    def name(self) -> str:
        own = self.architecture or "own", "all" if self.images is None else self.images
        return "-".join(
            map(str, (self.task.name, *own, *([self.start] if self.start else []), *(["given"] if self.given else [])))
        )


def judge_part(part: Part, folder: Path, picture: Path, *, views: int) -> dict:
    """Train on the annotations of a task, or some of them evenly chosen, and score the stills that it has not seen.

    The model is kept in `folder`, or taken from there; `views` are as in `Predictor`.
    """
    teaching, judging = part.task.load(movies.data_folder())
    if part.images is not None and part.images > len(teaching):
        raise SystemExit(f"{part.name}: {part.images} images are asked for, {part.task.name} has {len(teaching)}")
    if part.images:
        teaching = [teaching[round(at)] for at in np.linspace(0, len(teaching) - 1, part.images)]
    begun = time.perf_counter()
    if part.images == 0:
        model, shown = load_model(SHIPPED / part.start / "weights.safetensors"), []
        width_px = diameter_px(usual_area_px([each.labels for each in teaching])) if part.given else "auto"
    else:
        model, shown, width_px = _trained(part, teaching, folder / part.name), teaching, None
    found = [_found(model, each, width_px, views) for each in judging]
    cells = pd.concat(
        [compare(each, labels) for each, (labels, _) in zip(judging, found, strict=True)], ignore_index=True
    )
    whole = [not each.partly for each in judging]
    complete = [(each, given) for each, given, is_whole in zip(judging, found, whole, strict=True) if is_whole]
    draw_worst(cells, complete, picture)
    partly = cells["still"].isin([each.still.name for each in judging if each.partly])
    histogram = sum(cell_histogram([each.still], [probability]) for each, (_, probability) in complete)
    scores = summary(cells[~partly])
    if partly.any():
        drawn = summary(cells[partly & (cells["label"] > 0)])
        scores |= {"SEG_human": drawn["SEG"], "area_bias_human": drawn["area_bias"], "area_sd_human": drawn["area_sd"]}
    return {
        "task": part.task.name,
        "network": model.architecture,
        "views": views,
        "start": f"{part.start}, width given" if part.given else part.start,
        "images": len(shown),
        "judged": sum(whole),
        "scale": model.scale,
        "seconds": round(time.perf_counter() - begun),
        "threshold": model.threshold,
        "roc_area": roc_area(histogram),
        **scores,
        **intervals(cells[~partly], tracked=judging[0].tracked),
    }


def _trained(part: Part, teaching: list[Annotation], folder: Path) -> Model:
    weights, card = folder / "weights.safetensors", folder / "model.json"
    if card.exists():
        return load_model(weights)
    settings = read_settings({"train": part.task.train.get("train", {})})["train"]
    settings["architecture"] = part.architecture or part.task.train.get("architecture", settings["architecture"])
    start = SHIPPED / part.start / "weights.safetensors" if part.start else None
    model = train(teaching, **settings, pixel_size_um=None, channels=1, device="auto", start_from=start).model
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, weights, card, half=False)
    return model


def _found(
    model: Model, judged: stills.Judged, width_px: float | str | None, views: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probability of a still; for a model of other cells at the scale that their width asks for.

    `width_px` is that width, "auto" to measure it, or None for cells like those that the model learned from.
    """
    device = choose_device("auto")
    torch.set_num_threads(2)
    segment = read_settings({})["segment"]
    predictor = Predictor(
        model,
        device=device,
        precision=choose_precision("auto", device),
        batch_frames=1,
        scale=model.scale,
        views=views,
        **{name: segment[name] for name in ("tile_px", "overlap_px")},
    )
    plane = judged.still.image
    image = normalise(plane, normalisation_limits([plane], model.normalisation), model.normalisation)
    if width_px == "auto":
        width_px = measured_diameter_px([image], model, predictor, name=judged.still.name)
    scale = movie_scale(
        resample=False, movie_um=None, model_um=None, movie_diameter_px=width_px, model_area_px=model.cell_area_px
    )
    predictor.scale = scale * model.scale
    probability = predictor(image[None])[0]
    settings = read_settings({})["label"] | {
        **{name: getattr(model, name) for name in CHOSEN},
        **area_limits_px(model.cell_area_px / scale**2, model.small_part),
        "network_scale": scale * model.scale,
    }
    labels = label_cells(probability.astype(np.float32) / 255, **settings)
    return drop_margin(labels, judged.margin_px), probability


def compare(judged: stills.Judged, found: np.ndarray) -> pd.DataFrame:
    """One row a true cell, matched or missed, and one a cell found in vain.

    Columns: still, label (0 where found in vain), found (label of the found
    cell that overlaps most, or of that found in vain), iou of the two, jaccard
    as in SEG, log_area_ratio (found over true, of matches at 0.5), merged and
    split (of true cells).
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
    rows = cells.reset_index()[["label", "found", "iou", "jaccard", "log_area_ratio", "merged", "split", "true_px"]]
    extra = pd.DataFrame({"label": 0, "found": vain, "iou": [best_of.get(number, 0.0) for number in vain]})
    return pd.concat([rows, extra], ignore_index=True).assign(still=judged.still.name)


def summary(cells: pd.DataFrame) -> dict[str, float]:
    """The scores over all cells together; AP also as the mean of the stills."""
    true, vain = cells[cells["label"] > 0], cells[cells["label"] == 0]
    iou = true["iou"].fillna(0.0)
    scores = {"SEG": true["jaccard"].mean()}
    for limit in IOUS:
        hit, close = cells["iou"] > limit, (cells["iou"] > 0.5) & (cells["iou"] <= limit)
        # A cell matched at 0.5 and not at the limit is missed, and one is found in vain.
        counts = pd.DataFrame(
            {"hits": hit & (cells["label"] > 0), "all": 1 + (close & (cells["label"] > 0)), "still": cells["still"]}
        )
        by_still = counts.groupby("still")[["hits", "all"]].sum()
        name = f"AP{round(100 * limit)}"
        scores[name] = by_still["hits"].sum() / by_still["all"].sum()
        scores[f"{name}_by_still"] = (by_still["hits"] / by_still["all"]).mean()
    hits = int((iou > 0.5).sum())
    scores["recall"], scores["precision"] = hits / len(true), hits / max(hits + len(vain), 1)
    scores["merged_per_100"] = 100 * true["merged"].astype(float).mean()
    scores["split_per_100"] = 100 * true["split"].astype(float).mean()
    scores["area_bias"] = float(np.exp(true["log_area_ratio"].mean()) - 1)
    scores["area_sd"] = float(true["log_area_ratio"].std())
    matched = true.dropna(subset=["log_area_ratio"])
    # By how much a cell twice as large is drawn larger, relative to its area.
    scores["area_trend"] = None
    if matched["true_px"].nunique() > 2:
        sizes = np.log2(matched["true_px"].astype(float))
        scores["area_trend"] = np.polyfit(sizes, matched["log_area_ratio"], 1)[0]
    return {name: float(value) if pd.notna(value) else None for name, value in scores.items()}


def intervals(cells: pd.DataFrame, *, tracked: bool) -> dict[str, list[float]]:
    """95 % of the scores over draws of whole tracks; cells found in vain are drawn by still."""
    rng = np.random.default_rng(0)
    key = cells["label"].astype(str) if tracked else cells["still"] + "/" + cells["label"].astype(str)
    key = key.where(cells["label"] > 0, "vain/" + cells["still"])
    # Sums of each group are enough for SEG and AP, and quick to draw.
    true = cells["label"] > 0
    sums = pd.DataFrame(
        {"jaccard": cells["jaccard"].fillna(0.0), "true": true, "hits": true & (cells["iou"] > 0.5), "all": 1}
    )
    groups = sums.groupby(key).sum().to_numpy(float)
    draws = rng.integers(len(groups), size=(DRAWS, len(groups)))
    jaccard, number, hits, everything = (groups[draws, column].sum(axis=1) for column in range(4))
    spread = {"SEG": jaccard / np.maximum(number, 1), "AP50": hits / np.maximum(everything, 1)}
    return {f"{name}_95": [float(q) for q in np.quantile(values, [0.025, 0.975])] for name, values in spread.items()}


def as_markdown(results: list[dict]) -> str:
    """The table of docs/accuracy.md."""
    head = ["task", "network", "views", "images", "start", "judged", "SEG (95 %)", "SEG, human", "AP50 (95 %)"]
    head += ["AP50 a still", "AP75", "AP80", "recall", "precision", "merged per 100", "split per 100"]
    head += ["area bias", "area SD", "trend", "ROC area", "minutes"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    for result in results:
        spans = {
            name: f"{result[name]:.3f} ({result[f'{name}_95'][0]:.3f} to {result[f'{name}_95'][1]:.3f})"
            for name in ("SEG", "AP50")
        }
        human = f"{result['SEG_human']:.3f}" if "SEG_human" in result else ""
        row = [
            result["task"],
            result["network"],
            result["views"],
            result["images"],
            result["start"] or "random weights",
        ]
        row += [result["judged"], spans["SEG"], human, spans["AP50"]]
        row += [f"{result[name]:.3f}" for name in ("AP50_by_still", "AP75", "AP80", "recall", "precision")]
        row += [f"{result[name]:.1f}" for name in ("merged_per_100", "split_per_100")]
        row += ["" if result[name] is None else f"{result[name]:{form}}" for name, form in AREAS.items()]
        row += [f"{result['roc_area']:.4f}", f"{result['seconds'] / 60:.0f}"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def by_images(results: list[dict]) -> str:
    """SEG, SEG against people and AP50 by how many images taught; of tasks with several such numbers, one view.

    Where two parts came to the same training, as one of all images and one of their number do, the last is shown.
    """
    shown: dict[tuple[str, ...], dict[int, str]] = {}
    for each in results:
        if each["images"] and each["views"] == 1:
            # Fifteen images of a movie leave others to judge by, and are a task of their own.
            task = each["task"].removesuffix(f"_{each['images']}")
            outlines = ", ".join(f"{each[name]:.3f}" for name in ("SEG", "SEG_human") if name in each)
            learner = (task, each["network"], each["start"] or "random weights")
            shown.setdefault(learner, {})[each["images"]] = f"{outlines}; {each['AP50']:.3f}"
    several = {learner: scores for learner, scores in sorted(shown.items()) if len(scores) > 1}
    rows = [["images", *map(", ".join, several)], ["---"] * (1 + len(several))]
    rows += [
        [str(images), *(scores.get(images, "") for scores in several.values())]
        for images in sorted({images for scores in several.values() for images in scores})
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def parts_of(wanted: Iterable[str]) -> list[Part]:
    """The parts that were asked for, in the order of the tasks."""
    tasks = {task.name: task for task in stills.TASKS}
    parts = []
    for part in wanted or [*tasks, *(f"{task}/googlenet_fcn" for task in tasks)]:
        found = re.fullmatch(r"(\w+)(?:/(\w+))?(?:/(\d+))?(?:/(\w+))?(?:/(given))?", part)
        if not found or found[1] not in tasks:
            raise SystemExit(f"{part}: wanted TASK/NETWORK/IMAGES/START, with a task of {', '.join(tasks)}")
        images = None if found[3] is None else int(found[3])
        if images == 0 and not found[4]:
            raise SystemExit(
                f"{part}: without images there is nothing to learn from; name a shipped model behind the 0"
            )
        if found[5] and images != 0:
            raise SystemExit(
                f"{part}: the width of cells can be given to a shipped model as it is alone, after 0 images"
            )
        if found[4]:
            _check_start(part, found[2] or tasks[found[1]].train.get("architecture"), found[4])
        parts.append(Part(tasks[found[1]], found[2], images, found[4], bool(found[5])))
    return parts


def _check_start(part: str, architecture: str | None, start: str) -> None:
    """Refuse a shipped model that is not there, or of another network, before anything is trained."""
    card = SHIPPED / start / "model.json"
    if not card.exists():
        raise SystemExit(f"{part}: resources/models has no {start}; make shipped-models trains it")
    holds = json.loads(card.read_text())["architecture"]
    if architecture != holds:
        raise SystemExit(f"{part}: {start} is a {holds}; write TASK/{holds}/IMAGES/{start}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", metavar="part", help="TASK, TASK/NETWORK, TASK/NETWORK/IMAGES[/START[/given]]"
    )
    parser.add_argument("--views", type=int, choices=(1, 2, 4), default=1, help="how often a still is shown")
    parser.add_argument("--folder", type=Path, default=movies.REPOSITORY / "bench/segmentation")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for part in parts_of(options.parts):
        kept = options.folder / (part.name + (f"-views{options.views}" if options.views > 1 else "") + ".json")
        if not kept.exists():
            result = judge_part(part, options.folder, kept.with_suffix(".png"), views=options.views)
            kept.write_text(json.dumps(result, indent=1) + "\n")
    results = [json.loads(path.read_text()) for path in sorted(options.folder.glob("*.json"))]
    for name, text in (("stills", as_markdown(results)), ("images", by_images(results))):
        print(text)
        write_between_marks(DOCS, name, text)


if __name__ == "__main__":
    main()
