"""The simulator: a batch of N sessions as arrays, behind the Gymnasium and Stable-Baselines3 adapters.

Shape legend: N sessions, S slots of a slate, M candidates, F content features.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured

from recsim_env.config import CANDIDATE_ORDERS, CANDIDATE_SOURCES, SessionConfig, check_number
from recsim_env.simulation.batch_threads import BatchThreads
from recsim_env.simulation.compilation import compiled, kernel
from recsim_env.simulation.live_platform import LivePlatform
from recsim_env.simulation.nearest_items import nearest_candidates, show_nearest_items
from recsim_env.simulation.observation import FEEDBACK, RELEVANCE_COLUMNS, ObservationLayout
from recsim_env.simulation.observation_writers import (
    observable_records,
    write_compact,
    write_full_vectors,
    write_vectors,
)
from recsim_env.simulation.record_types import as_bytes
from recsim_env.simulation.records import (
    ITEM,
    NO_ITEM,
    OBSERVABLE_ITEM,
    OUTCOME,
    PARAMETERS,
    REWARD_TERMS,
    SESSION,
    USER,
    dtypes,
    make_layout,
)
from recsim_env.simulation.session import start_session, step_session
from recsim_env.simulation.user_model import expected_reward

if TYPE_CHECKING:
    from recsim_env.world.world import World

_FLOAT32 = np.dtype(np.float32)
_NO_SESSIONS, _NO_SLATES = np.zeros(0, np.int64), np.zeros((0, 1), np.int64)

_PREFETCHED = 32
"""Sessions whose items are prefetched together."""

LATENT_STATE = (
    *("user", "interests", "satiation", "follows", "trust", "patience", "budget", "mood"),
    *("rating_bias", "rating_scale", "receptiveness", "satisfaction", "habit"),
)
"""Fields of a session hidden from agents (except `follows`, and `mood` with a delay)."""


@compiled
def _prefetch(session, items, slate):
    """Read from the records that a step uses, so that the cache misses of several sessions overlap."""
    last = len(items) - 1
    total = items[min(session.first_item, last)].retire_step ^ items[min(session.first_item + 1, last)].retire_step
    total ^= items[min(session.end_item, last)].release_step ^ items[min(session.end_item + 1, last)].release_step
    for slot in range(len(slate)):
        item = items[max(session.candidates[slate[slot]], 0)]  # the first in place of a missing one
        total ^= item.index ^ np.int64(item.factors[-1] + item.topics[-1]) ^ item.retire_step
    return total


@kernel
def _advance(sessions, items, parameters, layout, users, starting, slates, outcomes):
    """Start the sessions at the indices `starting`, and step all sessions if there are slates.

    One kernel, as both use most of the user model.
    """
    sessions, items, users = SESSION(sessions, layout), ITEM(items, layout), USER(users, layout)
    outcomes, p = OUTCOME(outcomes, layout), PARAMETERS(parameters, layout)[0]
    for n in starting:
        start_session(sessions[n], users, items, outcomes[0], p)
    if len(slates) == 0:
        return 0
    total = 0  # returned so that the compiler keeps the reads
    for first in range(0, len(sessions), _PREFETCHED):
        end = min(first + _PREFETCHED, len(sessions))
        for n in range(first, end):
            total ^= _prefetch(sessions[n], items, slates[n])
        for n in range(first, end):
            step_session(sessions[n], items, slates[n], outcomes[n], p)
    return total


@kernel
def _expected_rewards(sessions, items, parameters, layout, out):
    sessions, items, p = SESSION(sessions, layout), ITEM(items, layout), PARAMETERS(parameters, layout)[0]
    for n in range(len(sessions)):
        session = sessions[n]
        for m in range(len(session.candidates)):
            item = session.candidates[m]
            out[n, m] = expected_reward(session, items[item], p) if item != NO_ITEM else 0.0


def _num_entries(world: "World", config: SessionConfig) -> int:
    """Size of a session's table of consumed items: a power of two, twice as many as it can consume; 1 without one."""
    if world.scenario.catalog.repeat_after == 0:
        return 1
    num_steps = config.session_length + world.scenario.population.warm_steps
    return 2 << min(num_steps * config.slate_size, len(world.items)).bit_length()


