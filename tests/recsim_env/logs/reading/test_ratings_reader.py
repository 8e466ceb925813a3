"""Reading and finding a ratings log, and refusing invalid ones."""

import gzip
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_logs import GOOD_ROWS, HEADER, read_text, write

from recsim_env.logs import find_log, load_or_fit, read_content, read_log


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
        ("", "the file is empty"),
        ("user,item,rating,timestamp,item\n" + GOOD_ROWS, ":1: must name each column once"),
        ("ann,x,5,10\n", ":1: no header found; .*--columns user,item,rating,time$"),
        ("who,what,stars\n" + "a,x,5\n", ":1: no column for user and item among who,what,stars; name it: --columns"),
        (HEADER, "no rows"),
        (HEADER + GOOD_ROWS + "cid,x,6,50\n", ":6: rating='6': 1 of 5 rows are neither whole stars"),
        (HEADER + GOOD_ROWS + "cid,x,0,50\n", ":6: rating='0': .*--missing 0 if that means not rated, --scale 0 5"),
        (HEADER + GOOD_ROWS + "cid,x,-1,50\n", ":6: rating='-1': .*--missing -1 if that means not rated"),
        (HEADER + "ann,x,3.7,10\nbob,x,1,10\n", ":2: rating='3.7'.*--scale 1 5 rounds them to 9 levels"),
        (HEADER + "ann,x,-7.2,10\nbob,x,1,10\n", ":2: rating='-7.2'.*--scale -10 10"),
        (HEADER + "ann,x,681,10\nbob,x,1,10\n", ":2: rating='681'.*--feedback plays"),
        (HEADER + "ann,x,0,10\nbob,x,1,10\n", ":2: rating='0'.*--feedback clicks if 1 is a click"),
        (HEADER + "ann,x,good,10\nbob,x,bad,10\n", ":2: rating='good': .*--levels bad,good"),
        (HEADER + "ann,x,4/5,10\n", ":2: rating='4/5': must be a number; .*numerator"),
        (HEADER + 'ann,x,"4,5",10\n', ":2: rating='4,5': must be a number with a decimal point"),
        (HEADER + "ann,x,NULL,10\n", ":2: rating='NULL': is missing; .*--missing NULL"),
        (HEADER + "ann,x,nan,10\n", ":2: rating='nan'"),
        (
            HEADER + GOOD_ROWS + "cid,x,5,today\n",
            ":6: time='today': must be a finite number, such as seconds since 1970",
        ),
        (HEADER + GOOD_ROWS + "cid,x,5,inf\n", ":6: time='inf'"),
        (
            HEADER + "ann,x,5,1100000000\nbob,y,4,1100000000000\nbob,x,4,1100000060\n",
            ":3: .* milliseconds since 1970, but",
        ),
        (HEADER + GOOD_ROWS + "\nann,x,5,90\n", ":7: user 'ann' rates item 'x' again, first in line 2;.*--duplicates"),
        (HEADER + GOOD_ROWS + "cid,x,5\n", ":6: has 3 fields, must have 4"),
        (HEADER + GOOD_ROWS + ",x,5,50\n", ":6: user=''"),
        (HEADER + GOOD_ROWS + 'cid,"x,5,50\n', ":6: not well-formed"),
        (HEADER + "ann,x,5,10\nann,y,4,20\n", "1 user and 2 items"),
        (HEADER + "ann,x,5,10\nbob,x,4,20\n", "2 users and 1 item"),
        ('{"user": "a", "item": "x"\n', ":1: not a valid line of JSON lines"),
        ('{"who": "a", "what": "x"}\n', ":1: this is JSON lines; no column for user and item among who,what"),
        ("user,item,time\nann,x,1\n", "no column of ratings; .*--feedback clicks"),
        ("user,item,plays\nann,x,1\n", "its values are counts, not ratings: --feedback plays"),
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
    with pytest.raises(ValueError, match=r"log.csv:6: not utf-8 text; .*--encoding latin-1"):
        read_log(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("thing,title\nx,X\n", ":1: must have a column of item ids, such as item; got thing,title"),
        ("item,price\nx,1\ny,2\nz,cheap\n", ":4: price='cheap': must be a finite number"),
        ("item,price\nx,1\nx,2\n", ":3: item 'x' is empty or appears twice"),
        ("item,price\nx\n", ":2: has 1 fields, must have 2"),
        ("item,price\nother,1\n", "has metadata of none of the items"),
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


def test_the_share_of_items_with_metadata_is_noted(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    with (folder / "u.data").open("a") as file:
        file.write("1\t77\t3\t900\n")
    assert "3 of 4 items have metadata (75%)" in read_content(folder).notes


def test_reading_needs_only_the_three_files(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "extra").write_text("ignored")
    assert read_log(tmp_path / "copy").ratings.tolist() == read_log(folder).ratings.tolist()


# Layouts as people have them


def test_half_stars_keep_their_values(tmp_path: Path) -> None:
    log = read_text(tmp_path, "userId,movieId,rating,timestamp\n1,2,0.5,10\n1,3,5.0,20\n2,2,3.5,30\n")
    assert log.ratings.tolist() == [0.5, 5.0, 3.5]
    assert log.rating_levels.tolist() == [0.5 * k for k in range(1, 11)]
    assert log.level_indices.tolist() == [0, 9, 6]


def test_a_folder_of_the_latest_movielens_is_read_and_no_genre_is_no_genre(tmp_path: Path) -> None:
    write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,2,0.5,10\n1,3,5.0,20\n2,2,3.5,30\n")
    write(
        tmp_path / "movies.csv", 'movieId,title,genres\n2,"Thing, A (1991)",Drama|War\n3,B (1999),(no genres listed)\n'
    )
    log = read_log(tmp_path)
    assert log.titles.tolist() == ["Thing, A (1991)", "B (1999)"]
    assert log.feature_names.tolist() == ["Drama", "War", "release year"]
    np.testing.assert_allclose(log.item_features, [[1, 1, -1], [0, 0, 1]])


def test_a_folder_of_movielens_1m_is_read_with_its_users(tmp_path: Path) -> None:
    write(tmp_path / "ratings.dat", "1::2::4::978300760\n2::2::5::978300761\n2::3::1::978300762\n")
    (tmp_path / "movies.dat").write_bytes("2::Caf\xe9 (1991)::Drama|War\n3::B (1999)::Drama\n".encode("latin-1"))
    write(tmp_path / "users.dat", "1::F::25::4::00000\n2::M::35::7::00000\n")
    log = read_log(tmp_path)
    assert log.titles[0] == "Caf\xe9 (1991)"
    assert log.profile_names.tolist() == ["female", "occupation: 4", "occupation: 7", "age"]
    assert log.user_profiles[:, 0].tolist() == [1.0, 0.0]


def test_a_zipped_folder_is_read_like_the_folder(tmp_path: Path) -> None:
    folder = write_movielens(tmp_path / "ml-100k")
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"ml-100k/{file.name}")
    assert read_log(tmp_path / "ml-100k.zip").titles.tolist() == read_log(folder).titles.tolist()


@pytest.mark.parametrize(
    "layout", ["tsv", "semicolons", "colons", "quotes", "gz", "zip", "parquet", "json", "array", "inter"]
)
def test_the_same_rows_are_read_from_every_layout(tmp_path: Path, layout: str) -> None:
    rows = [("ann", "x", 5, 10), ("ann", "y", 3, 20), ("bob", "x", 1, 30), ("bob", "y", 4, 40)]
    names = ("User_ID", "itemId", "stars", "Timestamp")
    frame = pl.DataFrame(rows, names, orient="row")
    separator = {"tsv": "\t", "semicolons": ";", "colons": "::", "inter": "\t"}.get(layout, ",")
    header = ("user_id:token", "item_id:token", "rating:float", "timestamp:float") if layout == "inter" else names
    cells = [header, *(tuple(map(str, row)) for row in rows)]
    if layout == "quotes":
        cells = [tuple(f'"{cell}"' for cell in row) for row in cells]
    text = "".join(separator.join(row) + "\r\n" for row in cells)
    path = tmp_path / f"log.{layout}"
    if layout == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("anything.csv", text)
    elif layout == "parquet":
        frame.write_parquet(path)
    elif layout == "json":
        frame.write_ndjson(path)
    elif layout == "array":
        frame.write_json(path)
    else:
        write(path, text)
    log = read_log(path)
    assert log.user_ids.tolist() == ["ann", "bob"]
    assert log.items.tolist() == [0, 1, 0, 1]
    assert log.ratings.tolist() == [5, 3, 1, 4]
    assert log.times.tolist() == [10, 20, 30, 40]


def test_a_file_without_a_header_is_read_by_the_order_of_its_columns(tmp_path: Path) -> None:
    log = read_text(tmp_path, "x,ann,good,5\ny,bob,bad,3\n", columns=("item", "user", "-", "rating"))
    assert log.user_ids.tolist() == ["ann", "bob"]
    assert log.ratings.tolist() == [5, 3]


def test_columns_of_a_header_can_be_named(tmp_path: Path) -> None:
    log = read_text(tmp_path, "who,what,points\na,x,5\nb,y,3\n", columns=("user=who", "item=what", "rating=points"))
    assert log.ratings.tolist() == [5, 3]
    with pytest.raises(ValueError, match=r"--columns user=wo: unknown; did you mean 'who'\?"):
        read_text(tmp_path, "who,what,points\na,x,5\nb,y,3\n", columns=("user=wo",))


def test_a_file_of_the_netflix_prize_is_read(tmp_path: Path) -> None:
    log = read_text(tmp_path, "7:\n1,5,2005-10-06\n2,3,2005-08-26\n8:\n1,2,2003-03-28\n", "combined_data_1.txt")
    assert log.item_ids.tolist() == ["8", "7"]
    assert log.ratings.tolist() == [5, 3, 2]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 5)),
        min_size=4,
        max_size=60,
        unique_by=lambda row: row[:2],
    ),
    st.sampled_from([",", "\t", ";", "|"]),
    st.booleans(),
)
def test_any_log_is_read_as_it_was_written(rows: list[tuple[int, int, int]], separator: str, is_quoted: bool) -> None:
    if len({row[0] for row in rows}) < 2 or len({row[1] for row in rows}) < 2:
        return
    quote = '"' if is_quoted else ""
    text = separator.join(("user", "item", "rating")) + "\n"
    text += "".join(separator.join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        log = read_log(write(Path(folder) / "log.txt", text))
    found = zip(log.user_ids[log.users], log.item_ids[log.items], log.ratings, strict=True)
    assert [(int(user), int(item), rating) for user, item, rating in found] == rows


# Finding


def test_the_log_is_searched_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("RECSIM_DATA", raising=False)
    assert find_log() is None
    for path in (None, "absent.csv", "a\0b"):
        with pytest.raises(FileNotFoundError, match=r"^[^\0\n]*https://grouplens\.org/datasets/movielens/100k"):
            load_or_fit(path)
    (tmp_path / "data").mkdir()
    folder = write_movielens(tmp_path / "data" / "ml-100k")
    monkeypatch.setenv("RECSIM_DATA", str(folder.parent))
    assert find_log() == folder
    monkeypatch.setenv("RECSIM_DATA", str(folder))
    assert find_log() == folder
    monkeypatch.setenv("RECSIM_DATA", str(work))
    assert find_log() is None
    with pytest.raises(FileNotFoundError, match="RECSIM_DATA="):
        load_or_fit(None)
