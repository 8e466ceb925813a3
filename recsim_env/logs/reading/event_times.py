"""Event times in common formats, parsed as seconds."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from recsim_env.logs.reading.table_files import Problem, problem_in

_EPOCH_UNITS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_FIRST_EPOCH = 1e8
"""March 1973 in seconds since 1970; smaller numbers are treated as times of unknown unit."""
_LAST_DATE = 2.5e11  # seconds; the year 9892
_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d"),
    *("%Y/%m/%d %H:%M:%S", "%Y%m%d", "%m %d, %Y", "%b %d, %Y", "%B %d, %Y", "%d.%m.%Y"),
)


@dataclass(frozen=True, kw_only=True)
class EventTimes:
    """The times of the rows of a log."""

    seconds: np.ndarray
    """[N] float64; row numbers if the log has no times."""
    description: str
    """Format and unit, in words."""
    is_known: bool
    """Whether they come from the log."""
    problems: list[Problem] = field(default_factory=list)


def parse_times(frame: pl.DataFrame) -> EventTimes:
    """Parse the column `time`: numbers or dates, all in one unit.

    Rows keep their order if the column is absent or some cells are empty.
    """
    order = EventTimes(seconds=np.arange(len(frame), dtype=float), description="order of the file", is_known=False)
    if "time" not in frame.columns or not len(frame):
        return order
    times = frame["time"]
    num_missing = times.null_count()
    if num_missing:
        share = "" if num_missing == len(times) else f" ({num_missing:,} of {len(times):,} times are empty)"
        return EventTimes(seconds=order.seconds, description=f"order of the file{share}", is_known=False)
    numbers = times.cast(pl.Float64, strict=False)
    if 2 * numbers.null_count() < len(times):
        return _parse_numbers(frame, numbers)
    plain = times.str.replace(r"( ?UTC|Z|[+-]\d\d:?\d\d)$", "")
    parsed = {each: plain.str.to_datetime(each, strict=False, time_unit="us") for each in _FORMATS}
    best = min(parsed, key=lambda each: parsed[each].null_count())
    if parsed[best].null_count():
        wrong = frame.filter(parsed[best].is_null())
        example = "" if len(wrong) == len(frame) else f", like {times[parsed[best].is_not_null().arg_max() or 0]!r}"
        text = f"time={wrong['time'][0]!r}: must be a number, such as seconds since 1970, or an ISO date{example}"
        return EventTimes(
            seconds=order.seconds, description="not known", is_known=False, problems=[problem_in(wrong, text)]
        )
    offset = times.str.extract_groups(r"(?<sign>[+-])(?<hours>\d\d):?(?<minutes>\d\d)$").struct.unnest()
    east = pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    minutes = east * (pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64))
    return _dates(parsed[best] - offset.select(pl.duration(minutes=minutes.fill_null(0))).to_series(), best)


def _parse_numbers(frame: pl.DataFrame, numbers: pl.Series) -> EventTimes:
    wrong = frame.filter(~numbers.is_finite().fill_null(False))
    if len(wrong):
        text = f"time={wrong['time'][0]!r}: must be a finite number, such as seconds since 1970, like the other times"
        seconds = numbers.fill_null(0.0).to_numpy()
        return EventTimes(seconds=seconds, description="not known", is_known=False, problems=[problem_in(wrong, text)])
    if frame["time"].str.len_bytes().unique().to_list() == [8]:
        dates = frame["time"].str.to_date("%Y%m%d", strict=False)
        if not dates.null_count() and dates.dt.year().is_between(1900, 2100).all():
            return _dates(dates.cast(pl.Datetime("us")), "%Y%m%d")
    return _epochs(frame, numbers.to_numpy())


def _dates(dates: pl.Series, pattern: str) -> EventTimes:
    seconds = dates.dt.epoch("us").to_numpy() * 1e-6
    notation = pattern.replace("%.f", "").replace("%", "")
    return EventTimes(seconds=seconds, description=f"dates ({notation}), {_range(seconds)}", is_known=True)


def _epochs(frame: pl.DataFrame, numbers: np.ndarray) -> EventTimes:
    if np.abs(numbers).max() < _FIRST_EPOCH:
        return EventTimes(seconds=numbers, description="numbers of unknown unit", is_known=True)
    units = np.clip(np.floor((np.log10(np.maximum(np.abs(numbers), 1.0)) - 8.0) / 3.0), 0, 3).astype(int)
    names = list(_EPOCH_UNITS)
    if units.min() < units.max():
        common = int(np.bincount(units).argmax())
        wrong = frame.filter(pl.Series(units != common))
        other = names[units[np.flatnonzero(units != common)[0]]]
        text = (
            f"time={wrong['time'][0]!r}: {other} since 1970, but most times are {names[common]}; all must have one unit"
        )
        return EventTimes(
            seconds=numbers, description="mixed units", is_known=False, problems=[problem_in(wrong, text)]
        )
    seconds = numbers * _EPOCH_UNITS[names[units[0]]]
    return EventTimes(seconds=seconds, description=f"{names[units[0]]} since 1970, {_range(seconds)}", is_known=True)


def _range(seconds: np.ndarray) -> str:
    ends = seconds.min(), seconds.max()
    if np.abs(ends).max() > _LAST_DATE:
        return f"{ends[0]:g} to {ends[1]:g} s"
    first, last = (str(np.datetime64(int(each), "s"))[:10] for each in ends)
    return f"{first} to {last}"
