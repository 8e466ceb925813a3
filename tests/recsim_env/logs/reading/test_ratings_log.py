"""A ratings log in memory."""

from pathlib import Path

import numpy as np
from text_logs import HEADER, read_text


def test_a_part_of_a_log_has_the_ratings_of_some_users_alone(tmp_path: Path) -> None:
    rows = "ann,x,5,1\nbob,y,1,2\ncid,z,2,3\ncid,x,4,4\nann,z,3,5\n"
    log = read_text(tmp_path, HEADER + rows).of_users(np.array([2, 1]))  # cid and bob
    assert log.user_ids.tolist() == ["bob", "cid"]
    assert log.item_ids.tolist() == ["y", "z", "x"]
    pairs = zip(log.user_ids[log.users], log.item_ids[log.items], log.ratings, log.times, strict=True)
    assert [tuple(pair) for pair in pairs] == [("bob", "y", 1.0, 2.0), ("cid", "z", 2.0, 3.0), ("cid", "x", 4.0, 4.0)]
    assert len(log.item_features) == len(log.item_topics) == 3
    assert len(log.user_profiles) == 2
