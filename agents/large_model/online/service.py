"""Online learning beside a server: from its database to the folder of versions that it serves.

A round learns from the sessions completed since the last one, without those of people who are held out. After some
rounds, the result is added as a new version, which is published if it passes the tests of `evidence`. Only the weights
keep anything of a session: each round reads the database again, so that deleted people are in no later round.
"""

import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from agents.large_model.checkpoint import Checkpoint, load_latest, rebuild, save_checkpoint
from agents.large_model.env import served_env
from agents.large_model.export import version_of
from agents.large_model.model import LargeModelNetwork
from agents.large_model.online.config import OnlineConfig, PublicationConfig, ServedPolicy, ServiceConfig
from agents.large_model.online.evidence import OffPolicyResult, ShadowResult, off_policy_test, shadow_test
from agents.large_model.online.learner import OnlineLearner
from agents.large_model.online.served_sessions import (
    ServedPart,
    ServedSessions,
    read_parts,
    read_selection,
)
from agents.large_model.rollout import Sessions
from agents.large_model.serving.catalog import ServedCatalog
from agents.large_model.serving.database_file import read_about, reading
from agents.large_model.serving.exported_model import ExportedModel
from agents.large_model.serving.model_versions import ModelVersions
from agents.networks.item_content import ItemContent
from agents.terminal import warn
from recsim_env.atomic_file import printable, write_atomically

STATE, ROUNDS = "learning", "rounds.jsonl"
"""In a folder of versions: checkpoints of what is being learnt, and a line for each round."""

_NUM_VERSIONS = 10  # that are kept


@dataclass(frozen=True, kw_only=True)
class ServiceRound:
    """The result of a round."""

    number: int
    """From 1."""
    time: float
    """Up to which sessions were completed, in seconds since 1970."""
    num_sessions: int
    """Learnt from."""
    num_steps: int
    mean_return: float
    """Mean sum of rewards of a session."""
    divergence: float
    """Mean KL(published, present) in nats, after learning."""
    is_reverted: bool
    """Whether the policy moved too far, and the round was undone."""
    decision: str = "none"
    """On a new version: `publish`, `wait` for more sessions, `refuse`, or `none` if it was not up for decision."""
    version: str | None = None
    """The version that was published."""
    reasons: tuple[str, ...] = ()
    """What is missing, or what is worse."""
    off_policy: OffPolicyResult | None = None
    shadow: ShadowResult | None = None


_ROUND = TypeAdapter(ServiceRound)


@dataclass(kw_only=True)
class _State:
    """What a round continues from, besides the weights."""

    anchor: str = ""
    """The published version from which they have been learnt."""
    round: int = 0
    num_steps: int = 0
    until: float = 0.0
    """Up to which sessions have been learnt from."""
    starts: list[float] = field(default_factory=list)
    """The same before each round that is replayed, oldest first."""
    seed: int = 0
    held_out: float = 0.0
    """Settings of the last round, which decide who was held out."""
    unfinished: dict[str, Any] | None = None
    """The last round, if it is not known to be in the list of rounds: a new version may have to be decided on."""


