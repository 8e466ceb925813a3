"""Ratings logs written as text."""

from pathlib import Path
from typing import Any

from recsim_env.logs import RatingsLog, ReadingOptions, read_log

HEADER = "user,item,rating,timestamp\n"
GOOD_ROWS = "ann,x,5,10\nann,y,3,20\nbob,x,1,30\nbob,y,4,40\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read_text(folder: Path, text: str, name: str = "log.csv", **options: Any) -> RatingsLog:
    """The log in a file with that text, read with these `ReadingOptions`."""
    return read_log(write(folder / name, text), options=ReadingOptions(**options))
