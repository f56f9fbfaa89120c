"""The page of an experiment: what is written on it."""

import base64
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytolapse.columns import EXPERIMENT_TABLES
from cytolapse.report import read_json, write_report
from cytolapse.tables import typed, write_table

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
        "training_figure": None,
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

        assert read_json(tmp_path / "model.json") == {"digest": "ab"}
        assert read_json(None) is None
        assert read_json([]) is None  # what an input without files is

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

    def test_what_may_be_wrong_with_the_annotations_is_listed_and_the_course_of_the_training_shown(self, tmp_path):
        held_out = {"roc_area": 0.99, "by_image": {"day1": {"seg": 0.4}}, "by_image_range": {"seg": [0.4, 0.8]}}
        warnings = ["masks/a.tif: cell 2 has a speck of 1 px", "image b: perhaps annotated in part"]
        model = {"metrics": {"held_out": held_out, "annotation_warnings": warnings}}
        figure = tmp_path / "training.png"
        figure.write_bytes(b"course")

        html = page_of(tmp_path, of_experiment(tmp_path), model=model, training_figure=figure)

        listed = html.split('id="annotation-warnings"')[1].split("</ul>")[0]
        assert re.findall("<li>(.*)</li>", listed) == warnings
        assert '<th scope="row">metrics.held_out.by_image_range.seg</th><td>0.4, 0.8</td>' in html
        assert "day1" not in html
        assert f"data:image/png;base64,{base64.b64encode(b'course').decode()}" in html

    def test_a_model_without_warnings_has_no_list_of_them(self, tmp_path):
        assert "annotation-warnings" not in page_of(tmp_path, of_experiment(tmp_path), model={"metrics": {}})

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
