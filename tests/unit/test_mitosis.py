"""Nuclei that condense before division, and unfold after it."""

import numpy as np
import pandas as pd

from cytolapse.fits import Track, believed_lag1, growth_rate
from cytolapse.mitosis import mitotic_frames

FRAMES = 30
RATE = 0.02  # of a frame
# As nuclei of HeLa are seen every half hour: half the area in the frame before division, and unfolding for hours.
CONDENSED = {-1: -0.5}
UNFOLDING = -0.65 * np.exp(-np.arange(FRAMES) / 2)


def nuclei(tracks, condense=1.0, noise=0.02, seed=0):
    """Tracks born by a division and divided, as columns frame, track and size, with their lineage."""
    rng = np.random.default_rng(seed)
    log_size = RATE * np.arange(FRAMES) + condense * UNFOLDING + rng.normal(0, noise, (tracks, FRAMES))
    for frame, change in CONDENSED.items():
        log_size[:, frame] += condense * change
    cells = pd.DataFrame(
        {
            "frame": np.tile(np.arange(FRAMES), tracks),
            "track": np.repeat(np.arange(1, tracks + 1), FRAMES),
            "size": 100 * np.exp(log_size.ravel()),
        }
    )
    return cells, pd.DataFrame({"track": range(1, tracks + 1), "start": "division", "end": "division"})


def flagged(cells, lineage, **knobs):
    columns = (cells[name].to_numpy() for name in ("size", "frame", "track"))
    return mitotic_frames(*columns, lineage, **{"mitotic_errors": 3.0, **knobs}).reshape(-1, FRAMES)


def test_condensed_and_unfolding_nuclei_are_found_by_what_all_divisions_of_the_movie_have_in_common():
    found = flagged(*nuclei(20))

    assert (found == found[0]).all()
    # changes of 0.26, 0.16, 0.09, 0.06, 0.03 and 0.02 a frame; medians of 20 have a standard error of 0.008
    assert found[0, :4].all()
    assert found[0, -1]
    assert not found[0, 7:-1].any()


def test_more_divisions_tell_of_more_of_the_unfolding():
    assert flagged(*nuclei(200))[0].sum() > flagged(*nuclei(20))[0].sum()


def test_nuclei_that_only_grow_have_no_such_frames():
    assert not flagged(*nuclei(20, condense=0.0)).any()


def test_few_divisions_tell_nothing():
    assert not flagged(*nuclei(7)).any()


def test_a_birth_and_an_end_that_are_no_divisions_are_left_alone():
    cells, lineage = nuclei(20)
    lineage.loc[:9, ["start", "end"]] = ["movie_start", "movie_end"]

    found = flagged(cells, lineage)

    assert not found[:10].any()
    assert found[10:, 0].all()


def test_without_a_size_nothing_is_said():
    cells, lineage = nuclei(20)

    assert not flagged(cells.assign(size=np.nan), lineage).any()


def test_rates_without_these_frames_hold_the_truth_and_have_a_fraction_of_the_error():
    cells, lineage = nuclei(150)
    size, frame = cells["size"].to_numpy().reshape(-1, FRAMES), np.arange(FRAMES)
    found = {}
    for name, kept in (("all", np.ones((150, FRAMES), bool)), ("without", ~flagged(cells, lineage))):
        tracks = [Track(sizes[use], frame[use] / 2, frame[use]) for sizes, use in zip(size, kept, strict=True)]
        believed = believed_lag1(tracks, residual_lag1=0.5)
        found[name] = [growth_rate(*pair) for pair in zip(tracks, believed, strict=True)]

    rms = {name: np.sqrt(np.mean([(fit.rate_per_h - 2 * RATE) ** 2 for fit in fits])) for name, fits in found.items()}
    assert rms["without"] < rms["all"] / 3
    assert np.mean([fit.lo95_per_h < 2 * RATE < fit.hi95_per_h for fit in found["without"]]) >= 0.9
