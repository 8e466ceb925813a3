"""Sessions of real people: the candidates are items that they rated, and their answers the ratings that they gave.

Everything else of the user model is absent: every item shown is rated, nobody changes or leaves. Observations, the
platform's ranking and the reward are those of simulated sessions.

Shape legend: N sessions, S slots of a slate, M candidates, U people, R ratings.
"""

from dataclasses import dataclass
from typing import Any, Never

import numpy as np

from recsim_env.config import SessionConfig
from recsim_env.simulation.availability import find_available_items, was_consumed
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.random_streams import Purpose, combine, integer_in, stream, uniform_in
from recsim_env.simulation.records import ITEM, NO_ITEM, OUTCOME, PARAMETERS, SESSION, USER
from recsim_env.simulation.relevance import arrange_candidates
from recsim_env.simulation.session import (
    begin_response,
    begin_session,
    end_step,
    record_response,
    write_history,
    write_no_outcome,
)
from recsim_env.simulation.simulator import Simulator
from recsim_env.simulation.user_model import is_shown


@dataclass(frozen=True, kw_only=True, eq=False)
class RealRatings:
    """Ratings of U people, person after person; those of person u are [starts[u], starts[u + 1])."""

    starts: np.ndarray
    """[U + 1] int64, ascending from 0 to R."""
    items: np.ndarray
    """[R] int32: indices of items, ascending within a person."""
    ratings: np.ndarray
    """[R] float64: levels of the rating scale, above 0 and up to 5."""


class ReplaySimulator(Simulator):
    """N sessions, each of a person who rates the items shown as he or she rated them in the log.

    A session ends (`truncated`) after `session_length` steps, or when the person has no rated item left.

    The arguments are those of `Simulator`; the ratings are those of the world (`World.real_ratings`), and neither a
    live platform nor another source of candidates than `"random"` is accepted.
    """

    def __init__(
        self, world: Any, config: SessionConfig, num_sessions: int, *, is_live: bool = False, **settings: Any
    ) -> None:
        if is_live:
            raise ValueError("live_platform=True: must be False in Replay, whose item statistics are those of a log")
        if config.candidates != "random":
            raise ValueError(
                f"candidates={config.candidates!r}: must be 'random' in Replay: items that the person rated"
            )
        super().__init__(world, config, num_sessions, **settings)
        real = world.real_ratings
        self._ratings = real.starts, real.items, real.ratings
        self._advance = self._replay

    def _replay(self, *arguments: np.ndarray) -> Any:
        return _advance(*arguments, *self._ratings)

    def _write_expected_rewards(self, sessions: np.ndarray, out: np.ndarray) -> None:
        _write_real_rewards(sessions, self._model[2], self._record_layout, *self._ratings, out)

    def compiled_model(self) -> Never:
        """`ValueError`: there is no user model to plan with."""
        raise ValueError("Replay: has no user model, which planners and Bayes filters need; real people answer")


@kernel
def _advance(sessions, items, parameters, layout, users, starting, slates, outcomes, starts, rated, ratings):
    """Start the sessions at the indices `starting`, and step all sessions if there are slates."""
    sessions, items, users = SESSION(sessions, layout), ITEM(items, layout), USER(users, layout)
    outcomes, p = OUTCOME(outcomes, layout), PARAMETERS(parameters, layout)[0]
    for n in starting:
        session = sessions[n]
        begin_session(session, users, p)
        find_available_items(session, items, p)
        first, end = starts[session.user], starts[session.user + 1]
        draw_rated_items(session, rated[first:end], p)
        arrange_candidates(session, items, p)
    if len(slates) == 0:
        return
    for n in range(len(sessions)):
        session = sessions[n]
        first, end = starts[session.user], starts[session.user + 1]
        step_replayed_session(session, items, slates[n], outcomes[n], rated[first:end], ratings[first:end], p)


@compiled
def draw_rated_items(session, rated, p):
    """Draw min(M, n) candidates in random order from the n items of `rated` that have not been shown; returns n.

    Selection sampling (Knuth, "The Art of Computer Programming", volume 2, algorithm 3.4.2 S); each item drawn takes a
    random position among those drawn so far.
    """
    candidates = session.candidates
    draws = stream(session.world_key, session.step, Purpose.CANDIDATES)
    positions = combine(draws, 1)
    num_left = 0
    for k in range(len(rated)):
        num_left += 0 if was_consumed(session, rated[k], p) else 1
    num_needed, num_drawn, num_passed = min(len(candidates), num_left), 0, 0
    for k in range(len(rated)):
        if num_drawn == num_needed:
            break
        if was_consumed(session, rated[k], p):
            continue
        if uniform_in(draws, k) * (num_left - num_passed) < num_needed - num_drawn:
            position = integer_in(positions, k, num_drawn + 1)
            candidates[num_drawn] = candidates[position]
            candidates[position] = rated[k]
            num_drawn += 1
        num_passed += 1
    for m in range(num_drawn, len(candidates)):
        candidates[m] = NO_ITEM
    return num_left


@compiled
def step_replayed_session(session, items, slate, outcome, rated, ratings, p):
    """Show `slate` [S] to the person with the items `rated`, ascending, and their `ratings`."""
    if session.is_over:
        write_no_outcome(outcome)
        return
    slate_size = len(slate)
    begin_response(session, slate_size, outcome)
    for slot in range(slate_size):
        if is_shown(session, slate, slot):
            item = items[session.candidates[slate[slot]]]
            rating = ratings[place_of(rated, item.index)]
            record_response(session, item, slot, slate_size, 0.0, rating, 1.0, 0.0, 0.0, outcome, p)
    write_history(session, items, slate, slate_size - 1, p)
    end_step(session, outcome, p)
    if draw_rated_items(session, rated, p) == 0:
        session.is_over, outcome.truncated = True, True
    arrange_candidates(session, items, p)


@compiled
def place_of(rated, item):
    """Index of an item in the ascending `rated`, which contains it."""
    low, high = 0, len(rated) - 1
    while low < high:
        middle = (low + high) // 2
        if rated[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _write_real_rewards(sessions, parameters, layout, starts, rated, ratings, out):
    """Fill `out` [N, M] with the reward of showing each candidate alone; 0 for a missing one."""
    sessions, p = SESSION(sessions, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        session = sessions[n]
        first, end = starts[session.user], starts[session.user + 1]
        for m in range(len(session.candidates)):
            item = session.candidates[m]
            if item == NO_ITEM:
                out[n, m] = 0.0
            else:
                rating = ratings[first + place_of(rated[first:end], item)]
                value = p.reward_rating * (rating - p.reward_neutral_rating)
                out[n, m] = value + p.reward_click + p.reward_consumption + p.reward_retention
