import base64
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytolapse import report
from cytolapse.movies import write_stack
from cytolapse.overlays import HUES, SHADES, draw_overlay, lineage_shades
from cytolapse.report import (
    cells_figure,
    fitted_rates,
    flag_counts,
    flattened,
    mean_interval,
    number,
    number_rates,
    rate_summary,
    read_card,
    read_status,
    write_report,
)
from cytolapse.tables import EXPERIMENT_TABLES, typed, write_table

TEMPLATE = Path(__file__).parents[2] / "workflow" / "report" / "report.html.j2"


def of_experiment(folder, **rows):
    """Files of the seven tables; those not given are empty."""
    paths = {}
    for name in EXPERIMENT_TABLES:
        paths[name] = folder / f"{name}.parquet"
        write_table(name, typed(name, pd.DataFrame(rows.get(name, []))), paths[name])
    return paths


def page_of(folder, tables, overlays=None, **changed):
    stated = {
        "experiment": "acid",
        "model": None,
        "roc_figure": None,
        "training_status": None,
        "settings": {},
        "events": [],
        "max_movies_shown": 4,
    }
    path = folder / "report.html"
    write_report(tables, overlays or {}, TEMPLATE, path, **{**stated, **changed})
    return path.read_text(encoding="utf-8")


def movie(name, status="done", **more):
    known = {"experiment": "acid", "object": "cell", "size_quantity": "area"}
    return {**known, "movie": name, "status": status, **more}


def cycle(name, track, rate=math.nan, **more):
    return {
        **{"movie": name, "track": track, "cycle": 0, "frames_observed": 5, "time_at_risk_h": 0.5},
        **{"end": "movie_end", "cycle_observed": False, "growth_rate_per_h": rate},
        **more,
    }


def cell_rows(html, table_id):
    """Texts of the cells of a table, row by row, without the head."""
    body = html.split(f'id="{table_id}"')[1].split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in body.split("<tr")[1:]]


def drawn_texts(html):
    """What is written in the page's figures."""
    figures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html)
    return " ".join(base64.b64decode(each).decode() for each in figures)


class TestBanners:
    def test_every_refused_movie_is_named_with_its_reason(self, tmp_path):
        reasons = {f"p{i:02d}": f"{i} of 61 frames are there" for i in range(30)}
        movies = [movie(name, "refused", reason=reason) for name, reason in reasons.items()]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("p99"), *movies]))

        banner = html.split('<div class="banner refused"')[1].split("</div>")[0]
        assert "30 movies refused" in banner
        for name, reason in reasons.items():
            assert f"<strong>{name}</strong>: {reason}" in banner

    def test_an_excluded_and_a_failed_movie_are_named_with_their_reasons(self, tmp_path):
        movies = [movie("a", "excluded", reason="bubble"), movie("b", "failed")]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies))

        assert "1 movie excluded by movies.tsv" in html
        assert "<strong>a</strong>: bubble" in html
        assert "<strong>b</strong>: no reason given" in html

    def test_movies_with_the_same_warning_are_listed_behind_it(self, tmp_path):
        text = "pixel size: experiments.tsv says 0.1 um, the file 0.2 um; experiments.tsv wins"
        movies = [movie("a", warnings=text), movie("b"), movie("c", warnings=text)]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies))

        assert "Warnings in 2 movies" in html
        assert f'<li>{text} <span class="movies">(a, c)</span></li>' in html

    def test_a_training_that_was_not_accepted_is_said_with_the_reason_and_the_model_kept(self, tmp_path):
        status = {"status": "kept", "reason": "ROC area 0.91 is below the floor"}

        html = page_of(tmp_path, of_experiment(tmp_path), model={"digest": "ab" * 16}, training_status=status)

        assert "The new training was not accepted" in html
        assert "(abababababab)" in html
        assert "ROC area 0.91 is below the floor" in html

    def test_a_model_that_was_not_trained_here_has_no_training_status(self, tmp_path):
        (tmp_path / "model.json").write_text('{"digest": "ab"}')

        assert read_card(tmp_path / "model.json") == {"digest": "ab"}
        assert read_card(None) is None
        assert read_status([]) is None  # what an input without files is

    def test_an_accepted_training_raises_no_banner(self, tmp_path):
        html = page_of(tmp_path, of_experiment(tmp_path), training_status={"status": "accepted", "reason": None})

        assert 'class="banner' not in html

    def test_movies_segmented_by_two_models_are_said_to_differ(self, tmp_path):
        movies = [movie("a", model_digest="11"), movie("b", model_digest="22")]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies))

        assert "Not all movies were processed in the same way" in html
        assert "digest of the model (2)" in html


