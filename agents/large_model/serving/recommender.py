"""What a server does, without HTTP: sessions of people, recommendations, and feedback.

Shape legend: M candidates, S slots of a slate, R rows of a history.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from agents.large_model.compact_observations import stack_observations
from agents.large_model.serving.agents import BLIND, LARGE_MODEL, PLATFORM, SESSION_AGENTS, caveat_of, result_of
from agents.large_model.serving.batching import Observe, Result, SharedModel
from agents.large_model.serving.catalog import ServedCatalog
from agents.large_model.serving.config import GREEDY, SOFTMAX, ServingConfig
from agents.large_model.serving.database import Database, TooManyError
from agents.large_model.serving.database_file import ANSWER_COLUMNS
from agents.large_model.serving.metrics import Metrics
from agents.large_model.serving.requests import (
    Comparison,
    Feedback,
    FeedbackReceipt,
    InvalidRequestError,
    NewSession,
    Recommendation,
    RecommendationRequest,
    RecommendedItem,
    Session,
    Why,
)
from agents.large_model.serving.served_model import ServedModel
from agents.large_model.serving.sessions import History, ServedSession, SessionCache
from agents.large_model.serving.slates import BestSlate, PlackettLuce, SlatePolicy, draw_slate
from agents.large_model.serving.topics import topic_deviations
from recsim_env.simulation.observation import FEEDBACK

_NUM_REASONS = 3
_NUM_COMPARED = 100  # candidates that an explanation compares an item with: the best
_CLICK, _RATING = FEEDBACK.index("click"), FEEDBACK.index("rating")


class Recommender:
    """Recommends items of one catalogue to people, and remembers them.

    Args:
        served: the model to begin with.
        catalog: the items.
        database: what is remembered; used by this object alone.
        config: settings.
    """

    def __init__(self, served: ServedModel, catalog: ServedCatalog, database: Database, config: ServingConfig) -> None:
        self.catalog, self.database, self.config, self.metrics = catalog, database, config, Metrics()
        self.model = SharedModel(served, stack_observations, self.metrics.batch_sizes.observe)
        self._max_tokens = served.max_tokens
        self.metrics.note_version(served.version)
        max_bytes = config.max_cached_mib << 20
        self.sessions = SessionCache(config.max_cached_sessions, max_bytes, self.metrics.evictions.inc)
        self._loading: dict[str, asyncio.Task[ServedSession]] = {}

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.model.current.version

    def use(self, served: ServedModel) -> None:
        """Use another version of the model for requests that begin from now on; sessions are read again with it.

        Raises:
            ValueError: it reads shorter sessions than the first version, which those in progress may exceed.
        """
        if served.max_tokens < self._max_tokens:
            raise ValueError(f"reads at most {served.max_tokens} tokens, must be at least {self._max_tokens} here")
        self.model.current = served
        self.metrics.note_version(served.version)
        self.metrics.swaps.inc()

    async def close(self) -> None:
        """Finish what has begun."""
        self.model.close()
        await asyncio.to_thread(self.database.close)

    async def create_session(self, request: NewSession) -> Session:
        """Begin a session.

        Raises:
            InvalidRequestError: an unknown feature of the profile.
            TooManyError: there are too many sessions.
        """
        with _one_line_for_the_client():
            self.catalog.observations.user_features(request.profile)
        person = secrets.token_urlsafe(16) if request.person is None else request.person
        session = secrets.token_urlsafe(24)
        await self.database.create_session(
            session=session,
            person=person,
            profile=request.profile,
            agent=request.agent,
            max_sessions=self.config.max_sessions,
            max_sessions_of_person=self.config.max_sessions_of_person,
        )
        return Session(session=session, person=person, agent=request.agent, model=self.version)

    async def recommend(self, name: str, request: RecommendationRequest) -> Recommendation:
        """Recommend a slate in a session.

        Raises:
            NotFoundError: there is no such session.
            InvalidRequestError: candidates that do not exist or are too many, or none that can be shown; or reasons or
                beliefs in a blind session.
            TooManyError: the session is too long.
            ConflictError: the session has ended with a comparison.
        """
        given = None if request.candidates is None else self._positions(request.candidates)
        session = await self._session(name)
        async with session.lock:
            try:
                return await self._recommend(name, session, request, given)
            except BaseException:  # what is in memory may differ from the database
                self.sessions.drop(name)
                raise

    async def add_feedback(self, name: str, request: Feedback) -> FeedbackReceipt:
        """Store the feedback on a recommendation.

        Raises:
            NotFoundError: there is no such session or recommendation.
            ConflictError: the recommendation has other feedback, or the session has ended with a comparison.
            InvalidRequestError: feedback to an item that was not recommended, or twice to one item.
        """
        values = {}
        for i, each in enumerate(request.items):
            with _one_line_for_the_client():
                position = self.catalog.ids.position(f"items[{i}].item", each.item)
            if position in values:
                raise InvalidRequestError(f"items[{i}].item={each.item!r}: occurs more than once")
            values[position] = [float(getattr(each, column)) for column in ANSWER_COLUMNS]

        def canonical(slate: np.ndarray) -> np.ndarray:
            shown = slate.tolist()
            for i, position in enumerate(values):
                if position not in shown:
                    raise InvalidRequestError(f"items[{i}].item={request.items[i].item!r}: was not recommended")
            return np.array([values.get(position, [0.0] * len(ANSWER_COLUMNS)) for position in shown])

        session = await self._session(name)
        async with session.lock:
            try:
                answers = await self.database.add_feedback(name, request.recommendation, canonical)
            except ValueError:  # refused: nothing has changed
                raise
            except BaseException:
                self.sessions.drop(name)
                raise
            if answers is not None:
                session.add(answers)
                self.sessions.note_size(name, session)
        return FeedbackReceipt(recommendation=request.recommendation, is_new=answers is not None)

    async def compare(self, name: str) -> Comparison:
        """End a blind session, and tell how its agents did.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: it is not blind.
        """
        answers = await self.database.compare(name)
        agents = SESSION_AGENTS[BLIND]
        results = {agent: result_of([each.values for by, each in answers if by == agent]) for agent in agents}
        return Comparison(session=name, agents=results, caveat=caveat_of(list(results.values())))

    async def everything_of(self, name: str) -> dict[str, Any]:
        """All that is stored about a session; `NotFoundError` if there is none."""
        ids, found = self.catalog.ids, await self.database.everything_of(name)
        for each in found["recommendations"]:
            each["items"] = [ids[item] for item in each["items"]]
            each["candidates"] = [ids[item] for item in each["candidates"]]
            if each["feedback"] is not None:
                each["feedback"] = [
                    {"item": item, **dict(zip(ANSWER_COLUMNS, row, strict=True))}
                    for item, row in zip(each["items"], each["feedback"], strict=True)
                ]
        return found

    async def delete_session(self, name: str) -> None:
        """Delete a session; `NotFoundError` if there is none."""
        person = await self.database.delete_session(name)
        self.sessions.drop_person(person)  # later sessions of the person have read it

    async def delete_person(self, person: str) -> None:
        """Delete a person with all of their sessions; `NotFoundError` if there is none."""
        await self.database.delete_person(person)
        self.sessions.drop_person(person)

    def _positions(self, candidates: Sequence[int | str]) -> np.ndarray:
        limit = self.config.max_candidates
        if len(candidates) > limit:
            raise InvalidRequestError(f"candidates: {len(candidates)} of them, must be at most {limit}")
        with _one_line_for_the_client():
            return self.catalog.ids.positions("candidates", candidates)

    async def _session(self, name: str) -> ServedSession:
        """The session, from memory or from the database."""
        session = self.sessions.get(name)
        if session is None:
            if name not in self._loading:
                self._loading[name] = asyncio.create_task(self._load(name))
                self._loading[name].add_done_callback(lambda _: self._loading.pop(name))
            session = await asyncio.shield(self._loading[name])
        return session

    async def _load(self, name: str) -> ServedSession:
        stored = await self.database.load(name)
        history = History.of(self.catalog.simulator.config, self._max_tokens)
        session = ServedSession(stored, history, self.catalog.observations.user_features(stored.profile))
        self.sessions.put(name, session)
        return session

    async def _recommend(
        self, name: str, session: ServedSession, request: RecommendationRequest, given: np.ndarray | None
    ) -> Recommendation:
        if session.num_recommendations >= self.config.max_session_length:
            raise TooManyError(f"session: has {session.num_recommendations} recommendations, which is the limit")
        is_blind, agents = session.agent == BLIND, SESSION_AGENTS[session.agent]
        for option in ("explain", "beliefs"):
            if is_blind and getattr(request, option):
                raise InvalidRequestError(
                    f"{option}: must be false in a blind session, since it would reveal the agent"
                )
        served, has_read = self.model.current, LARGE_MODEL in agents
        session.continue_with(served.version)
        if has_read and session.cached is None:
            await self._read_again(served, session)
        view = _View(self, session, session.num_feedbacks, given)
        result = await self._read(served, session, view) if has_read else None
        scores_of = {PLATFORM: view.predicted_answers}
        policies: dict[str, SlatePolicy] = {PLATFORM: BestSlate(view.predicted_answers)}
        if result is not None:
            scores_of[LARGE_MODEL], draws = result.scores, self.config.selection == SOFTMAX
            policies[LARGE_MODEL] = PlackettLuce(result.logits) if draws else BestSlate(result.scores)
        scores = scores_of[agents[0]]
        number = session.num_recommendations
        slate = draw_slate(
            [policies[agent] for agent in agents],
            request.num_items or self.catalog.slate_size,
            self.config.exploration,
            self.config.seed,
            name,
            number,
        )
        places = slate.places.tolist()
        items = [
            RecommendedItem(
                item=self.catalog.ids[int(view.candidates[place])],
                title=self.catalog.title(int(view.candidates[place])),
                score=None if is_blind else float(scores[place]),
            )
            for place in places
        ]
        if result is not None and not is_blind:
            why = await self._why(served, view, result, places) if request.explain else [None] * len(places)
            exponentials = np.exp(result.logits - result.logits.max())
            probabilities = exponentials / exponentials.sum()
            for each, place, reasons in zip(items, places, why, strict=True):
                each.probability, each.why = float(probabilities[place]), reasons
                each.expected_reward = float(result.expected_rewards[place])
        await self.database.add_recommendation(
            session.key,
            number=number,
            num_feedbacks=session.num_feedbacks,
            candidates=view.candidates,
            slate=view.candidates[slate.places],
            places=slate.places,
            log_propensity=slate.log_propensity,
            shown_at=view.time,
            agent=agents[slate.agent],
            model=served.version,
            selection=self.config.selection if has_read else GREEDY,
        )
        session.num_recommendations += 1
        self.sessions.note_size(name, session)
        beliefs = None
        if request.beliefs:
            beliefs = self.catalog.by_topic(topic_deviations(scores, self.catalog.topics_of(view.candidates)))
        return Recommendation(recommendation=number, items=items, beliefs=beliefs, model=served.version)

    async def _read(self, served: ServedModel, session: ServedSession, view: "_View") -> Result:
        """Read the rows of the view that have not been read, and score its candidates. More rows than a slate has are
        read together with all others."""
        num_new = view.num_rows - session.num_read
        if session.cached is None or num_new > self.catalog.slate_size:
            result = await self.model.start(served, view.observe(view.num_rows), len(view.candidates))
        else:
            observe = view.observe(num_new)
            result = await self.model.step(served, session.cached, observe, len(view.candidates), num_new)
        session.cached, session.num_read = result.cached, view.num_rows
        return result

    async def _read_again(self, served: ServedModel, session: ServedSession) -> None:
        """Read a part that was dropped from memory, or read by another version, with the same calls of the model as
        before."""
        history = session.history
        for scored in await self.database.scored(session.key, history.first_step, session.num_feedbacks):
            await self._read(served, session, _View(self, session, scored.num_feedbacks, scored.candidates))

    async def _why(self, served: ServedModel, view: "_View", result: Result, places: Sequence[int]) -> list[list[Why]]:
        """Why the candidates at some places have their scores, compared with the best ones."""
        ids, best = self.catalog.ids, np.argsort(-result.scores, kind="stable")[:_NUM_COMPARED]
        compared = np.union1d(best, places)
        observe, items = view.observe(view.num_rows, compared), view.candidates[compared].tolist()
        return [
            [
                Why(
                    item=ids[each.item],
                    click=bool(view.feedback[each.row, _CLICK]),
                    rating=round(5.0 * float(view.feedback[each.row, _RATING]), 4),  # of float32
                    effect=each.effect,
                    instead=ids[items[each.instead]],
                )
                for each in found.reasons[:_NUM_REASONS]
            ]
            for found in await self.model.explain(served, observe, np.searchsorted(compared, places).tolist())
        ]


@contextmanager
def _one_line_for_the_client() -> Iterator[None]:
    """Tell the client of a `ValueError`, which is about the request."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequestError(error) from None


