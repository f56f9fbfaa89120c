import json
import os
import time

import numpy as np
import pytest
import tifffile
from recorded import Hiccup, frames_folder, ome_movie, picture, stack, touch, write_tiff

from cytolapse import discovery
from cytolapse.discovery import MovieSource, find_movies, fingerprint


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image at all, but long enough to be read as a header"])
def test_an_unreadable_container_counts_as_one_movie(tmp_path, content):
    (tmp_path / "m.tif").write_bytes(content)

    assert find_movies("*.tif", tmp_path, []) == {"m": MovieSource("m.tif", None)}


def test_movies_are_named_by_their_path_below_the_wildcard(tmp_path):
    for name in ("night3/exp.tif", "night10/exp.ome.tif", "night3/pos 1+2.tif", "night3/.hidden.tif", "night3/log.txt"):
        touch(tmp_path / "data" / name)

    assert find_movies("data/*/*.tif", tmp_path, []) == {
        "night3_exp": MovieSource("data/night3/exp.tif", None),
        "night3_pos_1_2": MovieSource("data/night3/pos 1+2.tif", None),
        "night10_exp": MovieSource("data/night10/exp.ome.tif", None),
    }
    assert list(find_movies("data/*/*.tif", tmp_path, [])) == ["night3_exp", "night3_pos_1_2", "night10_exp"]


def test_folders_are_movies_too(tmp_path):
    for name in ("pos1.5/t0.tif", "pos10/t0.tif", "pos2/t0.tif"):
        touch(tmp_path / "data" / name)
    for name in ("notes.txt", "table.csv", "thumb.png"):
        touch(tmp_path / "data" / name)

    found = find_movies("data/*", tmp_path, [])

    assert list(found) == ["pos1.5", "pos2", "pos10"]
    assert find_movies("data/*/", tmp_path, []) == found
    assert found["pos2"] == MovieSource("data/pos2", None)


def test_positions_in_one_folder_are_movies(tmp_path):
    for t in (1, 2):
        for p in (2, 10):
            for c in (1, 2):
                touch(tmp_path / f"data/exp/t{t:02d}xy{p:02d}c{c}.tif")
    touch(tmp_path / "data/exp/thumbnail.png")

    assert find_movies("data/*", tmp_path, ["c1", "c2"]) == {
        "exp_xy02": MovieSource("data/exp", "xy02"),
        "exp_xy10": MovieSource("data/exp", "xy10"),
    }


def test_a_position_keeps_its_name_when_another_comes_into_the_folder(tmp_path):
    for t in (1, 2):
        touch(tmp_path / f"data/exp/t{t:02d}xy02.tif")
    before = find_movies("data/*", tmp_path, ["phase"])
    alone = fingerprint(tmp_path / "data/exp", {}, "xy02", ["phase"])

    for t in (1, 2):
        touch(tmp_path / f"data/exp/t{t:02d}xy01.tif")
    after = find_movies("data/*", tmp_path, ["phase"])

    assert before == {"exp_xy02": MovieSource("data/exp", "xy02")}
    assert after == {"exp_xy01": MovieSource("data/exp", "xy01")} | before
    assert fingerprint(tmp_path / "data/exp", {}, "xy02", ["phase"]) == alone


def test_frames_in_folders_of_their_own_are_found_and_a_new_one_is_seen(tmp_path):
    for t in (1, 2):
        for well in ("B02", "C03"):
            touch(tmp_path / f"data/plate/TimePoint_{t}/ZStep_1/p_{well}_w1.TIF")

    found, before = find_movies("data/*", tmp_path, ["w1"]), fingerprint(tmp_path / "data/plate", {}, "B02", ["w1"])
    touch(tmp_path / "data/plate/TimePoint_2/ZStep_1/p_D04_w1.TIF")
    touch(tmp_path / "data/plate/TimePoint_2/ZStep_2/p_B02_w1.TIF")

    assert list(found) == ["plate_B02", "plate_C03"]
    assert list(find_movies("data/*", tmp_path, ["w1"])) == ["plate_B02", "plate_C03", "plate_D04"]
    assert fingerprint(tmp_path / "data/plate", {}, "B02", ["w1"]) != before


def test_a_folder_that_cannot_be_listed_counts_as_one_movie(tmp_path, monkeypatch):
    touch(tmp_path / "data/exp/t1_s1.tif")
    monkeypatch.setattr("cytolapse.positions.os.scandir", Hiccup)

    assert find_movies("data/exp", tmp_path, []) == {"exp": MovieSource("data/exp", None)}