class TestNumbers:
    def test_the_headline_counts_what_the_tables_hold(self, tmp_path):
        keys = [("a", 0), ("a", 1), ("b", 0)]
        tables = of_experiment(
            tmp_path,
            movies=[movie("a"), movie("b"), movie("c", "refused", reason="r"), movie("d", "excluded", reason="r")],
            frames=[{"movie": name, "frame": frame, "time_h": frame / 2, "cells": 2} for name, frame in keys],
            cells=[{"movie": name, "frame": frame, "label": label} for name, frame in keys for label in (1, 2)],
            growth=[
                cycle("a", 1, end="division"),
                cycle("a", 1, cycle=1, end="division", cycle_observed=True),
                cycle("a", 2),
                cycle("b", 1),
            ],
        )

        html = page_of(tmp_path, tables)

        counts = dict(re.findall(r'id="number-(\w+)">([^<]*)<', html))
        assert counts == {"movies": "2", "frames": "3", "cells": "6", "tracks": "3", "divisions": "2"}
        assert "1 refused, 1 excluded" in html
        assert "1 whole cycle seen" in html

    def test_a_growth_rate_is_the_mean_of_the_replicates_medians_with_its_doubling_time(self, tmp_path):
        rates = {"r1": (0.1, 0.2, 0.9), "r2": (0.4,)}
        growth = [
            cycle("a", i, rate, condition="LB", replicate=replicate)
            for replicate, values in rates.items()
            for i, rate in enumerate(values)
        ]
        movies = [movie("a", condition="LB", replicate="r1")]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies, growth=growth))

        # medians 0.2 and 0.4; t(1) = 12.7062, standard error 0.1; ln 2 / 0.3 h
        [row] = cell_rows(html, "rates")
        assert row == [
            "LB",
            "0.300",
            "−0.971 to 1.57",
            "2.31 h",
            "above 0.441 h",
            "2",
            "4",
        ]

    def test_a_fast_doubling_is_said_in_minutes(self, tmp_path):
        growth = [cycle("a", i, rate, condition="LB", replicate="r") for i, rate in enumerate([2 * math.log(2)] * 9)]

        html = page_of(
            tmp_path, of_experiment(tmp_path, movies=[movie("a", condition="LB", replicate="r")], growth=growth)
        )

        [row] = cell_rows(html, "rates")
        assert row == ["LB", "1.39", "1.39 to 1.39", "30.0 min", "30.0 to 30.0 min", "1", "9"]

    def test_cells_that_shrink_have_no_doubling_time(self, tmp_path):
        growth = [cycle("a", i, -0.1) for i in range(9)]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("a")], growth=growth))

        [row] = cell_rows(html, "rates")
        assert row == ["all movies", "−0.100", "−0.100 to −0.100", "does not grow", "–", "1", "9"]

    def test_cycles_flagged_as_short_or_poor_take_no_part_in_the_rates(self):
        growth = pd.DataFrame(
            [
                cycle("a", 1, 0.5, flag_short=False, flag_poor_fit=False),
                cycle("a", 2, 7.0, flag_short=True, flag_poor_fit=False),
                cycle("a", 3, 8.0, flag_short=False, flag_poor_fit=True),
                cycle("a", 4, math.nan, flag_short=False, flag_poor_fit=False),
                cycle("a", 5, 0.7, flag_short=None, flag_poor_fit=None),
            ]
        ).assign(condition=pd.Categorical(["LB"] * 5), replicate=None)

        rates = fitted_rates(typed("growth", growth).assign(condition=growth["condition"]), "movie")

        assert rates["rate"].tolist() == [0.5, 0.7]
        assert set(rates["unit"]) == {"a"}

    def test_of_one_replicate_the_interval_of_the_median_has_the_ranks_40_and_61_of_100_cells(self):
        rates = pd.DataFrame({"condition": "LB", "unit": "r1", "rate": np.arange(1.0, 101.0)})

        [row] = rate_summary(rates).to_dict("records")

        assert row == {
            **{"condition": "LB", "cells": 100, "units": 1},
            **{"rate_per_h": 50.5, "lo95_per_h": 40.0, "hi95_per_h": 61.0},
        }

    def test_five_cells_of_one_replicate_give_a_median_but_no_interval(self):
        rates = pd.DataFrame({"condition": "LB", "unit": "r1", "rate": [1.0, 2.0, 3.0, 4.0, 5.0]})

        [row] = rate_summary(rates).to_dict("records")

        assert row["rate_per_h"] == 3
        assert math.isnan(row["lo95_per_h"])

    def test_the_interval_of_a_mean_of_three_is_4_303_standard_errors_wide(self):
        mean, low, high = mean_interval(np.array([1.0, 2.0, 3.0]))

        assert mean == 2
        assert high - mean == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)
        assert mean - low == pytest.approx(high - mean)

    def test_windows_of_a_replicate_count_by_their_length(self):
        windows = [("r1", 0, 3, 0.1, 0.01), ("r1", 3, 4, 0.5, 0.02), ("r1", 4, 5, math.nan, math.nan)]
        population = pd.DataFrame(
            windows,
            columns=["replicate", "window_start_h", "window_end_h", "number_rate_per_h", "number_rate_se_per_h"],
        ).assign(condition=pd.Categorical(["LB"] * 3), divisions=2)

        [row] = number_rates(population).to_dict("records")

        # (3 * 0.1 + 1 * 0.5) / 4, and the errors with the same weights
        se = math.hypot(0.75 * 0.01, 0.25 * 0.02)
        assert row["rate_per_h"] == pytest.approx(0.2)
        assert row["hi95_per_h"] == pytest.approx(0.2 + 1.959964 * se)
        assert (row["replicates"], row["divisions"]) == (1, 6)

    def test_two_replicates_give_the_rate_of_number_an_interval_between_them(self):
        population = pd.DataFrame(
            {"replicate": ["r1", "r2"], "window_start_h": 0.0, "window_end_h": 2.0, "number_rate_per_h": [0.1, 0.3]}
        ).assign(condition=pd.Categorical(["LB"] * 2), divisions=1, number_rate_se_per_h=math.nan)

        [row] = number_rates(population).to_dict("records")

        assert row["rate_per_h"] == pytest.approx(0.2)
        assert row["hi95_per_h"] == pytest.approx(0.2 + 12.7062 * 0.1, rel=1e-4)

    def test_a_condition_without_any_rate_of_number_is_unknown_not_an_error(self):
        population = pd.DataFrame(
            {"replicate": ["r1"], "window_start_h": 0.0, "window_end_h": 2.0, "number_rate_per_h": [math.nan]}
        ).assign(condition=pd.Categorical(["LB"]), divisions=0, number_rate_se_per_h=math.nan)

        [row] = number_rates(population).to_dict("records")

        assert math.isnan(row["rate_per_h"])
        assert row["replicates"] == 0

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1234567, "1,234,567"),
            (0.012345, "0.0123"),
            (-2.5, "−2.50"),
            (12345.6, "12,346"),
            (math.nan, "–"),
            (None, "–"),
        ],
    )
    def test_a_number_is_written_with_three_digits_and_an_unknown_one_as_a_dash(self, value, text):
        assert number(value) == text

    def test_flags_are_counted_over_all_rows_with_the_movie_that_has_most(self, tmp_path):
        rows = [{"movie": "a", "flag_border": True}] + [{"movie": "b", "flag_border": i < 2} for i in range(4)]
        path = tmp_path / "cells.parquet"
        write_table("cells", typed("cells", pd.DataFrame(rows).assign(flag_area_jump=False)), path)

        flags, unjudged = flag_counts({"cells": path})

        border, jump = flags
        assert (border["flag"], border["rows"], border["of"], border["share"]) == ("flag_border", 3, 5, 0.6)
        assert (border["worst"], border["worst_rows"]) == ("b", 2)
        assert border["rule"] == "the mask touches the edge of the frame"
        assert (jump["rows"], jump["worst"]) == (0, None)
        assert unjudged == ["cells.flag_merged", "cells.flag_split", "cells.flag_out_of_focus"]

    def test_the_rule_of_a_flag_is_the_one_that_the_table_states(self, tmp_path):
        path = tmp_path / "growth.parquet"
        table = typed("growth", pd.DataFrame([cycle("a", 1, flag_short=True)]))
        write_table("growth", table, path, metadata={"flags": json.dumps({"flag_short": "fewer than 5 frames"})})

        flags, _ = flag_counts({"growth": path})

        assert [each["rule"] for each in flags] == ["fewer than 5 frames"]

    def test_nested_settings_become_dotted_names_in_words(self):
        settings = {"a": {"b": None, "c": [1, 2.5]}, "d": True, "e": {}, "f": list(range(50)), "g": math.nan}

        assert flattened(settings) == [
            *[("a.b", "–"), ("a.c", "1, 2.5"), ("d", "yes")],
            *[("e", "none"), ("f", "50 values"), ("g", "–")],
        ]