class _View:
    """What the model is told when a session has a number of steps: candidates, time, and the rows before.

    Raises:
        InvalidRequestError: no candidate can be shown.
    """

    def __init__(
        self, recommender: Recommender, session: ServedSession, num_steps: int, given: np.ndarray | None
    ) -> None:
        history, self._observations = session.history, recommender.catalog.observations
        steps = num_steps - history.first_step
        self._user, self._elapsed = session.user, steps / history.session_length
        self.time = min(self._observations.first_time + num_steps, self._observations.last_time)
        """The platform's."""
        self.num_rows = history.ends[steps]
        """Rows that are shown before."""
        rows = slice(0, self.num_rows)
        self._rows = history.items[rows], history.feedback[rows], history.times[rows]
        items, feedback, _ = self._rows
        self.candidates = self._observations.available(self.time) if given is None else given
        """[M] items."""
        self.candidates = self._observations.not_consumed(self.candidates, items, feedback)
        if not len(self.candidates):
            raise InvalidRequestError("candidates: none is left, the person has just consumed all of them")
        self._relevance = self._observations.relevance(*self._rows, self.candidates, self.time)
        limit = recommender.config.max_candidates
        if len(self.candidates) > limit:
            best = np.sort(np.argsort(-self._relevance[:, 0], kind="stable")[:limit])
            self.candidates, self._relevance = self.candidates[best], self._relevance[best]

    @property
    def feedback(self) -> np.ndarray:
        """[R, 7] `observation.FEEDBACK` of the rows before."""
        return self._rows[1]

    @property
    def predicted_answers(self) -> np.ndarray:
        """[M]: the platform's prediction for each candidate, -1 to 1."""
        return self._relevance[:, 0]

    def observe(self, num_rows: int, places: Any = slice(None)) -> Observe:
        """Make the observation with the newest rows, and with all candidates or those at some places."""

        def observation() -> dict[str, np.ndarray]:
            items, feedback, _ = (part[self.num_rows - num_rows :] for part in self._rows)
            return self._observations.observation(
                user=self._user,
                elapsed=self._elapsed,
                items=items,
                feedback=feedback,
                relevance=self._relevance[places],
                candidates=self.candidates[places],
                now=self.time,
            )

        return observation
