"""Follows sessions as they go on: compact observations in, states and what is known of candidates out.

Every item shown is read once. What was read stays in the trunk's cache, so a step costs the tokens of that step.

Shape legend: N sessions (lanes of an env), n sessions that are read, H rows that an observation remembers, R rows kept
of a session, S slots, M candidates, U numbers of a user, E width.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from agents.large_model.model import ROW_COLUMNS, LargeModel, Scores
from agents.networks.item_content import ItemContent
from agents.networks.schema import Schema, columns, user_names
from recsim_env.simulation.observation import CONTEXT, FEEDBACK

_NUM_FEEDBACK = len(FEEDBACK)
CLICK = ROW_COLUMNS.index("click")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A batch of compact observations as tensors on the model's device."""

    users: torch.Tensor
    """[n, U] float32, in the schema's columns."""
    items: torch.Tensor
    """[n, H] int64: rows of the history, oldest first; missing ones, -1, at the end."""
    answers: torch.Tensor
    """[n, H, 7] float32: their feedback."""
    num_rows: torch.Tensor
    """[n] int64."""
    candidates: torch.Tensor
    """[n, M] int64, -1 where missing."""
    times: torch.Tensor
    """[n] int64: the platform's."""
    elapsed: torch.Tensor
    """[n] float32: share of the session that is over."""

    def without_history(self) -> "Reading":
        """As if nothing had been shown yet."""
        return replace(
            self,
            items=torch.full_like(self.items, -1),
            answers=torch.zeros_like(self.answers),
            num_rows=torch.zeros_like(self.num_rows),
        )

    def some(self, which: torch.Tensor) -> "Reading":
        """Of some of the sessions."""
        return Reading(**{name: part[which] for name, part in vars(self).items()})


class ObservationReader:
    """Turns an env's compact observations into `Reading`s.

    Args:
        simulator: of the env.
        schema: of the model.
        device: where tensors go.
    """

    def __init__(self, simulator: Any, schema: Schema, device: torch.device) -> None:
        names = user_names(simulator)
        self.device = device
        self._columns = torch.tensor(columns(names, schema.user_names), device=device)
        self._elapsed = names.index(CONTEXT[0])

    def __call__(self, observations: dict[str, np.ndarray]) -> Reading:
        tensors = {name: torch.as_tensor(part).to(self.device) for name, part in observations.items()}
        user, newest_first = tensors["user"], tensors["history_items"].long()
        num_rows = (newest_first >= 0).sum(1)
        length = newest_first.shape[1]
        order = num_rows[:, None] - 1 - torch.arange(length, device=self.device)  # [n, H], negative: no such row
        back = order.clamp(min=0)
        feedback = tensors["history_feedback"].unflatten(1, (length, _NUM_FEEDBACK))
        is_there = order >= 0
        padded = torch.nn.functional.pad(user, (0, 1))  # the last column is what -1 takes
        return Reading(
            users=padded[:, self._columns],
            items=newest_first.gather(1, back).where(is_there, -1),
            answers=feedback.gather(1, back[:, :, None].expand(-1, -1, _NUM_FEEDBACK)) * is_there[:, :, None],
            num_rows=num_rows,
            candidates=tensors["candidate_items"].long(),
            times=tensors["time"][:, 0],
            elapsed=user[:, self._elapsed],
        )