@pytest.fixture(scope="module")
def small_page(tmp_path_factory):
    """A page with something in every figure, an overlay, a model and a treatment."""
    folder = tmp_path_factory.mktemp("small")
    tables, overlays = a_small_experiment(folder)
    events = [{"event": "acid pH 5.5", "time_h": 0.5, "dose": "1"}]
    return page_of(folder, tables, overlays, model={"digest": "ab"}, events=events)


class TestPage:
    def test_nothing_on_the_page_is_loaded_from_elsewhere(self, small_page):
        assert "http" not in small_page
        assert "<script" not in small_page
        sources = re.findall(r'src="([^"]*)"', small_page)
        assert len(sources) >= 5
        assert all(source.startswith("data:image/") for source in sources)
        assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', small_page))
        assert 'href="http' not in drawn_texts(small_page)

    def test_every_picture_says_in_words_what_it_shows(self, small_page):
        pictures = re.findall(r"<img [^>]*>", small_page)

        assert len(pictures) == 6
        assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)

    def test_treatments_are_marked_in_the_figures_over_time(self, small_page):
        assert drawn_texts(small_page).count("acid pH 5.5</text>") == 2

    def test_a_name_with_html_in_it_is_text(self, tmp_path):
        name = "<script>alert('x')</script>&"
        movies = [movie(name, "refused", reason="<b>no</b>")]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies), experiment="<i>acid</i>")

        assert "<script" not in html
        assert "<b>no</b>" not in html
        assert "<i>acid</i>" not in html
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;" in html

    def test_an_experiment_without_cells_has_a_page_without_numbers_that_are_none(self, tmp_path):
        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("a", "refused", reason="zero planes")]))

        for word in (">nan", ">NaN", ">None", ">inf", "&lt;NA&gt;"):
            assert word not in html
        assert "No cell was found." in html
        assert "No growth rate could be fitted." in html
        assert "No expression was measured." in html

    def test_frames_without_any_cell_give_a_page_too(self, tmp_path):
        frames = [{"movie": "a", "frame": frame, "time_h": frame / 2, "cells": 0} for frame in range(3)]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("a")], frames=frames))

        assert "No cell was found." in html
        assert dict(re.findall(r'id="number-(\w+)">([^<]*)<', html))["frames"] == "3"

    def test_of_nuclei_the_rate_of_cell_number_comes_first_and_size_is_said_to_be_nuclear(self, tmp_path):
        tables = of_experiment(tmp_path, movies=[movie("a", object="nucleus")], growth=[cycle("a", 1, 0.1)])

        html = page_of(tmp_path, tables)

        assert html.index("Proliferation: number of cells") < html.index("Growth of nuclear size")
        assert "The size is that of the nucleus, not of the cell." in html
        assert "growth rate of nuclear size (1/h)" in drawn_texts(html)

    def test_of_whole_cells_growth_comes_first(self, tmp_path):
        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("a")]))

        assert html.index("Growth of single cells") < html.index("Proliferation: number of cells")

    def test_overlays_take_turns_between_conditions_and_the_rest_is_counted(self, tmp_path):
        movies = [movie(f"{c}{i}", condition=c) for c in "AB" for i in range(3)]
        overlays = fake_overlays(tmp_path, [row["movie"] for row in movies], 100)

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies), overlays, max_movies_shown=3)

        assert re.findall(r"<summary>(\w+)", html)[-3:] == ["A0", "B0", "A1"]
        assert "3 more not shown here" in html

    def test_the_page_stays_below_8_megabytes_however_many_overlays_are_asked_for(self, tmp_path):
        movies = [movie(f"m{i}") for i in range(30)]
        overlays = fake_overlays(tmp_path, [row["movie"] for row in movies], 600_000)

        html = page_of(tmp_path, of_experiment(tmp_path, movies=movies), overlays, max_movies_shown=30)

        assert len(html) < 8e6
        assert html.count('class="overlay"') == 8

    def test_the_same_tables_give_the_same_page(self, small_page, tmp_path):
        tables, overlays = a_small_experiment(tmp_path)
        events = [{"event": "acid pH 5.5", "time_h": 0.5, "dose": "1"}]

        assert page_of(tmp_path, tables, overlays, model={"digest": "ab"}, events=events) == small_page

    def test_model_settings_and_versions_are_listed(self, tmp_path):
        model = {"digest": "abcdef", "threshold": 0.46, "metrics": {"held_out": {"roc_area": 0.9987}}}
        figure = tmp_path / "roc.png"
        figure.write_bytes(b"roc")
        tables = of_experiment(tmp_path, movies=[movie("a", version="0.1.0", packages_digest="9b1d", settings="{}")])

        html = page_of(tmp_path, tables, model=model, roc_figure=figure, settings={"link": {"search_range_um": None}})

        for name, value in [
            *[("threshold", "0.46"), ("metrics.held_out.roc_area", "0.9987"), ("search_range_um", "–")],
            *[("Cytolapse", "0.1.0"), ("digest of the packages", "9b1d"), ("settings", "the same for all movies")],
        ]:
            assert f'<th scope="row">{name}</th><td>{value}</td>' in html
        assert f"data:image/png;base64,{base64.b64encode(b'roc').decode()}" in html

    def test_of_very_many_measurements_a_sample_is_drawn_and_said_to_be_one(self, tmp_path, monkeypatch):
        monkeypatch.setattr(report, "LARGEST_SAMPLE_ROWS", 100)
        rows = [
            {
                "movie": "a",
                "channel": "GFP",
                "compartment": "whole",
                "time_h": i / 1000,
                "mean_au": 5.0 if i % 2 else None,
            }
            for i in range(2000)
        ]
        frames = [{"movie": "a", "frame": i, "time_h": float(i), "cells": 1} for i in range(3)]

        html = page_of(tmp_path, of_experiment(tmp_path, movies=[movie("a")], frames=frames, expression=rows))

        sampled = int(re.search(r"a random sample of (\d+) of 1,000 measurements", html)[1])
        assert 20 < sampled < 90

    def test_a_missing_table_is_named(self, tmp_path):
        tables = of_experiment(tmp_path)
        del tables["growth"]

        with pytest.raises(ValueError, match="report of acid: no table growth was given; it needs movies, frames"):
            page_of(tmp_path, tables)

    def test_a_file_of_another_table_is_refused(self, tmp_path):
        tables = of_experiment(tmp_path, movies=[movie("a")])
        tables["cells"] = tables["frames"]

        with pytest.raises(ValueError, match="holds the table frames, wanted cells"):
            page_of(tmp_path, tables)

    def test_more_conditions_than_colours_still_give_figures(self, tmp_path):
        names = [f"dose {i}" for i in range(20)]
        tables = of_experiment(
            tmp_path,
            movies=[movie(name, condition=name, replicate="r") for name in names],
            frames=[
                {"movie": name, "condition": name, "frame": i, "time_h": i / 2, "cells": 3}
                for name in names
                for i in (0, 1)
            ],
            growth=[cycle(name, i, i / 10, condition=name, replicate="r") for name in names for i in (1, 2)],
        )

        html = page_of(tmp_path, tables)

        assert "(40 of 20 conditions)" in html
        assert "dose 13 (and 6 more)" in drawn_texts(html)

    def test_counts_that_grow_more_than_eightfold_are_drawn_on_a_logarithmic_axis_and_it_is_said(self):
        frames = pd.DataFrame({"movie": "a", "frame": [0, 1], "time_h": [0.0, 1.0], "cells": [1, 9]})
        frames["condition"] = pd.Categorical(["LB", "LB"])

        assert "The axis is logarithmic" in cells_figure(frames, [])["caption"]
        assert "logarithmic" not in cells_figure(frames.assign(cells=[1, 8]), [])["caption"]


