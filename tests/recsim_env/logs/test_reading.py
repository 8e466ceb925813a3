"""Reading and finding a ratings log, and refusing invalid ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from recsim_env.logs import find_log, load_or_fit, read_log

HEADER = "user,item,rating,timestamp\n"
GOOD_ROWS = "ann,x,5,10\nann,y,3,20\nbob,x,1,30\nbob,y,4,40\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_movielens(folder: Path) -> Path:
    """A folder in the form of MovieLens-100K, with invented films and users."""
    folder.mkdir()
    (folder / "u.data").write_text("2\t10\t5\t100\n1\t9\t3\t200\n1\t10\t1\t300\n2\t3\t4\t300\n")
    flags = {"3": [1], "9": [0], "10": [5, 8]}  # 0 is `unknown`
    years = {"3": "01-Jan-1950", "9": "", "10": "01-Jan-1970"}
    lines = []
    for item in ("3", "9", "10"):
        row = "|".join("1" if flag in flags[item] else "0" for flag in range(19))
        lines.append(f"{item}|Caf\xe9 {item} (1960)|{years[item]}||http://none|{row}\n")
    (folder / "u.item").write_text("".join(lines), encoding="latin-1")
    (folder / "u.user").write_text("1|20|F|writer|0\n2|60|M|doctor|0\n")
    return folder


# Reading


def test_a_csv_is_read_in_order_of_first_rating(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "log.csv", HEADER + "b,9,5,30\na,10,3,20\nb,10,1,10\na,7,4,20\n"))
    assert log.user_ids.tolist() == ["b", "a"]
    assert log.item_ids.tolist() == ["10", "7", "9"]  # 10 at time 10, 7 at 20, 9 at 30
    assert log.items.tolist() == [2, 0, 0, 1]
    assert log.ratings.tolist() == [5, 3, 1, 4]
    assert log.source == "log.csv"


def test_ties_of_the_first_rating_are_broken_by_id_as_a_number(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "log.csv", HEADER + "1,10,5,0\n1,9,5,0\n2,11,5,0\n"))
    assert log.item_ids.tolist() == ["9", "10", "11"]


def test_columns_may_stand_in_any_order_and_fields_may_be_quoted(tmp_path: Path) -> None:
    rows = [
        '\ufeffTimestamp,note,"rating",item,user',
        '1,"a, ""b""",5.0,"x,1",ann',
        '2,,3,y,"bob ""the"" bold"',
    ]
    text = "".join(row + "\r\n" for row in rows)
    log = read_log(write(tmp_path / "log.csv", text))
    assert log.item_ids.tolist() == ["x,1", "y"]
    assert log.user_ids.tolist() == ["ann", 'bob "the" bold']
    assert log.ratings.tolist() == [5, 3]


def test_a_csv_without_descriptions_has_one_empty_feature_and_one_topic(tmp_path: Path) -> None:
    log = read_log(write(tmp_path / "log.csv", HEADER + GOOD_ROWS))
    assert log.feature_names.tolist() == log.profile_names.tolist() == log.topic_names.tolist() == ["none"]
    assert not log.item_features.any()
    assert not log.user_profiles.any()
    assert (log.item_topics == 1.0).all()
    assert log.titles.tolist() == log.item_ids.tolist()


