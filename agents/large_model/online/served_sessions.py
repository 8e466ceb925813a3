"""Sessions of people at a server, as the large model learns from them.

A part of a session is what the model reads without a restart (`serving.sessions.History`). Each feedback is a step
of its part, in the order in which it was received. A part ends early, and the rest of its session is left out, where a
person answered a recommendation after others that were made later: what the model knew then differs.

Shape legend: B parts, T steps of the longest, S slots of the longest slate, M candidates, R rows, A steps of one part.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.large_model.compact_observations import stack_observations, stacked
from agents.large_model.model import LargeModelNetwork
from agents.large_model.rollout import Recorder, Sessions
from agents.large_model.serving.agents import LARGE_MODEL
from agents.large_model.serving.database_file import (
    ANSWER_COLUMNS,
    Answers,
    StoredSession,
    read_session,
    reading,
    unpacked,
)
from agents.large_model.serving.observations import ObservationBuilder
from agents.large_model.serving.served_log import slate_reward_terms, slate_rewards
from agents.large_model.serving.sessions import History
from agents.large_model.session_state import ObservationReader, SessionState
from agents.networks.item_content import ItemContent
from agents.networks.plackett_luce import slate_log_probabilities
from recsim_env.simulation.observation import RELEVANCE_COLUMNS

_ANY = 1 << 62  # steps or rows, without a limit
_COMMIT_SECONDS = 10.0  # after which feedback has been committed: it is dated before that


class ServedStep(NamedTuple):
    """A recommendation, and the feedback to it."""

    packed_candidates: bytes
    """As in the database: there may be thousands in each of many steps."""
    places: np.ndarray
    """[S] int64: places of the slate among the candidates, top slot first."""
    log_propensity: float
    answers: Answers

    @property
    def candidates(self) -> np.ndarray:
        """[M] int64: items."""
        return unpacked(self.packed_candidates)


@dataclass(frozen=True, kw_only=True)
class ServedPart:
    """A part of a session, with at least one step."""

    person: str
    profile: Mapping[str, float]
    earlier: Sequence[Answers]
    """Feedback before the part, the oldest first."""
    steps: Sequence[ServedStep]
    ended: float
    """When the last feedback was received, in seconds since 1970."""


def read_selection(database: Path) -> str | None:
    """The `ServingConfig.selection` of the large model's newest recommendation; None if there is none.

    Raises:
        ValueError: it is not a database of this version; one line.
    """
    query = "SELECT selection FROM recommendations WHERE agent = ? ORDER BY key DESC LIMIT 1"
    with reading(database) as db:
        found = db.execute(query, (LARGE_MODEL,)).fetchone()
        return None if found is None else found[0]


_STEPS = """
SELECT r.num_feedbacks, r.candidates, r.places, r.log_propensity, received
FROM feedback JOIN recommendations AS r ON recommendation = r.key WHERE r.session = ? ORDER BY feedback.number
"""
_SESSIONS = """
SELECT DISTINCT r.session FROM feedback JOIN recommendations AS r ON recommendation = r.key
WHERE received > ? AND received <= ? ORDER BY r.session
"""


def read_parts(
    database: Path, new_history: Callable[[], History], *, since: float, until: float, idle: float
) -> list[ServedPart]:
    """The parts of sessions that were completed at a time in (since, until], in the order of completion.

    A part is complete when no feedback has come for `idle` seconds; or soon after the last one, if it has as many steps
    as it can. A part that continues later is completed again, with all of its steps. A server may be using the
    database. `new_history` makes an empty `History`.
    """
    found: list[ServedPart] = []
    with reading(database) as db:
        for (number,) in db.execute(_SESSIONS, (since - idle, until)).fetchall():
            stored, rows = read_session(db, number), db.execute(_STEPS, (number,)).fetchall()
            for part, is_full in _parts(stored, rows, new_history()):
                completed = part.ended + (min(idle, _COMMIT_SECONDS) if is_full else idle)
                if since < completed <= until:
                    found.append(part)
    return sorted(found, key=lambda part: part.ended)


def _parts(stored: StoredSession, rows: Sequence[tuple], history: History) -> Iterator[tuple[ServedPart, bool]]:
    """The parts of one session, and whether each has as many steps as it can."""
    history.add_earlier(stored.earlier)
    earlier, steps = list(stored.earlier), list[ServedStep]()
    ended = 0.0

    def part() -> ServedPart:
        person, profile = stored.person, stored.profile
        return ServedPart(person=person, profile=profile, earlier=tuple(earlier), steps=tuple(steps), ended=ended)

    for number, (answers, row) in enumerate(zip(stored.own, rows, strict=True)):
        num_feedbacks, candidates, places, log_propensity, received = row
        if num_feedbacks != number:
            break
        place = np.frombuffer(places, "<i4").astype(np.int64)
        steps.append(ServedStep(candidates, place, log_propensity, answers))
        ended, first_step = received, history.first_step
        history.add(answers)
        if history.first_step != first_step:
            yield part(), True
            earlier += [step.answers for step in steps]
            steps = []
    if steps:
        yield part(), False


class ServedSessions:
    """Makes `Sessions` of the parts of sessions in one catalogue.

    Args:
        simulator: of the catalogue.
        about: its description (`read_about`).
    """

    def __init__(self, simulator: Any, about: Mapping[str, Any]) -> None:
        self._simulator, self._about = simulator, about
        self._observations = ObservationBuilder(simulator)

    def new_history(self, max_tokens: int) -> History:
        """An empty history, as a model with `max_tokens` reads it."""
        return History.of(self._simulator.config, max_tokens)

    def observations(self, part: ServedPart) -> list[dict[str, np.ndarray]]:
        """Before each of the A steps of a part, and after the last, as the server's model read them."""
        config, user = self._simulator.config, self._observations.user_features(part.profile)
        history = History(config.history_length, session_length=_ANY, max_rows=_ANY, largest_slate=0)  # one part
        history.add_earlier(part.earlier)
        found: list[dict[str, np.ndarray]] = []
        for step in (*part.steps, part.steps[-1]):
            is_last = len(found) == len(part.steps)
            rows = history.items, history.feedback, history.times
            now = step.answers.time + is_last
            observation = self._observations.observation(
                user=user,
                elapsed=len(found) / config.session_length,
                items=history.items,
                feedback=history.feedback,
                relevance=self._observations.relevance(*rows, step.candidates, now),
                candidates=step.candidates,
                now=now,
            )
            found.append(observation)
            if not is_last:
                history.add(step.answers)
        return found

    @torch.no_grad()
    def sessions(
        self, parts: Sequence[ServedPart], network: LargeModelNetwork, content: ItemContent
    ) -> tuple[Sessions, torch.Tensor]:
        """The parts as sessions, and the log-propensities [B, T] of their slates; in the order of `parts`.

        Log-probabilities and values are those of the network, whose `content` is given.
        """
        order = sorted(range(len(parts)), key=lambda n: -len(parts[n].steps))  # those that end first come last
        observations = [self.observations(parts[n]) for n in order]
        lengths = torch.tensor([len(parts[n].steps) for n in order])
        num_slots = max(len(step.places) for part in parts for step in part.steps)
        num_candidates = 1 + max(len(step.candidates) for part in parts for step in part.steps)  # and one empty place
        state = SessionState(
            network,
            content,
            network.item_tables(content),
            num_slots=num_slots,
            max_steps=self._simulator.config.session_length,
            num_sessions=len(parts),
            num_rows=max(each[-2]["history_items"].shape[1] for each in observations) + num_slots,  # padded slates
            num_candidates=num_candidates,
        )
        read = ObservationReader(self._simulator, network.schema, network.device)
        recorder = Recorder(len(parts), int(lengths.max()), network.device)
        recorder.lengths = lengths
        propensities = torch.zeros(len(parts), int(lengths.max()))
        observation = read(_batch([each[0] for each in observations], num_candidates))
        state.start(observation)
        for t in range(int(lengths.max())):
            num_active = int((lengths > t).sum())
            lanes = torch.arange(num_active)
            steps = [parts[n].steps[t] for n in order[:num_active]]
            scores = state.scores(observation, dynamics := state.dynamics(observation))
            places = stacked([step.places for step in steps], num_candidates - 1, [num_slots])
            slates = torch.as_tensor(places, device=network.device)
            num_shown = torch.tensor([len(step.places) for step in steps], device=network.device)
            num_rows = state.num_rows.clone()
            after = read(_batch([each[t + 1] for each in observations[:num_active]], num_candidates))
            clicked = state.update(after, num_shown)
            recorder.add(
                lanes,
                users=observation.users,
                num_rows=num_rows,
                candidates=observation.candidates,
                dynamics=dynamics,
                slates=slates,
                log_probabilities=slate_log_probabilities(scores.logits, slates),
                values=network.value_head.mean(scores.values),
                rewards=torch.as_tensor(self._rewards(steps), dtype=torch.float32),
                clicked=clicked,
            )
            propensities[lanes, t] = torch.tensor([step.log_propensity for step in steps])
            if num_active > (num_left := int((lengths > t + 1).sum())):
                recorder.add_rows(lanes, state)
                left = torch.arange(num_left, device=network.device)
                state.select(left)
                after = after.select(left)
            observation = after
        back = torch.argsort(torch.tensor(order)).to(network.device)
        return recorder.sessions().select(back), propensities.to(network.device)[back]

    def _rewards(self, steps: Sequence[ServedStep]) -> np.ndarray:
        """[n]: the reward of each slate, without the scale of rewards in envs."""
        values = stacked([step.answers.values for step in steps])  # [n, S, 5]
        terms = slate_reward_terms(
            dict(zip(ANSWER_COLUMNS, np.moveaxis(values, 2, 0), strict=True)),
            np.array([len(step.places) for step in steps]),
        )
        return slate_rewards(terms, self._about) / self._about["reward_scale"]


def _batch(observations: Sequence[dict[str, np.ndarray]], num_candidates: int) -> dict[str, np.ndarray]:
    """One batch with that number of places for candidates."""
    batch = stack_observations(observations)
    missing = num_candidates - batch["candidate_items"].shape[1]
    batch["candidate_items"] = np.pad(batch["candidate_items"], ((0, 0), (0, missing)), constant_values=-1)
    columns = missing * len(RELEVANCE_COLUMNS)
    batch["candidate_relevance"] = np.pad(batch["candidate_relevance"], ((0, 0), (0, columns)))
    return batch