def a_small_experiment(folder):
    """Tables with something for every figure, and one overlay."""
    keys = {"condition": "LB", "replicate": "r1"}
    random = np.random.default_rng(0)
    tables = of_experiment(
        folder,
        movies=[movie("a", **keys)],
        frames=[{"movie": "a", "frame": i, "time_h": i / 2, "cells": 1 + i, **keys} for i in range(4)],
        cells=[{"movie": "a", "frame": i, "label": 1, "flag_border": i == 0, **keys} for i in range(4)],
        growth=[
            cycle(
                *("a", i, random.normal(0.5, 0.1)),
                **{"end": "division", "cycle_observed": True, "size_birth": 1 + i / 20, "size_division": 2 + i / 20},
                **{"added_size": 1.0, **keys},
            )
            for i in range(20)
        ],
        expression=[
            {"movie": "a", "channel": "GFP", "compartment": "whole", "time_h": i / 2, "mean_au": 10.0 + i, **keys}
            for i in range(4)
        ],
    )
    return tables, fake_overlays(folder, ["a"], 100)


def fake_overlays(folder, names, size_bytes):
    paths = {name: folder / f"{name}.png" for name in names}
    for path in paths.values():
        path.write_bytes(bytes(size_bytes))
    return paths


def of_movie(folder, labels, *, planes=None, tracks=None, parents=None, **info):
    """Files that an overlay is drawn from; `labels` (t, y, x); a label is its own track unless said."""
    labels = np.asarray(labels, np.uint16)
    frames, height, width = labels.shape
    planes = (labels > 0) * np.uint16(1000) + 100 if planes is None else planes
    scales = {"pixel_size_um": 0.5, "frame_interval_min": 30.0}
    write_stack(
        folder / "m.tif",
        planes.astype(np.uint16),
        shape=labels.shape,
        dtype="uint16",
        axes="TYX",
        description=None,
        **scales,
    )
    write_stack(folder / "l.tif", labels, shape=labels.shape, dtype="uint16", axes="TYX", description=None, **scales)
    found = [(t, int(each)) for t in range(frames) for each in np.unique(labels[t]) if each]
    of = tracks or {}
    rows = pd.DataFrame(found, columns=["frame", "label"])
    rows["track"] = [of.get(label, label) for label in rows["label"]]
    rows = rows[rows["track"] > 0]
    write_table("tracks", typed("tracks", rows), folder / "t.parquet")
    seen = rows.groupby("track", as_index=False)["frame"].agg(first_frame="min", last_frame="max")
    seen["parent"] = pd.array([(parents or {}).get(track) for track in seen["track"]], dtype="Int32")
    write_table("lineage", typed("lineage", seen), folder / "g.parquet")
    known = {
        **{
            "status": "ok",
            "reason": None,
            "warnings": [],
            "path": str(folder / "m.tif"),
            "kind": "tiff",
            "axes": "TYX",
        },
        **{"axes": "TYX", "position": None, "frames": frames, "channels": ["phase"], "segment_channel": "phase"},
        "dtype": "uint16",
        **{"height_px": height, "width_px": width, "pixel_size_um": 0.5, "frame_interval_min": 30.0, "time_h": None},
        **{"exposure_ms": {"phase": None}, "acquired": None, "saturation_au": 65535.0},
    }
    (folder / "m.json").write_text(json.dumps({**known, **info}))