def test_item_descriptions_become_topics_and_scaled_features(tmp_path: Path) -> None:
    items = "item,title,genres,price,weight\nx,The X,b|a,10,\ny,,b,30,7\nz,Unrated,c,90,9\n"
    log = read_log(
        write(tmp_path / "log.csv", HEADER + GOOD_ROWS + "bob,w,2,50\n"), write(tmp_path / "items.csv", items)
    )
    assert log.item_ids.tolist() == ["x", "y", "w"]
    assert log.titles.tolist() == ["The X", "y", "w"]
    assert log.topic_names.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(log.item_topics, [[1 / 2, 1 / 2, 0.0], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert log.feature_names.tolist() == ["a", "b", "c", "price", "weight"]
    # w is not described: no genre, the median price; of the weight one value is known, so nothing differs.
    expected = np.array([[1, 1, 0, -1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
    np.testing.assert_allclose(log.item_features, expected)


def test_a_movielens_folder_is_read_with_genres_years_and_users(tmp_path: Path) -> None:
    log = read_log(write_movielens(tmp_path / "ml-100k"))
    assert log.source == "ml-100k"
    assert log.item_ids.tolist() == ["10", "9", "3"]
    assert log.user_ids.tolist() == ["2", "1"]
    assert log.titles[0] == "Caf\xe9 10 (1960)"
    assert len(log.topic_names) == 18
    np.testing.assert_allclose(log.item_topics[0][[4, 7]], 0.5)  # Comedy and Drama
    np.testing.assert_allclose(log.item_topics[1], 1 / 18)  # unknown
    # Years 1970, 1960 (from the title) and 1950.
    np.testing.assert_allclose(log.item_features[:, -1], [1, 0, -1], atol=1e-6)
    assert log.profile_names.tolist() == ["female", "occupation: doctor", "occupation: writer", "age"]
    np.testing.assert_allclose(log.user_profiles, [[0, 1, 0, 1], [1, 0, 1, -1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("user,item,rating,timestamp,item\n", ":1: must name each column once"),
        (
            "user,item,rating\n" + GOOD_ROWS,
            ":1: must name each column once, among them user,item,rating,timestamp; got user,item",
        ),
        ("ann,x,5,10\n", ":1: must name each column once"),
        (HEADER, "0 users and 0 items"),
        (HEADER + GOOD_ROWS + "cid,x,6,50\n", ":6: rating='6': must be an integer from 1 to 5"),
        (HEADER + GOOD_ROWS + "cid,x,0,50\n", ":6: rating='0'"),
        (HEADER + "ann,x,3.5,10\n" + GOOD_ROWS, ":2: rating='3.5'.*half ratings are not supported"),
        (HEADER + "ann,x,good,10\n", ":2: rating='good'"),
        (HEADER + "ann,x,nan,10\n", ":2: rating='nan'"),
        (HEADER + GOOD_ROWS + "cid,x,5,today\n", ":6: timestamp='today'"),
        (HEADER + GOOD_ROWS + "cid,x,5,inf\n", ":6: timestamp='inf'"),
        (HEADER + GOOD_ROWS + "\nann,x,5,90\n", ":7: user 'ann' rates item 'x' again, first at .*:2;"),
        (HEADER + GOOD_ROWS + "cid,x,5\n", ":6: has 3 fields, must have 4"),
        (HEADER + GOOD_ROWS + ",x,5,50\n", ":6: user=''"),
        (HEADER + GOOD_ROWS + 'cid,"x,5,50\n', ":6: not well-formed"),
        (HEADER + "ann,x,5,10\nann,y,4,20\n", "1 users and 2 items"),
        (HEADER + "ann,x,5,10\nbob,x,4,20\n", "2 users and 1 items"),
    ],
)
def test_an_invalid_log_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "log.csv", text)
    with pytest.raises(ValueError, match=message) as caught:
        read_log(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes((HEADER + GOOD_ROWS).encode() + "caf\xe9,x,5,50\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"log.csv:6: not utf-8 text"):
        read_log(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("id,title\nx,X\n", ":1: must name each column once, among them item"),
        ("item,price\nx,cheap\n", ":2: price='cheap'"),
        ("item,price\nx,1\nx,2\n", ":3: item 'x' is empty or appears twice"),
        ("item,price\nx\n", ":2: has 1 fields, must have 2"),
        ("item,price\nother,1\n", "describes none of the items"),
    ],
)
def test_invalid_item_descriptions_are_refused(tmp_path: Path, items: str, message: str) -> None:
    log = write(tmp_path / "log.csv", HEADER + GOOD_ROWS)
    with pytest.raises(ValueError, match=message):
        read_log(log, write(tmp_path / "items.csv", items))


def test_a_folder_that_is_not_movielens_says_what_is_missing_and_where_to_get_it(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    (folder / "u.user").unlink()
    with pytest.raises(ValueError, match=r"u\.user is missing.*grouplens\.org/datasets/movielens/100k"):
        read_log(folder)


def test_a_rated_item_that_movielens_does_not_list_is_refused(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    with (folder / "u.data").open("a") as file:
        file.write("1\t77\t3\t900\n")
    with pytest.raises(ValueError, match=r"'77' is rated but not in .*u\.item"):
        read_log(folder)


def test_reading_needs_only_the_three_files(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "extra").write_text("ignored")
    assert read_log(tmp_path / "copy").ratings.tolist() == read_log(folder).ratings.tolist()


# Finding


def test_a_log_is_fitted_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "log.csv", HEADER + GOOD_ROWS)
    first = load_or_fit(path)
    (kept,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr("recsim_env.logs.fitting.fit_log", lambda *_, **__: pytest.fail("fitted again"))
    np.testing.assert_array_equal(load_or_fit(path).interests, first.interests)
    np.testing.assert_array_equal(load_or_fit(kept).interests, first.interests)
    monkeypatch.undo()
    monkeypatch.setenv("RECSIM_CACHE", str(tmp_path / "cache"))
    write(path, HEADER + GOOD_ROWS + "cid,x,5,50\n")
    assert len(load_or_fit(path).user_ids) == 3
    assert len(load_or_fit(path, seed=1).user_ids) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 3
    for each in (tmp_path / "cache").iterdir():
        each.write_bytes(b"damaged")
    assert len(load_or_fit(path).user_ids) == 3


def test_a_user_without_a_home_fits_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSIM_CACHE", raising=False)
    monkeypatch.setenv("HOME", "~")  # as in a container whose user has none
    monkeypatch.chdir(tmp_path)
    assert len(load_or_fit(write(tmp_path / "log.csv", HEADER + GOOD_ROWS)).user_ids) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_the_log_is_searched_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("RECSIM_DATA", raising=False)
    assert find_log() is None
    for path in (None, "absent.csv", "a\0b"):
        with pytest.raises(FileNotFoundError, match=r"^[^\0\n]*https://grouplens\.org/datasets/movielens/100k"):
            load_or_fit(path)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    folder = write_movielens(tmp_path / "shared" / "data" / "ml-100k")
    found = find_log()
    assert found is not None
    assert found.samefile(folder)
    monkeypatch.setenv("RECSIM_DATA", str(folder.parent))
    assert find_log() == folder
    monkeypatch.setenv("RECSIM_DATA", str(folder))
    assert find_log() == folder
    monkeypatch.setenv("RECSIM_DATA", str(work))
    assert find_log() is None
    with pytest.raises(FileNotFoundError, match="RECSIM_DATA="):
        load_or_fit(None)