def test_a_position_of_a_folder_has_a_fingerprint_of_its_own(tmp_path):
    names = {f"t{t}_s{p}.tif": picture(t) for t in range(3) for p in (1, 2)}
    folder, cache = frames_folder(tmp_path / "m", names), {}
    before = [fingerprint(folder, cache, f"s{p}", ["phase"]) for p in (1, 2)]
    write_tiff(folder / "t1_s2.tif", picture(9), metadata=None)
    overwritten = [fingerprint(folder, cache, f"s{p}", ["phase"]) for p in (1, 2)]
    write_tiff(folder / "t0_s3.tif", picture(0), metadata=None)
    grown = [fingerprint(folder, json.loads(json.dumps(cache)), f"s{p}", ["phase"]) for p in (1, 2)]

    assert before[0] == overwritten[0] != overwritten[1] != before[1]
    assert grown == overwritten


def test_brackets_of_a_name_stand_for_themselves_where_nothing_else_matches(tmp_path):
    touch(tmp_path / "Nacht 3 [übernacht] (1)/a[1].tif")
    touch(tmp_path / "b1.tif")

    assert list(find_movies("Nacht 3 [übernacht] (1)/*.tif", tmp_path, ["phase"]).values()) == [
        MovieSource("Nacht 3 [übernacht] (1)/a[1].tif", None)
    ]
    assert list(find_movies("Nacht 3 [übernacht] (1)/a[1].tif", tmp_path, ["phase"])) == [
        "Nacht_3___bernacht___1__a_1_"
    ]
    assert list(find_movies("b[1].tif", tmp_path, ["phase"])) == ["b1"]


def test_without_a_wildcard_a_movie_is_named_by_its_file(tmp_path):
    touch(tmp_path / "data/night3/exp.tif")

    assert find_movies("data/night3/exp.tif", tmp_path, []) == {"exp": MovieSource("data/night3/exp.tif", None)}
    absolute = str(tmp_path / "data/night3/exp.tif")
    assert find_movies(absolute, "/elsewhere", []) == {"exp": MovieSource(absolute, None)}


def test_any_depth_is_searched(tmp_path):
    touch(tmp_path / "data/a/b/c.tif")
    touch(tmp_path / "data/d.tif")

    assert set(find_movies("data/**/*.tif", tmp_path, [])) == {"a_b_c", "d"}


def test_formats_of_a_later_version_are_found_so_that_they_can_be_refused(tmp_path):
    touch(tmp_path / "data/a.nd2")

    assert find_movies("data/*", tmp_path, []) == {"a": MovieSource("data/a.nd2", None)}


def test_nothing_found_is_no_error(tmp_path):
    assert find_movies("data/*.tif", tmp_path, []) == {}
    assert find_movies("data/x.tif", tmp_path, []) == {}


def test_a_list_of_paths_and_globs_is_followed(tmp_path):
    for name in ("a/one.tif", "b/two#3.tif", "c/x/exp.tif", "c/y/exp.tif"):
        touch(tmp_path / name)
    (tmp_path / "movies.txt").write_text("# night 3\na/one.tif  # best\n\nb/two#3.tif\nc/*/exp.tif\n")

    assert find_movies("movies.txt", tmp_path, []) == {
        "one": MovieSource("a/one.tif", None),
        "two_3": MovieSource("b/two#3.tif", None),
        "x_exp": MovieSource("c/x/exp.tif", None),
        "y_exp": MovieSource("c/y/exp.tif", None),
    }


def test_two_movies_of_one_name_are_an_error_that_names_both(tmp_path):
    touch(tmp_path / "data/exp.tif")
    touch(tmp_path / "data/exp.tiff")

    with pytest.raises(ValueError, match="data/exp.tif and data/exp.tiff both get the name 'exp'; rename one of them"):
        find_movies("data/*", tmp_path, [])


def test_a_listed_path_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "movies.txt").write_text("a/one.tif\n")

    with pytest.raises(
        ValueError, match=r"movie a/one.tif: there is no such file or folder; correct the list movies.txt"
    ):
        find_movies("movies.txt", tmp_path, [])


def test_a_list_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"list of movies movies.txt: cannot be read \(.*No such file"):
        find_movies("movies.txt", tmp_path, [])


def test_a_url_in_a_list_is_an_error(tmp_path):
    (tmp_path / "movies.txt").write_text("https://example.org/a.tif\n")

    with pytest.raises(ValueError, match="https://example.org/a.tif is a URL, which is not read in this version"):
        find_movies("movies.txt", tmp_path, [])


def test_positions_are_counted_once_while_a_file_stays_the_same(tmp_path, monkeypatch):
    path = ome_movie(tmp_path / "m.ome.tif")
    cache = {}
    before = find_movies("*.tif", tmp_path, [], cache)
    monkeypatch.setattr(discovery, "look_inside", lambda path: pytest.fail("opened again"))

    assert find_movies("*.tif", tmp_path, [], json.loads(json.dumps(cache))) == before
    assert cache[str(path)]["positions"] == 1


