"""Code that writes the observations of sessions, in the columns and the layout of `observation`.

Shape legend: N sessions, M candidates, F content features, I items, A refreshes.
"""

import math

import numpy as np

from recsim_env.config import MAX_SLATE_SIZE
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, FEEDBACK, RELEVANCE_COLUMNS, SCALED_AGE, USER_FEEDBACK
from recsim_env.simulation.record_types import copy_into
from recsim_env.simulation.records import ITEM, NO_ITEM, OBSERVABLE_ITEM, PARAMETERS, SESSION
from recsim_env.simulation.relevance import MAX_AGE, REFRESH_AT, evidence, mean_answer, predicted_deviation, refresh_of

_LARGE = 50_000
"""Number of items above which a catalogue exceeds the processor's caches."""

_SLOT_UNIT = 1.0 / MAX_SLATE_SIZE
_RATING_UNIT = 1.0 / 5.0
_MAX_PLAYS = 16
_NUM_FEEDBACK, _NUM_COLUMNS = len(FEEDBACK), len(CANDIDATE_COLUMNS)
_FOLLOWED = CANDIDATE_COLUMNS.index("followed")


def observable_records(features: np.ndarray, release_steps: np.ndarray, creators: np.ndarray) -> np.ndarray:
    """Observable constants of each item as [I] `OBSERVABLE_ITEM` records, which fit in a cache line or two."""
    records = np.zeros(len(features), OBSERVABLE_ITEM.dtype({"num_content_features": features.shape[1]}))
    records["release_step"], records["creator"], records["content"] = release_steps, creators, features
    return records


@compiled
def _write_profile(session, profiles, out):
    """Write the user's profile; returns the number of columns."""
    for f in range(profiles.shape[1]):
        out[f] = profiles[session.user, f]
    return profiles.shape[1]


@compiled
def _write_user_feedback(session, out):
    """Write `USER_FEEDBACK`; returns the number of columns."""
    out[0] = session.num_clicks / max(session.num_shown, 1)
    out[1] = session.rating_sum / max(session.num_ratings, 1) * _RATING_UNIT
    return len(USER_FEEDBACK)


@compiled
def _write_context(session, p, out, at):
    """Write `CONTEXT`, `VISIT_CONTEXT` and the visible mood to `out`, from index `at`; returns the index after them."""
    out[at] = session.step / p.session_length
    out[at + 1] = math.log2(1.0 + session.tenure) / 16.0 if session.tenure > 0 else 0.0
    at += 2
    if p.num_days > 0:
        elapsed = session.start_step + session.step - session.first_time
        out[at] = min(elapsed / (p.num_days * p.day_length), 1.0)
        out[at + 1] = (session.step - session.visit_start) / p.visit_length
        out[at + 2] = min(math.log2(1.0 + session.absence) / 8.0, 1.0)
        out[at + 3] = min(math.log2(session.num_visits) / 16.0, 1.0)
        at += 4
    num_moods = len(p.moods)
    if num_moods > 1:
        for mood in range(num_moods):
            out[at + mood] = 1.0 if session.seen_mood == mood else 0.0
        at += num_moods
    return at


@compiled
def _write_feedback(feedback, out, at):
    """Write `FEEDBACK` of a row of the session's history to `out`, from index `at` (slicing would dominate the cost).

    Arithmetic in float64 rounds equally without the compiler.
    """
    out[at] = 1.0
    out[at + 1] = np.float64(feedback[0]) * _SLOT_UNIT
    out[at + 2] = feedback[1]
    out[at + 3] = feedback[2]
    out[at + 4] = np.float64(feedback[3]) * _RATING_UNIT
    out[at + 5] = feedback[4]
    out[at + 6] = feedback[5]


@compiled
def _write_history(session, observable, out):
    num_features = len(observable[0].content)
    length, width = len(session.history_items), num_features + _NUM_FEEDBACK
    row, at = (session.num_shown - 1) % length, 0
    for _ in range(min(session.num_shown, length)):
        copy_into(out, at, observable[session.history_items[row]].content)
        _write_feedback(session.history_feedback[row], out, at + num_features)
        at += width
        row = row - 1 if row > 0 else length - 1
    unused = out[at:]
    for k in range(len(unused)):
        unused[k] = 0.0