class Simulator:
    """N independent sessions in one world.

    The course of a session depends on its seed and its actions alone: not on N, its index, or the number of threads.
    The e-th episode of a session with seed s is the same at every index.

    On a live platform all sessions share one clock and see each other's feedback in the item statistics
    (`LivePlatform`).

    Args:
        world: items and users.
        config: sizes of a session.
        num_sessions: N, at least 1.
        catalog_seed: seed that the world was drawn with; part of the sessions' world key.
        max_steps: sessions are truncated after so many steps, and after `config.session_length` at the latest.
        num_threads: threads that share a step; each works on contiguous sessions.
        is_live: whether the sessions are simultaneous visits to one live platform.
    """

    def __init__(
        self,
        world: "World",
        config: SessionConfig,
        num_sessions: int,
        *,
        catalog_seed: int = 0,
        max_steps: int | None = None,
        num_threads: int = 1,
        is_live: bool = False,
    ) -> None:
        check_number("num_envs", num_sessions, 1, 10_000_000, int)
        check_number("num_threads", num_threads, 1, 1_024, int)
        if not isinstance(is_live, bool | np.bool_):
            raise ValueError(f"live_platform={is_live!r}: must be True or False")
        if is_live and world.scenario.lifetime.num_days > 0:
            raise ValueError(
                "live_platform=True: must be False in lifetimes, whose absences move each session's own clock"
            )
        if is_live and config.history_length < config.slate_size:  # feedback is counted from the history
            raise ValueError(
                f"history_length={config.history_length}: must be at least slate_size={config.slate_size} on a live "
                "platform"
            )
        self.world, self.config = world, config
        self._settings = {"catalog_seed": catalog_seed, "max_steps": max_steps, "num_threads": num_threads}
        self.layout = ObservationLayout(
            num_profile_features=world.users.profiles.shape[1],
            num_moods=world.sizes.num_moods,
            num_content_features=world.items.features.shape[1],
            num_items=len(world.items),
            num_candidates=config.num_candidates,
            history_length=config.history_length,
            has_purchases=world.scenario.behaviour.is_shop,
            is_lifetime=world.scenario.lifetime.num_days > 0,
            neutral_rating=world.scenario.reward.neutral_rating,
        )
        records = world.item_records
        observable = observable_records(world.items.features, records["release_step"], records["creator"])
        sizes = world.sizes, config.num_candidates, config.history_length, _num_entries(world, config)
        expected = dtypes(*sizes)
        for kind, array in ((ITEM, records), (USER, world.user_records), (OBSERVABLE_ITEM, observable)):
            if array.dtype != expected[kind]:  # compiled code would read past their ends
                raise ValueError(f"world: records of kind {kind.name} do not have the sizes in world.sizes")
        self.sessions = np.zeros(num_sessions, expected[SESSION])
        self.is_over = self.sessions["is_over"]
        """[N] bool, a view of `sessions`: nothing can be shown, as the session has not started or has ended."""
        self._episodes = self.sessions["episode"]
        self._episodes[:], self.is_over[:] = -1, True
        self.has_started = False
        """Whether all N sessions have been started."""
        self.outcomes = np.zeros(num_sessions, OUTCOME.head)
        """[N] records of `records.OUTCOME`: of the last step."""
        self.reward_terms = structured_to_unstructured(self.outcomes[list(REWARD_TERMS)], copy=False)
        """[N, 7] float64, a view of `outcomes`: the unweighted terms of the reward."""
        self.parameters = world.parameters(config.session_length)
        """[1] record of the coefficients, see `records.PARAMETERS`."""
        self.parameters["catalog_seed"] = self.catalog_seed = catalog_seed
        self.parameters["candidate_order"] = CANDIDATE_ORDERS.index(config.candidate_order)
        self.parameters["candidate_source"] = CANDIDATE_SOURCES.index(config.candidates)
        length = config.session_length
        self.parameters["max_steps"] = length if max_steps is None else min(max_steps, length)
        self._model = as_bytes(self.sessions), as_bytes(world.item_records), as_bytes(self.parameters)
        self._users = as_bytes(world.user_records)
        self._record_layout, self._outcome_bytes = make_layout(*sizes), as_bytes(self.outcomes)
        self._step_arguments = *self._model, self._record_layout, self._users, _NO_SESSIONS
        self._outcome_buffer = as_bytes(np.zeros(1, OUTCOME.head))
        self.live_platform: LivePlatform | None = None
        if is_live:
            first_start, num_starts = world.session_starts(config.session_length)
            self.live_platform = LivePlatform(
                len(world.items), first_start, first_start + num_starts - 1 + config.session_length
            )
        shared = self.live_platform.counts if self.live_platform else np.zeros((0, 4))
        content = as_bytes(observable), world.item_statistics, shared, world.users.profiles
        self._observed = self._record_layout, *self._model[1:]
        self._fully_observed = *self._observed, *content
        self._advance = self.adapted(_advance)
        self._threads = BatchThreads(num_sessions, num_threads)

    def __len__(self) -> int:
        return len(self.sessions)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the arguments and the variables, as most arrays are views of others."""
        settings = {**self._settings, "is_live": self.live_platform is not None}
        return {"arguments": (self.world, self.config, len(self)), "settings": settings, "variables": self.state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["arguments"], **state["settings"])  # type: ignore[misc]
        self.restore(state["variables"])

    def start(self, which: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """Start new sessions at the indices `which` [n] int64.

        With `seeds` [n, 3] uint64 (world, user, noise) they are episode 0 of these seeds, without them the next
        episode of the current seeds. On a live platform they start now, and seeds for all sessions restart it.
        """
        if self.world.scenario.source == "items":
            raise ValueError(f"{self.world.scenario.name}: a table of items has no users to simulate")
        if seeds is None:
            self._episodes[which] += 1
        else:
            self.sessions["seeds"][which], self._episodes[which] = seeds, 0
        if self.live_platform:
            if self.live_platform.is_over or (seeds is not None and len(which) == len(self)):
                self.live_platform.restart()
            self.parameters["first_start"], self.parameters["num_starts"] = self.live_platform.clock, 1
        self._advance(*self._model, self._record_layout, self._users, which, _NO_SLATES, self._outcome_buffer)
        self.has_started = self.has_started or self._have_all_started()

    def _have_all_started(self) -> bool:
        return bool(self._episodes.min() >= 0)

    def step(self, slates: np.ndarray) -> np.ndarray:
        """Show each session that is not over its slate, [N, S] int64 indices of candidates.

        Returns the outcomes, [N] records of `records.OUTCOME`: a buffer that the next step overwrites.
        """
        live_platform = self.live_platform if self.live_platform and not self.live_platform.is_over else None
        if live_platform:
            live_platform.before_step(self.sessions)
            is_running = ~self.is_over
        if self._threads.is_parallel:
            sessions, *model = self._step_arguments
            self._threads.run(
                lambda part: self._advance(sessions[part], *model, slates[part], self._outcome_bytes[part])
            )
        else:  # without the cost of views, for single sessions
            self._advance(*self._step_arguments, slates, self._outcome_bytes)
        if live_platform:
            live_platform.after_step(self.sessions, self._record_layout)
            if live_platform.is_over:
                self.outcomes["truncated"] = is_running & ~self.outcomes["terminated"]
                self.is_over[:] = True
        return self.outcomes

    def nearest_candidates(self, points: np.ndarray) -> np.ndarray:
        """[N, S] int64: for each of [N, S, F] points in content space the nearest unused candidate."""
        slates = np.zeros(points.shape[:2], np.int64)
        nearest_candidates(self._model[0], self._record_layout, self.world.items.features, points, slates)
        return slates

    def show_nearest_items(self, points: np.ndarray) -> np.ndarray:
        """Make the available items nearest to [N, S, F] points the first S candidates; returns their [N, S] indices."""
        frame = self._record_layout, self._model[2], self._feature_columns
        self._threads.run(lambda part: show_nearest_items(self._model[0][part], *frame, points[part]))
        return np.tile(np.arange(points.shape[1]), (len(self), 1))

    @cached_property
    def _feature_columns(self) -> np.ndarray:
        return np.ascontiguousarray(self.world.items.features.T)

    def observe(self, kind: str, which: np.ndarray | None = None) -> np.ndarray | dict[str, np.ndarray]:
        """Observations of all sessions, or of those at the indices `which`, in new arrays with sessions first."""
        if kind == "compact":
            return self._observe_compact(which)
        vectors = self.observed_vectors(kind, which)
        return vectors if kind == "flat" else self.layout.of_kind(kind).parts(vectors)

    def observed_vectors(self, kind: str, which: np.ndarray | None = None) -> np.ndarray:
        """[N, size] float32: observations of a kind other than compact as vectors, all parts concatenated."""
        sessions, layout = self._sessions_at(which), self.layout.of_kind(kind)
        vectors = np.empty((len(sessions), layout.size), _FLOAT32)
        write, arguments = (
            (write_full_vectors, self._fully_observed) if layout.is_full else (write_vectors, self._observed)
        )
        if self._threads.is_parallel and which is None:
            self._threads.run(lambda part: write(sessions[part], *arguments, vectors[part]))
        else:
            write(sessions, *arguments, vectors)
        return vectors

    def _sessions_at(self, which: np.ndarray | None) -> np.ndarray:
        return self._model[0] if which is None else as_bytes(self.sessions[which])

    def _observe_compact(self, which: np.ndarray | None) -> dict[str, np.ndarray]:
        sessions, layout = self._sessions_at(which), self.layout
        num_sessions = len(sessions)
        compact: dict[str, np.ndarray] = {
            "user": np.empty((num_sessions, layout.user_size), np.float32),
            "history_items": np.empty((num_sessions, layout.history_length), np.int32),
            "history_feedback": np.empty((num_sessions, layout.history_length * len(FEEDBACK)), np.float32),
            "candidate_items": np.empty((num_sessions, layout.num_candidates), np.int32),
            "candidate_relevance": np.empty((num_sessions, layout.num_candidates * len(RELEVANCE_COLUMNS)), np.float32),
            "time": np.empty((num_sessions, 1), np.int64),
        }
        write_compact(sessions, *self._observed, self.world.users.profiles, *compact.values())
        return compact

    def latent_state(self, which: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Privileged: hidden state of all sessions, or of those at the indices `which`, for oracles, metrics and tests.

        Returns copies: `interests` [N, D], `satiation` [N, K], `follows` [N, C], `trust`, `patience`, `budget`, `mood`,
        `rating_bias`, `rating_scale`, `receptiveness`, `satisfaction`, `habit`, `user` [N]; `candidate_items` [N, M];
        `candidate_quality`, `candidate_appeal`, `candidate_factors` [N, M, ...]; `expected_rewards` [N, M], the mean
        reward of showing a candidate alone. Entries of missing candidates are 0.
        """
        sessions = self.sessions if which is None else self.sessions[which]
        latent = {name: np.array(sessions[name]) for name in LATENT_STATE}
        candidates = np.array(sessions["candidates"])
        exists = candidates != NO_ITEM
        latent["candidate_items"] = candidates
        for name in ("quality", "appeal", "factors"):
            values = self.world.item_records[name][np.where(exists, candidates, 0)]
            latent[f"candidate_{name}"] = values * exists.reshape(exists.shape + (1,) * (values.ndim - 2))
        latent["expected_rewards"] = np.zeros(candidates.shape)
        self._write_expected_rewards(as_bytes(sessions), latent["expected_rewards"])
        return latent

    def _write_expected_rewards(self, sessions: np.ndarray, out: np.ndarray) -> None:
        self.adapted(_expected_rewards)(sessions, *self.compiled_model()[1:], out)

    def adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A compiled function of the package, with the functions of the world's custom user model in it."""
        return self.world.user_model.adapted(function)

    def compiled_model(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Privileged: sessions, items and parameters for kernels of planners, and the layout that these records have.

        They are not copies: to look ahead, copy a session and step the copy with `session.step_session`.
        """
        return *self._model, self._record_layout

    def _variables(self) -> dict[str, np.ndarray]:
        variables = {"sessions": self.sessions}
        if self.live_platform:
            variables |= {"counts": self.live_platform.counts, "clock": self.live_platform.clock}
        return variables

    def state(self) -> dict[str, np.ndarray]:
        """A copy of all variables, for `restore`."""
        return {name: np.array(array) for name, array in self._variables().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore a `state` of a simulator with the same world, config and number of sessions."""
        variables = self._variables()
        if state.keys() != variables.keys():
            raise ValueError(f"state: has {', '.join(state)}, must have {', '.join(variables)}")
        for name, array in variables.items():
            if state[name].shape != array.shape or state[name].dtype != array.dtype:
                raise ValueError(f"state[{name!r}]: from another simulator (shape or fields differ)")
        for name, array in variables.items():
            array[...] = state[name]
        self.has_started = self._have_all_started()

    def close(self) -> None:
        """Stop the threads."""
        self._threads.close()
