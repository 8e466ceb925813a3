"""Visits of simulated users, in memory alone: nothing of them is stored, and none of their feedback is logged.

Shape legend: S slots of a slate, M candidates.
"""

import asyncio
import dataclasses
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from agents.large_model.serving.agents import PLATFORM
from agents.large_model.serving.batching import SharedModel
from agents.large_model.serving.catalog import ServedCatalog
from agents.large_model.serving.config import ServingConfig
from agents.large_model.serving.database import ConflictError, NotFoundError
from agents.large_model.serving.requests import (
    AgentName,
    NewSimulatedVisit,
    SimulatedFeedback,
    SimulatedStep,
    SimulatedUser,
    SimulatedVisit,
)
from agents.large_model.serving.topics import topic_deviations
from recsim_env.envs.session_recording import shown_items
from recsim_env.envs.spaces_and_actions import session_seeds
from recsim_env.simulation.observation import RELEVANCE_COLUMNS
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.simulator import Simulator

_NUM_CANDIDATES = 200
"""At least, so that every topic has some."""

T = TypeVar("T")


class _Visit:
    def __init__(self, agent: AgentName, num_items: int) -> None:
        self.agent, self.num_items = agent, num_items
        self.variables: dict[str, np.ndarray] = {}
        """Of the simulator, see `Simulator.state`."""
        self.cached: Any = None
        """What the model has read; None before the first step."""
        self.num_read = 0
        """Rows in `cached`."""
        self.read_by = ""
        """The version of the model that has read them."""
        self.num_new = 0
        """Items of the last slate."""
        self.is_over = False
        self.lock = asyncio.Lock()