@compiled
def _feedback_on(session, item):
    """Impressions, clicks, number of ratings and rating sum of an item in the session's history."""
    impressions, clicks, num_ratings, rating_sum = 0.0, 0.0, 0.0, 0.0
    is_shown = False
    for row in range(len(session.history_items)):  # without branches, so that it is vectorised
        is_shown |= session.history_items[row] == item
    if not is_shown:
        return impressions, clicks, num_ratings, rating_sum
    for row in range(len(session.history_items)):
        if session.history_items[row] == item:
            rating = np.float64(session.history_feedback[row, 3])
            impressions += 1.0
            clicks += session.history_feedback[row, 1]
            num_ratings += 1.0 if rating > 0.0 else 0.0
            rating_sum += rating
    return impressions, clicks, num_ratings, rating_sum


@compiled
def _add_feedback(known, impressions, clicks, num_ratings, rating_sum, out, at):
    """Write `STATISTICS` of background statistics [4] plus further feedback to `out`, from index `at`.

    `num_impressions` and `scaled_impressions` in scalar code: NumPy's functions of arrays may round the last digit
    otherwise. Arithmetic in float64 rounds equally without the compiler.
    """
    click_rate, mean_rating, known_ratings = np.float64(known[1]), 5.0 * np.float64(known[2]), np.float64(known[3])
    known_impressions = 2.0 ** (32.0 * np.float64(known[0])) - 1.0
    out[at] = min(math.log2(1.0 + known_impressions + impressions) / 32.0, 1.0)
    out[at + 1] = (click_rate * known_impressions + clicks) / max(known_impressions + impressions, 1.0)
    out[at + 2] = (mean_rating * known_ratings + rating_sum) / max(known_ratings + num_ratings, 1.0) / 5.0


@compiled
def _write_relevance(session, item, refresh, out, at):
    deviation = predicted_deviation(session, item, refresh)
    out[at] = min(max((mean_answer(item, refresh) + deviation) * _RATING_UNIT, -1.0), 1.0)
    out[at + 1] = min(max(deviation, -1.0), 1.0)
    out[at + 2] = min(max(evidence(session, item, refresh), 0.0), 1.0)


@compiled
def _write_relevances(session, items, out):
    """Write `RELEVANCE_COLUMNS` of each candidate."""
    width = len(RELEVANCE_COLUMNS)
    for candidate in range(len(session.candidates)):
        item, at = session.candidates[candidate], width * candidate
        if item == NO_ITEM:
            for k in range(width):
                out[at + k] = 0.0
        else:
            _write_relevance(session, items[item], refresh_of(session, items[item]), out, at)


@compiled
def _write_mask(session, out):
    for candidate in range(len(session.candidates)):
        out[candidate] = 1.0 if session.candidates[candidate] != NO_ITEM else 0.0


@compiled
def _write_candidates(session, items, observable, statistics, shared, out, mask):
    """Write the content and `CANDIDATE_COLUMNS` of each candidate."""
    num_features = len(observable[0].content)
    width, column = num_features + _NUM_COLUMNS, num_features
    now, is_live = session.start_step + session.step, len(shared) > 0
    # Bit i is set if an item in the history has an id of i modulo 64: most candidates need no search of the history.
    shown = np.int64(0)
    for row in range(len(session.history_items)):
        shown |= np.int64(1) << (session.history_items[row] & 63)
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        at = column - num_features
        if item == NO_ITEM:
            for k in range(width):
                out[at + k] = 0.0
            mask[candidate] = 0.0
            column += width
            continue
        copy_into(out, at, observable[item].content)
        age = min(now - observable[item].release_step, MAX_AGE)
        refresh = REFRESH_AT[age]
        out[column] = SCALED_AGE[age]
        out[column + 1] = statistics[refresh, item, 0]  # unrolled: a loop doubles the cost of the function
        out[column + 2] = statistics[refresh, item, 1]
        out[column + 3] = statistics[refresh, item, 2]
        out[column + 4] = 0.0
        out[column + 5] = 0.0
        _write_relevance(session, items[item], refresh, out, column + 6)
        mask[candidate] = 1.0
        if (shown >> (item & 63)) & 1:
            impressions, clicks, num_ratings, rating_sum = _feedback_on(session, item)
            out[column + 5] = min(clicks / _MAX_PLAYS, 1.0)
            if not is_live and impressions > 0.0:
                known = statistics[refresh, item]
                _add_feedback(known, impressions, clicks, num_ratings, rating_sum, out, column + 1)
        if is_live and shared[item, 0] > 0.0:
            more = shared[item]
            _add_feedback(statistics[refresh, item], more[0], more[1], more[2], more[3], out, column + 1)
        column += width


