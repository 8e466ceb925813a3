"""What a network has read of the sessions that are being played, with the keys and values of its backbone.

Every item shown is read once, so that a step costs only its new tokens.

Shape legend: N sessions, n those of a call, H rows of an observed history, R rows of a session, k new ones, T columns
of a row, S slots, M candidates, J features of a candidate that change over time, U user features, E width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from agents.large_model.compact_observations import check_history
from agents.large_model.model import ROW_COLUMNS, LargeModelNetwork, Scores
from agents.large_model.score_sources import source_effects
from agents.networks.item_content import DYNAMICS, ITEM_STATE, ItemContent
from agents.networks.schema import Schema, UserColumns
from recsim_env.config import SessionConfig
from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS

_NUM_FEEDBACK = len(FEEDBACK)
_CLICK = ROW_COLUMNS.index("click")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A batch of compact observations as tensors on the network's device."""

    users: torch.Tensor
    """[n, U] float32, in the schema's columns."""
    items: torch.Tensor
    """[n, H] int64: rows of the history, oldest first, padded with -1."""
    feedback: torch.Tensor
    """[n, H, 7] float32."""
    num_rows: torch.Tensor
    """[n] int64."""
    candidates: torch.Tensor
    """[n, M] int64, -1 where missing."""
    relevance: torch.Tensor
    """[n, M, 3] float32: `observation.RELEVANCE_COLUMNS` of the candidates."""
    times: torch.Tensor
    """[n] int64: the platform's."""
    elapsed: torch.Tensor
    """[n] float32: share of the session that is over."""

    def without_history(self) -> "Observation":
        """The same before anything was shown."""
        return replace(
            self,
            items=torch.full_like(self.items, -1),
            feedback=torch.zeros_like(self.feedback),
            num_rows=torch.zeros_like(self.num_rows),
        )

    def select(self, index: torch.Tensor) -> "Observation":
        """Of some of the sessions."""
        return Observation(**{name: part[index] for name, part in vars(self).items()})

    @classmethod
    def of(
        cls,
        parts: Mapping[str, torch.Tensor],
        setting: torch.Tensor,
        user_columns: torch.Tensor,
        elapsed_column: torch.Tensor,
    ) -> "Observation":
        """From the parts of a batch of compact observations, and the world's `UserColumns`."""
        user, newest_first = parts["user"], parts["history_items"].long()
        num_rows = (newest_first >= 0).sum(1)
        length = newest_first.shape[1]
        order = num_rows[:, None] - 1 - torch.arange(length, device=user.device)  # [n, H], negative: padding
        index, is_row = order.clamp(min=0), order >= 0
        feedback = parts["history_feedback"].unflatten(1, (length, _NUM_FEEDBACK))
        constant = setting.expand(user.shape[0], -1)
        users = torch.cat([user, constant, torch.zeros_like(user[:, :1])], 1)  # a last column for missing features
        return cls(
            users=users[:, user_columns],
            items=newest_first.gather(1, index).where(is_row, -1),
            feedback=feedback.gather(1, index[:, :, None].expand(-1, -1, _NUM_FEEDBACK)) * is_row[:, :, None],
            num_rows=num_rows,
            candidates=parts["candidate_items"].long(),
            relevance=parts["candidate_relevance"].unflatten(1, (-1, len(RELEVANCE_COLUMNS))),
            times=parts["time"][:, 0],
            elapsed=user.index_select(1, elapsed_column)[:, 0],
        )


class ObservationReader:
    """Turns compact observations of the simulator's env into `Observation`s for a network with that schema."""

    def __init__(self, simulator: Any, schema: Schema, device: torch.device) -> None:
        self.device = device
        self._columns = [torch.tensor(part, device=device) for part in UserColumns.of(simulator, schema)]

    def __call__(self, observations: dict[str, np.ndarray]) -> Observation:
        parts = {name: torch.as_tensor(part).to(self.device) for name, part in observations.items()}
        return Observation.of(parts, *self._columns)