class OnlineService:
    """Learns from a server's database, and publishes versions of the model.

    Only one process at a time can do so for a folder of versions.

    Args:
        database: of a server, which may be running.
        folder: of the versions that it serves; what is learnt but not published is in its folder `learning`.
        clock: seconds since 1970.
        env: whose items the server recommends; by default made as the database describes it.

    Raises:
        ValueError: the database or the folder cannot be used, or another process learns for the folder; one line.
    """

    def __init__(
        self,
        database: Path,
        folder: Path,
        *,
        learning: OnlineConfig,
        publication: PublicationConfig,
        policy: ServedPolicy,
        config: ServiceConfig,
        clock: Callable[[], float] = time.time,
        env: Any = None,
    ) -> None:
        self.versions, self._database, self._clock = ModelVersions(folder), database, clock
        self.learning, self.publication, self.policy, self.config = learning, publication, policy, config
        self.num_completed = 0
        """Sessions that were completed at the last look, and not learnt from before it."""
        self.rounds: list[ServiceRound] = []
        """All finished rounds."""
        self._lock = FileLock(folder / ".learning.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{printable(folder)}: another process learns for these versions") from None
        try:
            with reading(database) as db:
                fingerprint, about = read_about(db)
            self._env = env or served_env(about["env_id"], about["env_arguments"])
            present = ServedCatalog(self._env.simulator, about["env_id"], about["env_arguments"]).fingerprint
            if present != fingerprint:
                raise ValueError(
                    f"{printable(database)}: is of the catalogue {fingerprint}, but {about['env_id']} now has {present}"
                )
            self._served = ServedSessions(self._env.simulator, about)
            self._state = _State()
            self.network: LargeModelNetwork
            self._start_from(self.versions.published)
            self._continue()
            self._read_rounds()
            self._check_settings()
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> str:
        """Where the next round starts from, in words."""
        state = self._state
        number = state.round if state.unfinished else state.round + 1
        return f"learning from version {state.anchor}, from round {number} on"

    def close(self) -> None:
        """Let other processes learn for these versions."""
        self._lock.release()

    def round(self) -> ServiceRound | None:
        """Take a round; None if too few sessions have been completed, `num_completed`."""
        now, config, state = self._clock(), self.config, self._state
        if now < state.until:
            warn(
                f"the clock is {state.until - now:,.0f} s behind the last round: new feedback counts from now on, and "
                "sessions completed in that time are learnt from again"
            )
            state.until = now
        self._follow()
        if state.unfinished is not None:  # by a process that was killed
            return self._finish(ServiceRound(**state.unfinished))
        parts = self._parts(state.until, now, held_out=False, max_sessions=config.max_sessions)
        self.num_completed = len(parts)
        if len(parts) < config.min_sessions:
            return None
        published, content = self.versions.network_of(state.anchor), self._content_of(self.network)
        sessions, propensities = self._served.sessions(parts, self.network, content)
        earlier = [
            self._parts(*times, held_out=False, max_sessions=config.max_sessions)
            for times in itertools.pairwise([*state.starts, state.until])
        ]
        replayed = [self._served.sessions(each, self.network, content)[0] for each in earlier if each]
        learner = OnlineLearner(self.network, content, self.learning, config.seed + state.round, published)
        found = learner.learn(sessions, replayed, self._importance(sessions, propensities))
        starts = [*state.starts, state.until]
        state.starts = starts[max(len(starts) - self.learning.replayed_rounds, 0) :]
        state.seed, state.held_out = config.seed, self.publication.held_out
        state.round, state.num_steps, state.until = state.round + 1, state.num_steps + sessions.num_steps, now
        result = ServiceRound(
            number=state.round,
            time=now,
            num_sessions=len(sessions),
            num_steps=sessions.num_steps,
            mean_return=found.mean_return,
            divergence=found.divergence,
            is_reverted=found.is_reverted,
        )
        state.unfinished = asdict(result)
        self._save()  # from now on, no session of the round is learnt from again
        return self._finish(result)

    def _finish(self, result: ServiceRound) -> ServiceRound:
        """Decide on the present network as a new version, if it is time to, and add the round to the list."""
        if result.number % self.learning.deploy_every == 0 and not result.is_reverted:
            result = self._decide(result)
        rounds = [*self.rounds, result]
        lines = "".join(json.dumps(asdict(each)) + "\n" for each in rounds)
        write_atomically(self.versions.folder / ROUNDS, lines.encode())
        self.rounds = rounds
        self._state.unfinished = None
        self._save()
        return result

    def _parts(self, since: float, until: float, *, held_out: bool, max_sessions: int) -> list[ServedPart]:
        """The newest parts completed in (since, until], of the people held out or of the others."""
        history = functools.partial(self._served.new_history, self.network.config.max_tokens)
        idle = 60.0 * self.config.idle_minutes
        parts = read_parts(self._database, history, since=since, until=until, idle=idle)
        return [part for part in parts if self._is_held_out(part.person) == held_out][-max_sessions:]

    def _is_held_out(self, person: str) -> bool:
        """The same in all rounds, so that nobody is learnt from in one and evaluated in another."""
        digest = hashlib.sha256(f"{self.config.seed}/{person}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.publication.held_out * 2.0**64

    def _importance(self, sessions: Sessions, propensities: torch.Tensor) -> torch.Tensor:
        """[B, T]: min(1, policy / propensity) of each slate (the truncated weights of Espeholt et al., "IMPALA", ICML
        2018)."""
        is_shown = sessions.candidates.gather(2, sessions.slates) >= 0  # [B, T, S]
        own = sessions.log_probabilities.where(is_shown, 0.0).sum(2)
        return (own - propensities).clamp(max=0.0).exp()

    def _decide(self, result: ServiceRound) -> ServiceRound:
        """The result with the decision on the present network as a new version, which is carried out."""
        config, state = self.publication, self._state
        published = self.versions.network_of(state.anchor)
        if version_of(self.network) == version_of(published):  # the process was killed when it had published it
            return result
        since = result.time - 86_400.0 * config.days
        parts = self._parts(since, result.time, held_out=True, max_sessions=config.evaluated_sessions)
        num_people = len({part.person for part in parts})
        if num_people < 2:
            reason = f"held-out people with completed sessions: {num_people}, must be at least 2"
            return replace(result, decision="wait", reasons=(reason,))
        network, served = self.network, self._served
        found = off_policy_test(network, published, parts, served, self._content_of, self.policy)
        result = replace(result, off_policy=found)
        if found.objections(config):
            return self._refuse(result, found.objections(config))
        if found.missing(config):
            return replace(result, decision="wait", reasons=tuple(found.missing(config)))
        version = self.versions.add(network)
        new, old = (ExportedModel(self.versions.export_of(each)) for each in (version, state.anchor))
        shadow = shadow_test(new, old, self._env.simulator, parts, served, config.shadow_requests)
        result = replace(result, shadow=shadow)
        if shadow.objections(config):
            return self._refuse(result, shadow.objections(config))
        if self.versions.published != state.anchor or self.versions.is_withdrawn(version):
            return replace(result, decision="wait", reasons=("another version was published meanwhile",))
        evidence = {"round": result.number, "off_policy": asdict(found), "shadow": asdict(shadow)}
        self.versions.publish(version, f"round {result.number} of online learning", evidence)
        self.versions.prune(_NUM_VERSIONS)
        state.anchor = version
        return replace(result, decision="publish", version=version)

    def _refuse(self, result: ServiceRound, reasons: list[str]) -> ServiceRound:
        self._start_from(self._state.anchor)
        return replace(result, decision="refuse", reasons=tuple(reasons))

    def _content_of(self, network: LargeModelNetwork) -> ItemContent:
        return network.content_of(self._env)

    def _start_from(self, version: str) -> None:
        """Go on from a version, and forget what was learnt after it."""
        self._state.anchor, self.network = version, self.versions.network_of(version)

    def _continue(self) -> None:
        """Go on from the latest checkpoint, if there is one."""
        folder = self.versions.folder / STATE
        try:
            load_latest(folder, warn, self._restore)
        except ValueError as error:
            raise ValueError(
                f"{error}; delete {printable(folder)} to learn from all feedback again, from the published version on"
            ) from None
        self._follow()

    def _read_rounds(self) -> None:
        """Read the list of rounds, without those that are not in the checkpoint and will be taken again."""
        path, state = self.versions.folder / ROUNDS, self._state
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                self.rounds.append(_ROUND.validate_json(line))
            except ValidationError:
                raise ValueError(f"{printable(path)}: line {number} is not a round of online learning") from None
        self.rounds = [each for each in self.rounds if each.number <= state.round]
        if state.unfinished and self.rounds and self.rounds[-1].number == state.round:
            # The process was killed after it had listed the round, and the checkpoint is from before the decision.
            if self.rounds[-1].decision == "refuse":
                self._start_from(state.anchor)
            state.unfinished = None
            self._save()

    def _follow(self) -> None:
        """Start from the published version if it has changed: by a roll-back, or by another process."""
        published = self.versions.published
        if self._state.anchor != published:
            self._start_from(published)

    def _check_settings(self) -> None:
        """Warn of settings by which the off-policy test would be wrong."""
        state, selection = self._state, read_selection(self._database)
        held_out = self.publication.held_out
        if selection not in (None, self.policy.selection):
            warn(
                f"--selection {self.policy.selection}: the server's newest slate was selected by {selection}; "
                "must be as the server was started"
            )
        if state.round and (self.config.seed != state.seed or held_out > state.held_out):
            warn(
                f"--seed {self.config.seed} --held-out {held_out:g}: were {state.seed} and {state.held_out:g} before; "
                "the model has learnt from some of the people who are held out now"
            )

    def _save(self) -> None:
        """Write a checkpoint."""
        state = {"network": self.network.settings(), **asdict(self._state)}
        checkpoint = Checkpoint(model=self.network.trained_weights(), optimizer={}, state=state)
        save_checkpoint(self.versions.folder / STATE, checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        values = {each.name: checkpoint.state[each.name] for each in fields(_State)}
        self._state = _State(**values)
        self.network = rebuild(checkpoint.state["network"], checkpoint.model).eval()
