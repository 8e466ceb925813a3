"""Values of a ratings log: times in any notation, other rating scales, clicks and plays, repeated ratings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_logs import HEADER, read_text, write

from recsim_env.logs import read_content


@pytest.mark.parametrize(
    "times",
    [
        ("1100000000", "1100003600"),
        ("1100000000000", "1100003600000"),
        ("1100000000000000000", "1100003600000000000"),
        ("2004-11-09T11:33:20Z", "2004-11-09T12:33:20Z"),
        ("2004-11-09 11:33:20", "2004-11-09 12:33:20"),
        ("2004-11-09T13:33:20+02:00", "2004-11-09T12:33:20Z"),
    ],
)
def test_times_are_read_in_any_usual_notation(tmp_path: Path, times: tuple[str, str]) -> None:
    log = read_text(tmp_path, HEADER + f"a,x,5,{times[0]}\nb,y,4,{times[1]}\n")
    np.testing.assert_allclose(log.times, [1100000000, 1100003600])


@pytest.mark.parametrize("times", [("20041109", "20041110"), ("2004-11-09", "2004-11-10")])
def test_dates_are_days(tmp_path: Path, times: tuple[str, str]) -> None:
    log = read_text(tmp_path, HEADER + f"a,x,5,{times[0]}\nb,y,4,{times[1]}\n")
    assert np.diff(log.times).tolist() == [86_400]


@pytest.mark.parametrize("text", ["user,item,rating\nb,y,5\na,x,4\n", HEADER + "b,y,5,9\na,x,4,\n"])
def test_without_times_the_order_of_the_file_counts_and_a_note_says_so(tmp_path: Path, text: str) -> None:
    content = read_content(write(tmp_path / "log.csv", text))
    assert content.log is not None
    assert content.log.user_ids.tolist() == ["b", "a"]
    assert not content.log.has_times
    assert any(note.startswith("no times: events are in the order of the file") for note in content.notes)


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (("-10", "10", "0"), {"scale": (-10, 10)}, [1, 5, 3]),
        (("0", "10", "3"), {"scale": (0, 10)}, [1, 5, 2.2]),
        (("1", "4", "2"), {"scale": (1, 4)}, [1, 5, 1 + 4 / 3]),
        (("0", "100", "61.4"), {"scale": (0, 100)}, [1, 5, 3.5]),
        (("like", "dislike", "like"), {"levels": ("dislike", "like")}, [5, 1, 5]),
        (("5", "-1", "3"), {"missing": ("-1",)}, [5, 3]),
        (("5", "NULL", "3"), {"missing": ("NULL",)}, [5, 3]),
        (("1", "0", "1"), {"feedback": "clicks"}, [5, 1, 5]),
        (("1e0", "5e0", "4.50"), {}, [1, 5, 4.5]),
    ],
)
def test_other_scales_become_ratings(
    tmp_path: Path, values: Any, options: dict[str, Any], expected: list[float]
) -> None:
    rows = "".join(f"u{k},i{k},{value},{k}\n" for k, value in enumerate(values))
    log = read_text(tmp_path, HEADER + rows, **options)
    np.testing.assert_allclose(log.ratings, expected)
    assert np.isin(log.ratings, log.rating_levels).all()


def test_a_scale_of_eleven_points_keeps_them_all(tmp_path: Path) -> None:
    rows = "".join(f"u{k},i{k},{k},{k}\n" for k in range(11))
    assert len(read_text(tmp_path, HEADER + rows, scale=(0, 10)).rating_levels) == 11
    with pytest.raises(ValueError, match=r":12: rating='10': outside --scale 0 9"):
        read_text(tmp_path, HEADER + rows, scale=(0, 9))


def test_plays_are_cut_at_their_quintiles(tmp_path: Path) -> None:
    rows = "".join(f"u{k},i{k},{count},{k}\n" for k, count in enumerate((1, 2, 3, 4, 50, 60, 700, 800, 9000, 10000)))
    log = read_text(tmp_path, "user,item,plays,time\n" + rows, feedback="plays")
    assert log.ratings.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_clicks_alone_get_items_that_were_not_clicked(tmp_path: Path) -> None:
    rows = "".join(f"u{user},i{item},{item}\n" for user in range(10) for item in range(20) if (user + item) % 3 == 0)
    log = read_text(tmp_path, "user,item,time\n" + rows, feedback="clicks")
    clicked = {
        (int(log.user_ids[u][1:]), int(log.item_ids[i][1:]))
        for u, i, r in zip(log.users, log.items, log.ratings, strict=True)
        if r == 5
    }
    assert len(clicked) == rows.count("\n")
    assert all((user + item) % 3 == 0 for user, item in clicked)
    assert 0.5 < (log.ratings == 1).sum() / len(clicked) <= 1.0


@pytest.mark.parametrize(("duplicates", "expected"), [("last", [1, 4]), ("mean", [3, 4])])
def test_a_repeated_rating_is_kept_as_told(tmp_path: Path, duplicates: str, expected: list[float]) -> None:
    rows = "a,x,1,30\na,x,5,10\nb,y,4,20\n"
    log = read_text(tmp_path, HEADER + rows, duplicates=duplicates)
    assert sorted(log.ratings) == expected