class SessionReader:
    """The memory of a model that follows N sessions.

    Args:
        model: what reads.
        content: the catalogue's.
        tables: `LargeModel.item_tables` of the whole catalogue.
        num_sessions: N.
        num_slots: S.
        max_steps: most steps of a session.
        history_length: H.
    """

    def __init__(
        self,
        model: LargeModel,
        content: ItemContent,
        tables: tuple[torch.Tensor, torch.Tensor],
        *,
        num_sessions: int,
        num_slots: int,
        max_steps: int,
        history_length: int,
    ) -> None:
        self.model, self.content, self.num_slots, self.max_steps = model, content, num_slots, max_steps
        self._as_rows, self._as_candidates = tables
        device = self._as_rows.device
        num_rows = history_length + max_steps * num_slots
        self.cache = model.trunk.make_cache(num_sessions, 1 + num_rows, device, self._as_rows.dtype)
        self.items = torch.full((num_sessions, num_rows), -1, dtype=torch.int64, device=device)
        self.answers = torch.zeros(num_sessions, num_rows, len(ROW_COLUMNS), device=device)
        self.num_rows = torch.zeros(num_sessions, dtype=torch.int64, device=device)
        self.states = torch.zeros(num_sessions, model.sizes.width, device=device, dtype=self._as_rows.dtype)
        self._elapsed = torch.zeros(num_sessions, device=device)

    def begin(self, reading: Reading, which: torch.Tensor | None = None) -> None:
        """Read sessions from observations alone, of all of them or of those at `which` [n]: who it is, and the history.

        A session that is not at its start is read as if it had been followed, as far as the observation remembers it.
        """
        lanes = torch.arange(len(self.num_rows), device=self.items.device) if which is None else which
        self.cache.lengths[lanes] = 0
        self.items[lanes] = -1
        self.answers[lanes] = 0.0
        self.num_rows[lanes] = reading.num_rows
        self._elapsed[lanes] = reading.elapsed
        num_read = int(reading.num_rows.max())
        back = reading.num_rows[:, None] - 1 - torch.arange(num_read, device=lanes.device)  # rows after each row
        steps_taken = torch.round(reading.elapsed * self.max_steps)
        steps = steps_taken[:, None] - 1 - back.div(self.num_slots, rounding_mode="floor")  # that rows were shown in
        answers = self._row_columns(reading.items[:, :num_read], reading.answers[:, :num_read], steps, reading)
        self.items[lanes, :num_read] = reading.items[:, :num_read]
        self.answers[lanes, :num_read] = answers
        domain = torch.full_like(reading.num_rows, self.content.domain)
        first = self.model.first_tokens(reading.users, domain)[:, None]  # [n, 1, E]
        rows = self._row_tokens(reading.items[:, :num_read], answers)
        states = self.model.extend(torch.cat([first, rows], 1), 1 + reading.num_rows, self.cache, which)
        self._set_states(lanes, states, reading.num_rows)

    def go_on(self, reading: Reading, num_shown: torch.Tensor, which: torch.Tensor | None = None) -> torch.Tensor:
        """Read what came of the last step, `num_shown` [n] rows of at most S, in all sessions or those at `which`.

        Returns [n, S] bool: which slot was chosen, if any.
        """
        lanes = torch.arange(len(self.num_rows), device=self.items.device) if which is None else which
        slots = torch.arange(self.num_slots, device=self.items.device)
        is_there = slots < num_shown[:, None]  # [n, S]
        at = (reading.num_rows[:, None] - num_shown[:, None] + slots).clamp(0, reading.items.shape[1] - 1)
        items = reading.items.gather(1, at).where(is_there, -1)
        answers = reading.answers.gather(1, at[:, :, None].expand(-1, -1, _NUM_FEEDBACK)) * is_there[:, :, None]
        steps = torch.round(self._elapsed[lanes] * self.max_steps)[:, None].expand(-1, self.num_slots)
        answers = self._row_columns(items, answers, steps, reading)
        places = (self.num_rows[lanes][:, None] + slots).clamp(max=self.items.shape[1] - 1)
        self.items[lanes[:, None], places] = items
        self.answers[lanes[:, None], places] = answers
        states = self.model.extend(self._row_tokens(items, answers), num_shown, self.cache, which)
        self._set_states(lanes, states, num_shown - 1)
        self.num_rows[lanes] += num_shown
        self._elapsed[lanes] = reading.elapsed
        return answers[:, :, CLICK] > 0

    def dynamics(self, reading: Reading) -> torch.Tensor:
        """[N, M, 6]: `item_content.DYNAMICS` of the candidates of all sessions."""
        end = int(self.num_rows.max())
        return self.content.dynamics(reading.candidates, reading.times, self.items[:, :end], self.answers[:, :end])

    def scores(self, reading: Reading, dynamics: torch.Tensor) -> Scores:
        """Scores of the candidates of all sessions."""
        items = self._as_candidates[reading.candidates.clamp(min=0)]
        return self.model.score(self.states, reading.users, items, dynamics, reading.candidates >= 0)

    def keep(self, which: torch.Tensor) -> None:
        """Only these sessions go on."""
        self.cache.keep(which)
        for name in ("items", "answers", "num_rows", "states", "_elapsed"):
            setattr(self, name, getattr(self, name)[which])

    def _set_states(self, lanes: torch.Tensor, states: torch.Tensor, last: torch.Tensor) -> None:
        """Keep of states [n, k, E] those of the last tokens [n], or what was kept before where that is negative;
        autocast may have made them more precise."""
        new = states[torch.arange(len(lanes), device=lanes.device), last].to(self.states.dtype)
        self.states[lanes] = new.where(last[:, None] >= 0, self.states[lanes])

    def _row_tokens(self, items: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        return self.model.row_tokens(self._as_rows[items.clamp(min=0)], answers)

    def _row_columns(
        self, items: torch.Tensor, answers: torch.Tensor, steps: torch.Tensor, reading: Reading
    ) -> torch.Tensor:
        """[n, k, 13]: `ROW_COLUMNS` of rows with those items [n, k] and feedback [n, k, 7], shown in those steps [n, k]
        of the session, or before it if they are negative."""
        since = steps.clamp(min=0.0)
        starts = reading.times - torch.round(reading.elapsed * self.max_steps).long()
        standing = self.content.standing(items.clamp(min=0), starts[:, None] + since.long())
        more = torch.stack([since / self.max_steps, (steps < 0.0).to(answers.dtype)], 2)
        return torch.cat([answers, more, standing * (items >= 0)[:, :, None]], 2)