def test_ten_thousand_movies_are_found_within_seconds(tmp_path):
    for number in range(10_000):
        (tmp_path / f"pos{number}.nd2").touch()

    start = time.process_time()
    found = find_movies("*.nd2", tmp_path, [])

    assert len(found) == 10_000
    assert time.process_time() - start < 20


def test_a_touch_keeps_the_fingerprint_and_another_content_changes_it(tmp_path):
    path, cache = tmp_path / "m.tif", {}
    path.write_bytes(os.urandom(3_000_000))
    before = fingerprint(path, cache)

    os.utime(path)
    assert fingerprint(path, cache) == before
    assert fingerprint(path, {}) == before

    path.write_bytes(os.urandom(3_000_000))
    os.utime(path, (1, 1))
    assert fingerprint(path, cache) != before


def test_another_content_under_the_same_time_and_size_changes_the_fingerprint(tmp_path):
    path, cache = touch(tmp_path / "m.tif", b"a" * 1000), {}
    stat = path.stat()
    before = fingerprint(path, cache)

    path.write_bytes(b"b" * 1000)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert fingerprint(path, cache) != before


def test_a_fingerprint_is_cached_by_stat(tmp_path, monkeypatch):
    path, cache = touch(tmp_path / "m.tif"), {}
    before = fingerprint(path, cache)
    monkeypatch.setattr(discovery, "open", lambda *_: pytest.fail("read again"), raising=False)

    assert fingerprint(path, json.loads(json.dumps(cache))) == before
    assert cache[str(path)]["fingerprint"] == before
    assert cache[str(path)]["stat"][:2] == [path.stat().st_mtime_ns, 1]


def test_a_frame_overwritten_added_or_removed_changes_a_folders_fingerprint(tmp_path):
    folder, cache = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(4)}), {}
    seen = {fingerprint(folder, cache)}

    stat = (folder / "t2.tif").stat()
    write_tiff(folder / "t2.tif", picture(9), metadata=None)
    os.utime(folder / "t2.tif", ns=(stat.st_atime_ns, 1))
    seen.add(fingerprint(folder, cache))
    write_tiff(folder / "t4.tif", picture(4), metadata=None)
    seen.add(fingerprint(folder, cache))
    (folder / "t0.tif").unlink()
    seen.add(fingerprint(folder, cache))
    (folder / "t4.tif").rename(folder / "t5.tif")
    seen.add(fingerprint(folder, cache))

    assert len(seen) == 5


def test_a_note_beside_the_frames_or_a_touch_keeps_a_folders_fingerprint(tmp_path):
    folder, cache = frames_folder(tmp_path / "m", {f"t{t}.tif": picture(t) for t in range(4)}), {}
    before = fingerprint(folder, cache)

    (folder / "notes.txt").write_text("nice cells")
    os.utime(folder / "t1.tif")

    assert fingerprint(folder, cache) == before


def test_a_movie_that_cannot_be_read_has_a_fingerprint_too(tmp_path):
    cache = {}

    assert fingerprint(tmp_path / "gone.tif", cache) == "unreadable: No such file or directory"
    assert cache == {}


def test_a_change_in_the_middle_of_a_large_file_is_seen_in_the_sampled_blocks(tmp_path):
    path = touch(tmp_path / "m.tif", bytes(20_000_000))
    before = fingerprint(path, {})
    content = bytearray(path.read_bytes())
    content[9_000_000:12_000_000] = os.urandom(3_000_000)
    path.write_bytes(content)

    assert fingerprint(path, {}) != before


def test_positions_that_could_not_be_counted_are_counted_again(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((2, 8, 8), np.uint16))
    cache = {}
    with monkeypatch.context() as broken:
        broken.setattr(tifffile, "TiffFile", Hiccup)
        find_movies("*.tif", tmp_path, [], cache)
    assert all("positions" not in entry for entry in cache.values())

    find_movies("*.tif", tmp_path, [], cache)

    assert [entry["positions"] for entry in cache.values()] == [1]


def test_a_file_that_is_damaged_later_keeps_its_positions(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as tif:
        for _ in range(3):
            tif.write(stack(), metadata={"axes": "TYX"})
    cache = {}
    before = find_movies("*.tif", tmp_path, [], cache)
    (tmp_path / "m.ome.tif").write_bytes(b"")

    assert find_movies("*.tif", tmp_path, [], cache) == before
    assert find_movies("*.tif", tmp_path, [], json.loads(json.dumps(cache))) == before
    assert list(find_movies("*.tif", tmp_path, [], {})) == ["m"]