class SessionState:
    """What a network has read of N sessions in the catalogue of `content`, whose `tables` are `network.item_tables`.

    Slates have `num_slots` items, and sessions `max_steps` steps: numbers, or [] int64 in graphs that are exported.
    There is room for `num_rows` rows of each session.
    """

    def __init__(
        self,
        network: LargeModelNetwork,
        content: ItemContent,
        tables: tuple[torch.Tensor, torch.Tensor],
        *,
        num_slots: Any,
        max_steps: Any,
        num_sessions: int,
        num_rows: int,
        num_candidates: int,
    ) -> None:
        self.network, self.content = network, content
        self.num_slots, self.max_steps = num_slots, max_steps
        self._as_rows, self._as_candidates = tables
        device, dtype = self._as_rows.device, self._as_rows.dtype
        self.cache: Any = network.backbone.make_cache(num_sessions, 1 + num_rows, device, dtype)
        self.items = torch.full((num_sessions, num_rows), -1, dtype=torch.int64, device=device)
        self.feedback = torch.zeros(num_sessions, num_rows, len(ROW_COLUMNS), device=device)
        self.num_rows = torch.zeros(num_sessions, dtype=torch.int64, device=device)
        self.states = torch.zeros(num_sessions, network.config.width, device=device, dtype=dtype)
        num_channels = network.config.memory_channels
        self.memories = torch.zeros(num_sessions, content.directions.shape[1], num_channels, device=device)
        self.elapsed = torch.zeros(num_sessions, device=device)
        self.candidates = torch.full((num_sessions, num_candidates), -1, dtype=torch.int64, device=device)
        self.relations = torch.zeros(num_sessions, num_candidates, len(DYNAMICS) - len(ITEM_STATE), device=device)

    @classmethod
    def of(
        cls,
        network: LargeModelNetwork,
        config: SessionConfig,
        content: ItemContent,
        num_sessions: int,
        history_length: int,
    ) -> "SessionState":
        """Sessions with the sizes of `config`, of which nothing has been read."""
        return cls(
            network,
            content,
            network.item_tables(content),
            num_slots=config.slate_size,
            max_steps=config.session_length,
            num_sessions=num_sessions,
            num_rows=history_length + config.session_length * config.slate_size,
            num_candidates=config.num_candidates,
        )

    def start(self, observation: Observation, index: torch.Tensor | None = None) -> None:
        """Read sessions from one observation each, of all of them or of those at `index` [n]: profile and history.

        A session that is not at its start is read as if it had been followed, as far as its observed history goes.
        """
        lanes = slice(None) if index is None else index
        for part in (self.cache.lengths, self.feedback, self.num_rows, self.memories):
            part[lanes] = 0
        self.items[lanes], self.candidates[lanes] = -1, -1
        num_read = _largest(observation.num_rows, observation.items.shape[1])
        after = torch.arange(num_read, device=self.items.device)
        later = observation.num_rows[:, None] - 1 - after  # rows after each row
        steps_taken = torch.round(observation.elapsed * self.max_steps)
        steps = steps_taken[:, None] - 1 - later.div(self.num_slots, rounding_mode="floor")  # in which rows were shown
        domain = torch.zeros_like(observation.num_rows) + self.content.domain
        profile = self.network.profile_tokens(observation.users, domain)[:, None]  # [n, 1, E]
        rows = observation.items[:, :num_read], observation.feedback[:, :num_read]
        self._read(observation, *rows, steps, observation.num_rows, index, profile)

    def update(
        self, observation: Observation, num_shown: torch.Tensor, index: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Read the feedback to the last step, `num_shown` [n] rows of at most S, in all sessions or those at `index`.

        Returns [n, S] bool: the slot that was clicked, if any.
        """
        slots = torch.arange(self.num_slots, device=self.items.device)
        is_row = slots < num_shown[:, None]  # [n, S]
        rows = (observation.num_rows[:, None] - num_shown[:, None] + slots).clamp(0, observation.items.shape[1] - 1)
        items = observation.items.gather(1, rows).where(is_row, -1)
        feedback = observation.feedback.gather(1, rows[:, :, None].expand(-1, -1, _NUM_FEEDBACK)) * is_row[:, :, None]
        elapsed = self.elapsed if index is None else self.elapsed[index]
        steps = torch.round(elapsed * self.max_steps)[:, None].expand(-1, self.num_slots)
        return self._read(observation, items, feedback, steps, num_shown, index)[:, :, _CLICK] > 0

    def dynamics(self, observation: Observation) -> torch.Tensor:
        """[N, M, J]: `item_content.DYNAMICS` of the candidates of all sessions."""
        end = _largest(self.num_rows, self.items.shape[1])
        rows, feedback = self.items[:, :end], self.feedback[:, :end]
        self.candidates = observation.candidates
        dynamics = self.content.dynamics(
            observation.candidates, observation.relevance, observation.times, rows, feedback
        )
        self.relations = dynamics[:, :, len(ITEM_STATE) :]
        return dynamics

    def candidate_items(self, observation: Observation) -> torch.Tensor:
        """[N, M, C]: the content of the candidates of all sessions, with what it reads of the memories."""
        candidates = observation.candidates.clamp(min=0)
        items = self._as_candidates[candidates]
        if self.network.memory is not None:
            items = items + self.network.memory.read(self.memories, self.content.directions[candidates], self.states)
        return items

    def scores(
        self, observation: Observation, dynamics: torch.Tensor | None = None, items: torch.Tensor | None = None
    ) -> Scores:
        """Scores of the candidates of all sessions, with their `dynamics` and `candidate_items`, if known already."""
        items = self.candidate_items(observation) if items is None else items
        dynamics = self.dynamics(observation) if dynamics is None else dynamics
        return self.network.score(self.states, observation.users, items, dynamics, observation.candidates >= 0)

    def select(self, index: torch.Tensor) -> None:
        """Keep only these sessions."""
        self.cache.select(index)
        for name in ("items", "feedback", "num_rows", "states", "memories", "elapsed", "candidates", "relations"):
            setattr(self, name, getattr(self, name)[index])

    def _read(
        self,
        observation: Observation,
        items: torch.Tensor,
        feedback: torch.Tensor,
        steps: torch.Tensor,
        num_new: torch.Tensor,
        index: torch.Tensor | None,
        profile: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Read the first `num_new` [n] of the rows with items [n, k] and feedback [n, k, 7], shown in steps [n, k]; and
        before them the profile's token [n, 1, E], if given. Returns their `ROW_COLUMNS` [n, k, T]."""
        lanes = torch.arange(self.num_rows.shape[0], device=self.items.device) if index is None else index
        feedback = self._row_columns(items, feedback, steps, observation, lanes)
        places = self.num_rows[lanes][:, None] + torch.arange(items.shape[1], device=lanes.device)
        places = places.clamp(max=self.items.shape[1] - 1)
        self.items[lanes[:, None], places] = items
        self.feedback[lanes[:, None], places] = feedback
        tokens, num_tokens = self.network.row_tokens(self._as_rows[items.clamp(min=0)], feedback), num_new
        if profile is not None:
            tokens, num_tokens = torch.cat([profile, tokens], 1), 1 + num_new
        states = self.network.backbone.decode(tokens, num_tokens, self.cache, index)
        last = states[torch.arange(lanes.shape[0], device=lanes.device), num_tokens - 1]  # [n, E]
        last = last.to(self.states.dtype)  # autocast may have changed the precision
        self.states[lanes] = last.where(num_tokens[:, None] > 0, self.states[lanes])
        if self.network.memory is not None:
            of_rows = states[:, 1:] if profile is not None else states
            directions = self.content.directions[items.clamp(min=0)]
            self.memories[lanes] = self.network.memory.after_rows(self.memories[lanes], of_rows, directions, num_new)
        self.num_rows[lanes] += num_new
        self.elapsed[lanes] = observation.elapsed
        return feedback

    def _row_columns(
        self,
        items: torch.Tensor,
        feedback: torch.Tensor,
        steps: torch.Tensor,
        observation: Observation,
        lanes: torch.Tensor,
    ) -> torch.Tensor:
        """[n, k, T]: `ROW_COLUMNS` of rows with items [n, k] and feedback [n, k, 7] in the sessions `lanes` [n], shown
        in steps [n, k] of the session, or before it if negative."""
        shown_at = steps.clamp(min=0.0)
        starts = observation.times - torch.round(observation.elapsed * self.max_steps).long()
        is_item = (items >= 0)[:, :, None]
        item_state = self.content.item_state(items.clamp(min=0), starts[:, None] + shown_at.long())
        when = torch.stack([shown_at / self.max_steps, (steps < 0.0).to(feedback.dtype)], 2)
        is_same = is_item & (items[:, :, None] == self.candidates[lanes][:, None])  # [n, k, M]
        place, was_candidate = is_same.int().argmax(2), is_same.any(2, keepdim=True)
        relation = self.relations[lanes]  # as of the step before
        relation = relation.gather(1, place[:, :, None].expand(-1, -1, relation.shape[2])) * was_candidate
        return torch.cat([feedback, when, item_state * is_item, relation], 2)


def _largest(numbers: torch.Tensor, limit: int) -> int:
    """The largest of some numbers of rows; in a graph, whose sizes must not depend on values, the limit."""
    return limit if torch.compiler.is_exporting() else int(numbers.max())


class PolicyRunner:
    """Scores the candidates of N sessions step by step; a session may end, and the next one start, at any step.

    `content` is `network.content_of` the simulator's env. Without `reads_history` the profile and the candidates alone
    are read. Histories have up to `history_length` rows, by default as many as the env's.
    """

    def __init__(
        self,
        network: LargeModelNetwork,
        simulator: Any,
        content: ItemContent,
        num_sessions: int,
        reads_history: bool = True,
        history_length: int | None = None,
    ) -> None:
        check_history(simulator)
        config = simulator.config
        self.num_sessions, self.reads_history, self.num_slots = num_sessions, reads_history, config.slate_size
        self._read = ObservationReader(simulator, network.schema, network.device)
        with torch.no_grad():
            history_length = config.history_length if history_length is None else history_length
            self._state = SessionState.of(network, config, content, num_sessions, history_length)
        self._num_shown = torch.zeros(num_sessions, dtype=torch.int64, device=network.device)
        self._last: tuple[dict[str, np.ndarray], Scores] | None = None

    @torch.no_grad()
    def scores(self, observations: dict[str, np.ndarray], episode_start: np.ndarray) -> Scores:
        """Scores of the candidates [N, M]; `episode_start` [N] marks the sessions that have just begun.

        Observations that have just been read are not read again, so that probabilities can be asked for before or after
        an action.
        """
        if self._last and all(np.array_equal(part, self._last[0][name]) for name, part in observations.items()):
            return self._last[1]
        observation, starts = self._read(observations), torch.as_tensor(episode_start).to(self._num_shown.device)
        if not self.reads_history:
            observation, starts = observation.without_history(), torch.ones_like(starts)
        if starts.all():
            self._state.start(observation)
        elif not starts.any():
            self._state.update(observation, self._num_shown)
        else:
            new, old = starts.nonzero()[:, 0], (~starts).nonzero()[:, 0]
            self._state.start(observation.select(new), new)
            self._state.update(observation.select(old), self._num_shown[old], old)
        self._num_shown = (observation.candidates >= 0).sum(1).clamp(max=self.num_slots)
        scores = self._state.scores(observation)
        self._last = {name: part.copy() for name, part in observations.items()}, scores
        return scores

    def source_effects(self, observations: dict[str, np.ndarray], candidate: int) -> dict[str, float]:
        """`score_sources.source_effects` on a candidate of one session, read from one observation."""
        self.scores(observations, np.ones(self.num_sessions, np.bool_))
        observation = self._read(observations)
        observation = observation if self.reads_history else observation.without_history()
        return source_effects(self._state, observation, candidate)