class SimulatedVisits:
    """Visits of the users of a catalogue's world.

    Args:
        model: shared with the people's requests.
        catalog: the items, whose world has users.
        config: settings.
    """

    def __init__(self, model: SharedModel, catalog: ServedCatalog, config: ServingConfig) -> None:
        self._model, self._catalog = model, catalog
        self._max_visits = config.max_simulated_visits
        self._visits: OrderedDict[str, _Visit] = OrderedDict()
        self._simulators: dict[int, Simulator] = {}
        """By the size of a slate: of one session, which is that of each visit in turn."""
        self._simulating = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    async def create(self, request: NewSimulatedVisit) -> SimulatedVisit:
        """Begin a visit; the oldest one is forgotten if there are too many.

        Raises:
            NotFoundError: the world has no users that can be simulated.
        """
        if not self._catalog.has_users:
            raise NotFoundError("simulated-visits: this catalogue has no users who can be simulated")
        visit = _Visit(request.agent, request.num_items or self._catalog.slate_size)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed

        def begin(simulator: Simulator) -> SimulatedUser:
            simulator.start(np.zeros(1, np.int64), session_seeds([seed], None))
            return self._user(simulator)

        user = await self._simulate(visit, begin)
        name = secrets.token_urlsafe(16)
        self._visits[name] = visit
        while len(self._visits) > self._max_visits:
            self._visits.popitem(last=False)
        config = self._simulators[visit.num_items].config
        return SimulatedVisit(
            visit=name, agent=visit.agent, num_items=visit.num_items, num_steps=config.session_length, user=user
        )

    async def step(self, name: str) -> SimulatedStep:
        """Show the best slate, and let the user answer.

        Raises:
            NotFoundError: there is no such visit.
            ConflictError: it is over.
        """
        visit = self._visit(name)
        async with visit.lock:
            if visit.is_over:
                raise ConflictError("visit: is over")
            observation: Any = await self._simulate(visit, lambda simulator: simulator.observe("compact"))
            candidates = observation["candidate_items"][0]
            exists = candidates != NO_ITEM
            scores = await self._scores(visit, observation)
            slate = np.argsort(np.where(exists, -scores, np.inf), kind="stable")[: visit.num_items]
            beliefs = topic_deviations(scores[exists], self._catalog.topics_of(candidates[exists]))
            return await self._simulate(visit, lambda simulator: self._answer(simulator, visit, slate, beliefs))

    def delete(self, name: str) -> None:
        """Forget a visit; `NotFoundError` if there is none."""
        self._visit(name)
        del self._visits[name]

    def _visit(self, name: str) -> _Visit:
        if name not in self._visits:
            raise NotFoundError("visit: there is no such visit")
        return self._visits[name]

    async def _simulate(self, visit: _Visit, function: Callable[[Simulator], T]) -> T:
        """The result of a function of the simulator, which has the variables of the visit before and sets them."""

        def simulate() -> T:
            simulator = self._simulator(visit.num_items)
            if visit.variables:
                simulator.restore(visit.variables)
            result = function(simulator)
            visit.variables = simulator.state()
            return result

        async with self._simulating:
            return await asyncio.to_thread(simulate)

    def _simulator(self, num_items: int) -> Simulator:
        if num_items not in self._simulators:
            served = self._catalog.simulator
            number = max(served.config.num_candidates, min(_NUM_CANDIDATES, len(self._catalog)))
            rows = max(served.config.history_length, num_items)
            config = dataclasses.replace(
                served.config, slate_size=num_items, num_candidates=number, history_length=rows
            )
            self._simulators[num_items] = Simulator(served.world, config, 1, catalog_seed=served.catalog_seed)
        return self._simulators[num_items]

    async def _scores(self, visit: _Visit, observation: dict[str, np.ndarray]) -> np.ndarray:
        """[M] of the visit's agent. The model reads the last slate; or the history anew if there is too much for it, or
        if another version has read it."""
        if visit.agent == PLATFORM:
            return observation["candidate_relevance"].reshape(-1, len(RELEVANCE_COLUMNS))[:, 0]
        num_candidates, num_new = observation["candidate_items"].shape[1], visit.num_new
        num_read, served = visit.num_read + num_new, self._model.current
        is_cached = visit.cached is not None and visit.read_by == served.version
        if not is_cached or num_new > self._catalog.slate_size or num_read >= served.max_tokens:
            num_read = int((observation["history_items"][0] != NO_ITEM).sum())
            result = await self._model.start(served, lambda: observation, num_candidates)
        else:
            result = await self._model.step(served, visit.cached, lambda: observation, num_candidates, num_new)
        visit.cached, visit.read_by, visit.num_read, visit.num_new = result.cached, served.version, num_read, 0
        return result.scores

    def _answer(self, simulator: Simulator, visit: _Visit, slate: np.ndarray, beliefs: np.ndarray) -> SimulatedStep:
        session, catalog = simulator.sessions[0], self._catalog
        step, num_shown = int(session["step"]), int(session["num_shown"])
        outcome = simulator.step(slate[None])[0]
        shown = shown_items(simulator, 0, num_shown)
        visit.num_new, visit.is_over = len(shown), bool(outcome["terminated"] or outcome["truncated"])
        return SimulatedStep(
            step=step,
            items=[
                SimulatedFeedback(
                    item=catalog.ids[each.item],
                    title=catalog.title(each.item),
                    click=bool(each.click),
                    consumption=each.consumption,
                    rating=each.rating,
                    purchase=bool(each.purchase),
                )
                for each in shown
            ],
            beliefs=catalog.by_topic(beliefs),
            user=self._user(simulator),
            is_over=visit.is_over,
            has_left=bool(outcome["terminated"]),
        )

    def _user(self, simulator: Simulator) -> SimulatedUser:
        latent, items = simulator.latent_state(), simulator.world.items
        interests = topic_deviations(items.factors @ latent["interests"][0], items.observed_topics)
        return SimulatedUser(
            interests=self._catalog.by_topic(interests),
            trust=float(latent["trust"][0]),
            patience=float(latent["patience"][0]),
        )
