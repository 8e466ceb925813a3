"""Map the values of a log - stars, points, words, clicks, counts - to the levels of a rating scale.

Ratings have up to 11 levels between 0 and 5. Whole stars from 1 to 5 and half stars from 0.5 to 5 are kept; any other
scale must be given, and is mapped linearly to 1 to 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsim_env.config import MAX_RATING_LEVELS
from recsim_env.logs.reading.table_files import Problem, problem_in

FEEDBACK_KINDS = ("ratings", "clicks", "plays", "watch_ratio")
"""Kinds of feedback in a log."""

_STARS = np.arange(1.0, 6.0)
_HALF_STARS = np.arange(0.5, 5.5, 0.5)
_ROUNDED = np.arange(1.0, 5.5, 0.5)
_USUAL_SCALES = ((0, 1), (1, 4), (1, 7), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100))
_STEPS = (100.0, 50.0, 25.0, 20.0, 10.0, 5.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.2, 0.1)
_NULLS = ("null", "na", "n/a", "nan", "none", "\\n", "-", "?")
_FIFTHS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class RatingScale:
    """The rating scale of a log."""

    levels: np.ndarray
    """[L] float64, ascending, in 0..5: the possible ratings."""
    description: str
    """In words."""


@dataclass(frozen=True, kw_only=True)
class Rated:
    """Rows of a log with their ratings, and problems and notes about them."""

    frame: pl.DataFrame
    """Rows that have a rating, in a float64 column `rating`."""
    scale: RatingScale
    problems: list[Problem]
    notes: list[str]


def rate(
    frame: pl.DataFrame,
    feedback: str,
    kind: str,
    scale: Sequence[float] = (),
    levels: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> Rated:
    """Turn the column `value` into ratings.

    Args:
        frame: has `value` (strings; may be absent) and `LINE`.
        feedback: one of `FEEDBACK_KINDS`.
        kind: one of `column_roles.VALUES`, or empty if the column name does not reveal it.
        scale: the ends of the rating scale; empty if not given.
        levels: ratings in words, in ascending order; empty if not given.
        missing: values that mark unrated items.

    Raises:
        ValueError: the feedback needs a column that is absent, or `scale` or `levels` are invalid.
    """
    notes: list[str] = []
    if "value" not in frame.columns:
        if feedback != "clicks":
            raise ValueError(
                "no column of ratings; name it (--columns rating=NAME), or use --feedback clicks if each row is a click"
            )
        frame = frame.with_columns(pl.lit("1").alias("value"))
    elif kind == "plays" and feedback == "ratings" and not (scale or levels):
        raise ValueError("its values are counts, not ratings: --feedback plays")
    elif kind in ("click", "watch_ratio") and feedback == "ratings" and not (scale or levels):
        name = {"click": "clicks", "watch_ratio": "watch_ratio"}[kind]
        raise ValueError(f"its values are not ratings: --feedback {name}")
    if missing:
        is_missing = pl.col("value").is_in(list(missing)) | pl.col("value").cast(pl.Float64, strict=False).is_in(
            _numbers(missing)
        )
        num_rows = len(frame)
        frame = frame.filter(~is_missing.fill_null("" in missing))
        notes.append(f"{num_rows - len(frame):,} of {num_rows:,} rows are unrated ({', '.join(missing)}) and skipped")
    if not len(frame):
        return _unrated(frame, [], notes)
    if levels:
        return _rate_words(frame, levels, notes)
    frame = frame.with_columns(pl.col("value").cast(pl.Float64, strict=False).alias("number"))
    wrong = frame.filter(~pl.col("number").is_finite().fill_null(False))
    if len(wrong):
        return _unrated(frame, [problem_in(wrong, _not_a_number(wrong["value"]))], notes)
    if feedback == "clicks":
        return _rate_clicks(frame, notes)
    if feedback in ("plays", "watch_ratio"):
        return _rate_amounts(frame, feedback, notes)
    return _rate_numbers(frame, scale, notes)


def _unrated(frame: pl.DataFrame, problems: list[Problem], notes: list[str]) -> Rated:
    """The rows without ratings."""
    rows = frame.with_columns(pl.lit(None, pl.Float64).alias("rating"))
    return Rated(frame=rows, scale=RatingScale(levels=_STARS, description="not known"), problems=problems, notes=notes)


def _numbers(texts: Sequence[str]) -> list[float]:
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return numbers


def _not_a_number(values: pl.Series) -> str:
    value = values[0]
    if value is None or value.lower() in _NULLS:
        return f"rating={value or ''!r}: is missing; skip such rows with --missing {value or repr('')}"
    words = values.drop_nulls().unique().sort()
    if "/" in value:
        return f"rating={value!r}: must be a number; keep only the numerator, and pass the scale as --scale"
    if "," in value:
        return f"rating={value!r}: must be a number with a decimal point, not a comma"
    if len(words) <= MAX_RATING_LEVELS:
        return f"rating={value!r}: must be a number; list words in ascending order, such as --levels {','.join(words)}"
    return f"rating={value!r}: must be a number"


def _rate_words(frame: pl.DataFrame, words: Sequence[str], notes: list[str]) -> Rated:
    if not 2 <= len(words) <= MAX_RATING_LEVELS or len(set(words)) < len(words):
        raise ValueError(
            f"--levels {','.join(words)}: must be 2 to {MAX_RATING_LEVELS} different words, in ascending order"
        )
    levels = np.linspace(1.0, 5.0, len(words))
    rated = frame.with_columns(
        pl.col("value").replace_strict(list(words), levels.tolist(), default=None).alias("rating")
    )
    wrong = rated.filter(pl.col("rating").is_null())
    problems = (
        [problem_in(wrong, f"rating={wrong['value'][0] or ''!r}: must be one of {', '.join(words)}")]
        if len(wrong)
        else []
    )
    scale = RatingScale(levels=levels, description=f"{' < '.join(words)}, as {_listed(levels)}")
    return Rated(frame=rated.filter(pl.col("rating").is_not_null()), scale=scale, problems=problems, notes=notes)


def _rate_clicks(frame: pl.DataFrame, notes: list[str]) -> Rated:
    wrong = frame.filter(pl.col("number") < 0.0)
    problems = (
        [problem_in(wrong, f"click={wrong['value'][0]!r}: must be 0, or more if the item was clicked")]
        if len(wrong)
        else []
    )
    rated = frame.with_columns(pl.when(pl.col("number") > 0.0).then(5.0).otherwise(1.0).alias("rating"))
    scale = RatingScale(levels=np.array([1.0, 5.0]), description="clicked (5) or not (1)")
    return Rated(frame=rated, scale=scale, problems=problems, notes=notes)


def _rate_amounts(frame: pl.DataFrame, feedback: str, notes: list[str]) -> Rated:
    """Cut counts at their quintiles, watch ratios at fifths."""
    wrong = frame.filter(pl.col("number") < 0.0)
    problems = [problem_in(wrong, f"{feedback}={wrong['value'][0]!r}: must not be negative")] if len(wrong) else []
    numbers = frame["number"].to_numpy()
    edges = np.array(_FIFTHS)
    if feedback == "plays":
        edges = np.unique(np.quantile(numbers, _FIFTHS, method="inverted_cdf"))
    # A count at an edge belongs to the level below it, a watch ratio to the level above.
    ratings = np.searchsorted(edges, numbers, side="left" if feedback == "plays" else "right")
    levels = np.linspace(1.0, 5.0, len(edges) + 1)
    bounds = ", ".join(f"{edge:g}" for edge in edges)
    scale = RatingScale(levels=levels, description=f"{feedback} cut at {bounds}, as {_listed(levels)}")
    notes.append(f"ratings are {scale.description}: an assumption")
    return Rated(
        frame=frame.with_columns(pl.Series("rating", levels[ratings])), scale=scale, problems=problems, notes=notes
    )


def _rate_numbers(frame: pl.DataFrame, given: Sequence[float], notes: list[str]) -> Rated:
    numbers = frame["number"].unique().sort().to_numpy()
    if given:
        return _rate_on_scale(frame, numbers, given[0], given[1], notes)
    levels = next((each for each in (_STARS, _HALF_STARS) if np.isin(numbers, each).all()), None)
    if levels is None:
        wrong = frame.filter(~pl.col("number").is_in(_HALF_STARS.tolist()))
        proposal = _proposal(numbers)
        share = f"{len(wrong):,} of {len(frame):,} rows are" if len(wrong) < len(frame) else "all rows are"
        text = f"rating={wrong['value'][0]!r}: {share} neither whole stars from 1 to 5 nor half stars; {proposal}"
        return _unrated(frame, [problem_in(wrong, text)], notes)
    if len(numbers) == 1:
        clicks = "; if each row is a click, use --feedback clicks" if numbers[0] == 1.0 else ""
        notes.append(f"warning: all ratings are {numbers[0]:g}, so nothing can be learnt from them{clicks}")
    elif len(levels) == 5 and numbers[-1] < 5.0:
        notes.append(
            f"warning: no rating is above {numbers[-1]:g}; if the scale ends there, use --scale 1 {numbers[-1]:g}"
        )
    scale = RatingScale(levels=levels, description="1 to 5" if levels is _STARS else "half stars, 0.5 to 5")
    return Rated(frame=frame.with_columns(pl.col("number").alias("rating")), scale=scale, problems=[], notes=notes)


def _rate_on_scale(frame: pl.DataFrame, numbers: np.ndarray, low: float, high: float, notes: list[str]) -> Rated:
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"--scale {low:g} {high:g}: must be two numbers, the lower one first")
    wrong = frame.filter((pl.col("number") < low) | (pl.col("number") > high))
    if len(wrong):
        share = f"{len(wrong):,} of {len(frame):,} rows"
        text = f"rating={wrong['value'][0]!r}: outside --scale {low:g} {high:g}, like {share}"
        return _unrated(frame, [problem_in(wrong, text)], notes)
    values = _grid(numbers, low, high)
    if values is None:
        levels, values = _ROUNDED, np.linspace(low, high, len(_ROUNDED))
        notes.append(f"ratings are rounded to the nearest of {len(levels)} levels, {values[1] - values[0]:g} apart")
    else:  # half stars keep their values
        is_kept = high == 5.0 and np.isin(values, _HALF_STARS).all()
        levels = values if is_kept else 1.0 + 4.0 * (values - low) / (high - low)
    index = ((pl.col("number") - low) / (values[1] - values[0])).round().cast(pl.Int64)
    rated = frame.with_columns(index.replace_strict(range(len(levels)), levels.tolist()).alias("rating"))
    mapping = "" if np.array_equal(levels, values) else f", as {_listed(levels)}"
    scale = RatingScale(levels=levels, description=f"{low:g} to {high:g}{mapping}")
    return Rated(frame=rated, scale=scale, problems=[], notes=notes)


def _grid(numbers: np.ndarray, low: float, high: float) -> np.ndarray | None:
    """Equally spaced values from `low` to `high`, at most `MAX_RATING_LEVELS`, with all `numbers` among them."""
    for step in _STEPS:
        num_steps = round((high - low) / step)
        grid = low + step * np.arange(num_steps + 1)
        if 1 <= num_steps < MAX_RATING_LEVELS and abs(grid[-1] - high) < 1e-9:
            distance = np.abs(numbers - low - step * np.rint((numbers - low) / step))
            if (distance < 1e-9).all():
                return grid
    return None


def _proposal(numbers: np.ndarray) -> str:
    """The option that probably applies to these numbers."""
    low, high, are_whole = numbers[0], numbers[-1], (numbers == np.rint(numbers)).all()
    rest = numbers[(numbers != 0.0) & (numbers != -1.0)]
    if np.isin(numbers, [0.0, 1.0]).all():
        return "--feedback clicks if 1 is a click, --scale 0 1 if they are ratings"
    if len(rest) < len(numbers) and len(rest) and np.isin(rest, _HALF_STARS).all():
        absent = " ".join(f"{number:g}" for number in numbers if number <= 0.0)
        scale = f", --scale {low:g} 5 if it is a rating" if low == 0.0 else ""
        return f"--missing {absent} if that means not rated{scale}"
    if are_whole and low >= 0.0 and high > 100.0:
        return "--feedback plays if they are counts"
    if low >= 1.0 and high <= 5.0:
        return f"--scale 1 5 rounds them to {len(_ROUNDED)} levels"
    for least, greatest in _USUAL_SCALES:
        if least <= low and high <= greatest:
            return f"give their scale, such as --scale {least} {greatest}"
    return f"give their scale, such as --scale {np.floor(low):g} {np.ceil(high):g}"


def _listed(levels: np.ndarray) -> str:
    return ", ".join(f"{level:.3g}" for level in levels)
