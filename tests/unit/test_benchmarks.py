"""The numbers of the benchmarks, where the answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from ctc_metrics import evaluate_sequence
from drawn import disks

from cytolapse.annotations import Annotation


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def segmentation(benchmarks):
    import segmentation

    return segmentation


def judged(segmentation, labels, name="a"):
    return segmentation.stills.Judged(Annotation(name, np.zeros(labels.shape), labels.astype(np.int32)))


def scored(segmentation, truth, found):
    return segmentation.summary(segmentation.compare(judged(segmentation, truth), found))


TRUTH = disks((80, 120), (20, 20, 10), (20, 60, 10), (60, 20, 10), (60, 60, 10))


def test_cells_found_as_drawn_score_1_and_have_no_bias(segmentation):
    scores = scored(segmentation, TRUTH, TRUTH)

    for name in ("SEG", "AP50", "AP80", "recall", "precision", "AP50_by_still"):
        assert scores[name] == 1
    assert scores["merged_per_100"] == scores["split_per_100"] == scores["area_bias"] == 0


def test_missed_cells_and_cells_in_vain_count_against_ap_and_only_the_missed_against_seg(segmentation):
    found = np.where(TRUTH == 4, 0, TRUTH)
    found[40:50, 100:110] = 9

    scores = scored(segmentation, TRUTH, found)

    assert scores["AP50"] == 3 / 5
    assert scores["SEG"] == scores["recall"] == scores["precision"] == 3 / 4


def test_merged_and_split_cells_are_told_apart(segmentation):
    touching = disks((60, 90), (30, 25, 12), (30, 50, 12))
    merged = (touching > 0).astype(int)
    split = touching.copy()
    split[(touching == 1) & (np.arange(60)[:, None] < 30)] = 3

    assert scored(segmentation, touching, merged)["merged_per_100"] == 100
    assert scored(segmentation, touching, split)["split_per_100"] == 50
    assert scored(segmentation, touching, split)["merged_per_100"] == 0


def test_a_cell_that_overlaps_by_less_than_the_limit_is_missed_and_found_in_vain(segmentation):
    shifted = np.roll(TRUTH, 3, axis=1)

    scores = scored(segmentation, TRUTH, shifted)

    assert (scores["AP50"], scores["AP80"]) == (1, 0)


def test_areas_are_compared_in_the_geometric_mean(segmentation):
    larger = disks((80, 120), (20, 20, 11), (20, 60, 11), (60, 20, 11), (60, 60, 11))

    scores = scored(segmentation, TRUTH, larger)

    assert scores["area_bias"] == pytest.approx(np.sum(larger > 0) / np.sum(TRUTH > 0) - 1)
    assert scores["area_trend"] is None


def test_nothing_found_has_no_bias_and_is_no_error(segmentation):
    scores = scored(segmentation, TRUTH, np.zeros_like(TRUTH))

    assert scores["SEG"] == scores["AP50"] == 0
    assert scores["area_bias"] is scores["area_sd"] is None


def test_intervals_hold_the_score_and_are_wider_where_one_track_is_all_that_fails(segmentation):
    stills = [judged(segmentation, TRUTH, f"t{number}") for number in range(10)]
    one_cell = pd.concat([segmentation.compare(still, np.where(TRUTH == 1, 0, TRUTH)) for still in stills])
    by_turns = pd.concat(
        [
            segmentation.compare(still, np.where(number % 4 + 1 == TRUTH, 0, TRUTH))
            for number, still in enumerate(stills)
        ]
    )

    spans = {}
    for name, cells in (("one", one_cell), ("turns", by_turns)):
        low, high = segmentation.intervals(cells, tracked=True)["SEG_95"]
        assert low <= segmentation.summary(cells)["SEG"] <= high
        spans[name] = high - low
    assert spans["one"] > 2 * spans["turns"]


def test_the_table_by_images_sets_starts_side_by_side_and_leaves_out_what_has_one_number_of_images(segmentation):
    def row(task, images, start, seg, **more):
        scores = {"network": "googlenet_unet", "views": 1, "AP50": 0.9, **more}
        return {"task": task, "images": images, "start": start, "SEG": seg, **scores}

    rows = [
        row("hela", 1, None, 0.5, SEG_human=0.4),
        row("hela_15", 15, None, 0.6),
        row("hela", 1, "nuclei", 0.7),
        row("hela", 7, "nuclei", 0.75),
        row("hela", 7, "nuclei", 0.8),
        row("hela", 7, "nuclei", 0.85, views=4),
        row("hela", 0, "nuclei", 0.3),
        row("sim", 7, None, 0.9),
        row("gowt1_15", 7, None, 0.9),
    ]

    table = segmentation.by_images(rows)

    assert table.splitlines() == [
        "| images | hela, googlenet_unet, nuclei | hela, googlenet_unet, random weights |",
        "| --- | --- | --- |",
        "| 1 | 0.700; 0.900 | 0.500, 0.400; 0.900 |",
        "| 7 | 0.800; 0.900 |  |",
        "| 15 |  | 0.600; 0.900 |",
    ]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("hela/googlenet_unet/0", "without images there is nothing to learn from"),
        ("heela", "wanted TASK/NETWORK/IMAGES/START, with a task of gowt1, hela"),
        ("hela/googlenet_unet/3/nuclei/given", "to a shipped model as it is alone"),
        ("hela/googlenet_unet/3/none", "resources/models has no none"),
        ("hela/googlenet_unet/3/demo", "demo is a googlenet_unet_small; write TASK/googlenet_unet_small/IMAGES/demo"),
    ],
)
def test_a_part_that_cannot_be_is_refused_before_anything_is_trained(segmentation, part, said):
    with pytest.raises(SystemExit, match=said):
        segmentation.parts_of([part])


def test_seg_is_that_of_an_independent_program(benchmarks, tmp_path):
    import scores

    # Of four cells two lack a row, one of them shares its mask with the third, one is missed, and one is found in vain.
    found = np.where(TRUTH == 4, 0, TRUTH)
    found[20] = 0
    found[found == 3] = 2
    found[40:50, 100:110] = 9
    shifted = np.roll(TRUTH, 3, axis=1)
    truth, results = tmp_path / "01_GT", tmp_path / "01_RES"
    for folder in (truth / "SEG", truth / "TRA", results):
        folder.mkdir(parents=True)
    for frame, labels in enumerate((found, shifted)):
        tifffile.imwrite(results / f"mask{frame:03d}.tif", labels.astype(np.uint16))
        for part in ("SEG/man_seg", "TRA/man_track"):
            tifffile.imwrite(truth / f"{part}{frame:03d}.tif", TRUTH.astype(np.uint16))
    for tracks, numbers in ((truth / "TRA/man_track.txt", (1, 2, 3, 4)), (results / "res_track.txt", (1, 2, 3, 4, 9))):
        tracks.write_text("".join(f"{number} 0 1 0\n" for number in numbers))

    seg = scores.seg({0: found, 1: shifted, 2: shifted}, {0: TRUTH, 1: TRUTH})

    assert seg == pytest.approx(evaluate_sequence(str(results), str(truth), metrics=["SEG"])["SEG"], abs=1e-6)
    assert 0.3 < seg < 0.8


def test_simulated_nuclei_are_drawn_where_their_light_is_and_come_out_alike_again(benchmarks):
    import simulatedstills

    first, second = simulatedstills.nuclei(2)
    (again,) = simulatedstills.nuclei(1)

    for still in (first, second):
        assert still.labels.max() > 5
        assert np.median(still.image[still.labels > 0]) > np.median(still.image[still.labels == 0])
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, second.image)