def overlay_of(folder, frames=6):
    path = folder / "overlay.png"
    paths = [folder / name for name in ("m.json", "l.tif", "t.parquet", "g.parquet")]
    draw_overlay(*paths, path, frames=frames, pixel_size_um=None, frame_interval_min=None)
    return np.asarray(Image.open(path).convert("RGB"))


def square(frames=1, size_px=64, at=(16, 48)):
    labels = np.zeros((frames, size_px, size_px), int)
    labels[:, at[0] : at[1], at[0] : at[1]] = 1
    return labels


def coloured(picture):
    return picture.max(axis=2) != picture.min(axis=2)


class TestOverlays:
    def test_the_outline_of_a_square_is_one_pixel_wide_and_of_its_founders_hue(self, tmp_path):
        of_movie(tmp_path, square())

        picture = overlay_of(tmp_path)

        outline = coloured(picture)
        rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert outline.sum() == 2 * height + 2 * width - 4
        assert {tuple(colour) for colour in picture[outline]} == {HUES[0]}
        assert width == pytest.approx(384 / 2, abs=1)  # 64 px enlarged 6 times, the square half of them

    def test_a_cell_without_a_track_is_outlined_in_white(self, tmp_path):
        of_movie(tmp_path, square(), tracks={1: 0})

        picture = overlay_of(tmp_path)

        assert not coloured(picture).any()
        assert (picture[24 + 96, 100:280] == 255).all()  # the upper side of the square, 6 times enlarged

    def test_founders_have_different_hues_and_sisters_differ_in_lightness(self):
        lineage = pd.DataFrame(
            {"track": [1, 2, 3, 4, 5], "parent": [None, None, 1, 1, 3], "first_frame": [0, 0, 5, 5, 9]}
        )

        shades = lineage_shades(lineage)

        hues = {track: hue for track, (hue, _) in shades.items()}
        assert hues[1] == hues[3] == hues[4] == hues[5] != hues[2]
        assert len({shades[1], shades[3], shades[4]}) == 3
        assert shades[5] != shades[3]

    def test_a_mother_that_is_not_in_the_table_makes_a_founder(self):
        lineage = pd.DataFrame({"track": [7], "parent": [3], "first_frame": [2]})

        assert lineage_shades(lineage) == {7: (0, 0)}

    def test_many_generations_never_run_out_of_shades(self):
        lineage = pd.DataFrame({"track": range(1, 40), "parent": [None, *range(1, 39)], "first_frame": range(39)})

        assert {shade for _, shade in lineage_shades(lineage).values()} <= set(range(len(SHADES)))

    def test_frames_are_drawn_from_first_to_last_among_those_acquired(self, tmp_path):
        labels = np.zeros((5, 32, 32), int)
        labels[0, 4:12, 4:12] = labels[3, 4:12, 4:12] = 1
        of_movie(tmp_path, labels, acquired={"phase": [True, False, True, True, False]})

        picture = overlay_of(tmp_path, frames=2)

        # two panels side by side, the cell outlined in both
        middle = picture.shape[1] // 2
        assert coloured(picture[:, :middle]).any()
        assert coloured(picture[:, middle:]).any()

    def test_cells_too_small_to_see_are_shown_larger_as_a_part_of_the_frame(self, tmp_path):
        labels = np.zeros((1, 1500, 1500), int)
        labels[0, 1200:1210, 1200:1210] = 1
        of_movie(tmp_path, labels)

        outline = coloured(overlay_of(tmp_path))

        assert np.ptp(np.flatnonzero(outline.any(axis=0))) + 1 >= 12

    def test_a_large_noisy_movie_gives_a_picture_below_600_kilobytes(self, tmp_path):
        planes = np.random.default_rng(0).normal(1000, 200, (6, 700, 700)).clip(0)
        of_movie(tmp_path, square(6, 700, (100, 300)), planes=planes)

        overlay_of(tmp_path)

        assert (tmp_path / "overlay.png").stat().st_size <= 600_000

    def test_a_dim_cell_on_a_dark_ground_is_lifted_and_an_image_without_contrast_is_no_error(self, tmp_path):
        labels = np.zeros((1, 64, 64), int)
        labels[0, 4:20, 4:20], labels[0, 40:60, 40:60] = 1, 2
        planes = np.choose(labels, [100.0, 200.0, 2000.0])
        of_movie(tmp_path, labels, planes=planes)

        picture = overlay_of(tmp_path)

        assert picture[24 + 6 * 12, 6 * 12].max() > 40  # 5 % of the range is 10 of 205 without
        of_movie(tmp_path, labels, planes=np.full(labels.shape, 7.0))
        assert coloured(overlay_of(tmp_path)).any()

    def test_a_movie_without_cells_is_drawn_without_outlines(self, tmp_path):
        of_movie(tmp_path, np.zeros((3, 40, 40), int))

        assert not coloured(overlay_of(tmp_path)).any()

    def test_a_refused_movie_gets_a_picture_as_tall_as_its_reason(self, tmp_path):
        for name, reason in (("short", "zero planes"), ("long", "zero planes " * 40)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "m.json").write_text(json.dumps({"status": "refused", "reason": reason}))

        short, long = overlay_of(tmp_path / "short"), overlay_of(tmp_path / "long")

        assert short.shape[0] < 100 < long.shape[0]
        assert (short < 100).any()

    def test_an_overlay_of_no_frames_is_refused(self, tmp_path):
        of_movie(tmp_path, square())

        with pytest.raises(ValueError, match="an overlay of 0 frames was asked for; at least 1 is needed"):
            overlay_of(tmp_path, frames=0)

    def test_labels_of_another_size_than_the_movie_are_refused_by_name(self, tmp_path):
        of_movie(tmp_path, square(size_px=64))
        write_stack(
            tmp_path / "l.tif",
            square(size_px=32, at=(4, 8)).astype(np.uint16),
            **{"shape": (1, 32, 32), "dtype": "uint16", "axes": "TYX", "description": None},
            **{"pixel_size_um": 0.5, "frame_interval_min": 30.0},
        )

        with pytest.raises(ValueError, match=r"l\.tif: frame 0 is 32 x 32 px, the movie .*m\.tif is 64 x 64 px"):
            overlay_of(tmp_path)