@compiled
def _prefetch(session, observable, statistics):
    """Read from each candidate's records, so that their cache misses overlap."""
    total, now = np.float32(0.0), session.start_step + session.step
    for candidate in range(len(session.candidates)):
        item = max(session.candidates[candidate], 0)  # the first in place of a missing one
        refresh = REFRESH_AT[min(max(now - observable[item].release_step, 0), MAX_AGE)]
        total += observable[item].content[-1] + statistics[refresh, item, 0]
    return total


@compiled
def _write_followed(session, observable, width, out):
    """The column `followed`, in worlds with creators."""
    at = width - _NUM_COLUMNS + _FOLLOWED
    for candidate in range(len(session.candidates)):
        item = session.candidates[candidate]
        if item != NO_ITEM:
            out[at] = session.follows[observable[item].creator]
        at += width


@kernel
def write_vectors(sessions, layout, items, parameters, out):
    """Fill `out` [N, size] float32 with the `"flat"` observations of the sessions, see `ObservationLayout`."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        session, row = sessions[n], out[n]
        mask_at = len(row) - len(session.candidates)
        candidates_at = _write_context(session, p, row, _write_user_feedback(session, row))
        _write_relevances(session, items, row[candidates_at:mask_at])
        _write_mask(session, row[mask_at:])


@kernel
def write_full_vectors(sessions, layout, items, parameters, observable, statistics, shared, profiles, out):
    """Fill `out` [N, size] float32 with the parts of the `"full"` observations, concatenated.

    `observable` are `observable_records` [I], `statistics` [A, I, 4]; `shared` is the feedback [I, 4] of a live
    platform, or [0, 4]. A kernel of its own: few need both, and each is compiled when it is first called.
    """
    sessions, items, observable = SESSION(sessions, layout), ITEM(items, layout), OBSERVABLE_ITEM(observable, layout)
    width, p = len(observable[0].content) + _NUM_COLUMNS, PARAMETERS(parameters, layout)[0]
    total = np.float32(0.0)  # returned so that the compiler keeps the reads
    for n in range(len(sessions)):
        session, row = sessions[n], out[n]
        mask_at = len(row) - len(session.candidates)
        if len(observable) > _LARGE:
            total += _prefetch(session, observable, statistics)
        history_at = _write_context(session, p, row, _write_profile(session, profiles, row))
        candidates_at = mask_at - len(session.candidates) * width
        candidates = row[candidates_at:mask_at]
        _write_history(session, observable, row[history_at:candidates_at])
        _write_candidates(session, items, observable, statistics, shared, candidates, row[mask_at:])
        if len(session.follows) > 1:
            _write_followed(session, observable, width, candidates)
    return total


@kernel
def write_compact(
    sessions, layout, items, parameters, profiles, user, history_items, feedback, candidates, relevances, time
):
    """Fill the arrays of the compact observations; shapes as in `ObservationLayout.space("compact")`, with N first."""
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        session = sessions[n]
        _write_context(session, p, user[n], _write_profile(session, profiles, user[n]))
        length = len(session.history_items)
        num_rows = min(session.num_shown, length)
        row = (session.num_shown - 1) % length
        for back in range(num_rows):
            history_items[n, back] = session.history_items[row]
            _write_feedback(session.history_feedback[row], feedback[n], _NUM_FEEDBACK * back)
            row = row - 1 if row > 0 else length - 1
        history_items[n, num_rows:] = NO_ITEM
        feedback[n, _NUM_FEEDBACK * num_rows :] = 0.0
        copy_into(candidates[n], 0, session.candidates)
        _write_relevances(session, items, relevances[n])
        time[n, 0] = session.start_step + session.step
