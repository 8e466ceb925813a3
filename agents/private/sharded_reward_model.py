"""A reward model that can forget people: an ensemble over shards of people, of which a deletion retrains a few.

Bourtoule et al., "Machine unlearning", IEEE Symposium on Security and Privacy 2021 (SISA, with one slice per shard).

Shape legend: N sessions, M candidates, K shards.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import nn

from agents.networks.torch_learner import Tensors
from agents.offline.log_learner import MAX_UPDATES
from agents.offline.logged_steps import LoggedSteps
from agents.private.people import People, person_hash
from agents.private.reward_model import RewardModel, squared_errors
from recsim_env.atomic_file import printable
from recsim_env.config import count
from recsim_env.logs.simulated.log_folder import scan_events
from recsim_env.logs.simulated.user_removal import remove_users
from recsim_env.sb3.candidate_scorer import CandidateScorer, ScorerSizes

_DIGEST_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class ShardSizes(ScorerSizes):
    """Sizes of a `ShardedScorer`."""

    num_shards: int
    """K."""


class ShardedScorer(nn.Module):
    """The mean of the scores of K networks, those of empty shards excepted.

    Its buffers are the number of people in each shard, and the fingerprint of what each network was trained on.
    """

    num_people: torch.Tensor
    fingerprints: torch.Tensor

    def __init__(self, sizes: ShardSizes) -> None:
        super().__init__()
        self.sizes = sizes
        own = ScorerSizes(**{each.name: getattr(sizes, each.name) for each in fields(ScorerSizes)})
        self.shards = nn.ModuleList(CandidateScorer(own) for _ in range(sizes.num_shards))
        self.register_buffer("num_people", torch.zeros(sizes.num_shards, dtype=torch.int64))
        self.register_buffer("fingerprints", torch.zeros(sizes.num_shards, _DIGEST_SIZE, dtype=torch.uint8))

    def forward(self, observations: Tensors) -> torch.Tensor:
        """[N, M]."""
        used = [shard for shard, size in zip(self.shards, self.num_people, strict=True) if size] or [self.shards[0]]
        return torch.stack([shard(observations)[1] for shard in used]).mean(0)


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The work of a deletion."""

    num_people: int
    """People to forget."""
    num_rows: int
    """Rows removed from the log; 0 if they were removed before."""
    shards: list[int]
    """The shards that were retrained."""
    num_updates: int
    """Gradient steps of the retraining."""
    num_updates_of_all: int
    """Gradient steps of training from the start."""


@dataclass(kw_only=True, eq=False, repr=False)
class ShardedRewardModel(RewardModel):
    """A reward model that forgets people exactly, at a fraction of the cost of training from the start.

    A keyed hash assigns each person to one of K shards. Each shard has a network, which is trained on its people alone,
    with the same number of gradient steps, in an order that depends on the seed and the person alone. Scores are means
    over the shards. To forget people, `forget` retrains the shards that held them: the result is, bit for bit, that of
    training on a log in which they never were (with the same number of threads).

    Training on a log retrains the shards whose steps differ from those that they were trained on, and no others.
    """

    sizes_class: ClassVar[type[ScorerSizes]] = ShardSizes

    num_shards: int = count(8, 1, 1_024)
    """K."""
    num_updates: int = count(2_000, 0, MAX_UPDATES)
    """Gradient steps of all shards together."""

    def sizes(self) -> ShardSizes:
        scorer = asdict(ScorerSizes.of(self.layout, width=self.width, has_layer_norm=self.has_layer_norm))
        return ShardSizes(**scorer, num_shards=self.num_shards)

    def make_network(self, sizes: Any) -> ShardedScorer:
        return ShardedScorer(sizes)

    def scores(self, observations: Tensors) -> torch.Tensor:
        return self.network(observations)

    @property
    def updates_of_shard(self) -> int:
        """Gradient steps of a shard."""
        return -(-self.num_updates // self.num_shards)

    def shard_of(self, person: int) -> int:
        """The shard that holds a person, whether in the log or not."""
        return person_hash(person, self.seed, "shard") % self.num_shards

    def fit(
        self, log: LoggedSteps, num_updates: int | None = None, update: Callable[[int], bool] = lambda num_taken: True
    ) -> None:
        """Train the shards whose steps differ from those that they were trained on; see `train` for `update`.

        Raises:
            ValueError: the log has no people; or `num_updates` differs from the setting, which a deletion repeats.
        """
        if num_updates not in (None, self.num_updates):
            raise ValueError(f"num_updates={num_updates}: must be that of the model, {self.num_updates}, or None")
        people = People.of(log)
        if len(people) == 0:
            raise ValueError("log: has no people")
        self.init_new_network()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            untrained = self.make_network(self.sizes()).to(self.device)
        members, stale = self._members(people), self.stale_shards(log)
        num_done, total = 0, max(len(stale) * self.updates_of_shard, 1)

        def count_update() -> bool:
            nonlocal num_done
            num_done += 1
            return update(round(len(log) * num_done / total))

        is_running = update(0)
        for shard in stale:
            self.network.fingerprints[shard] = 0
            self.network.shards[shard] = untrained.shards[shard]
            self.network.num_people[shard] = len(members[shard])
            if len(members[shard]) and is_running:
                is_running = self._train_shard(shard, log, people, members[shard], count_update)
            if is_running:
                self.network.fingerprints[shard] = self._fingerprint(log, people, members[shard])

    def stale_shards(self, log: LoggedSteps) -> list[int]:
        """The shards that were not trained on these steps, with these settings."""
        people = People.of(log)
        members = self._members(people)
        return [
            shard
            for shard in range(self.num_shards)
            if self._network is None
            or not torch.equal(self.network.fingerprints[shard], self._fingerprint(log, people, members[shard]))
        ]

    def forget(self, path: Path | str, people: Collection[int], env: Any = None) -> Deletion:
        """Remove people from the log of the training, and retrain the shards that held them.

        If it is killed, the same call finishes its work.

        Args:
            path: the folder of the log, which is rewritten; see `remove_users`.
            people: users of the log, as in the column `user`; none to retrain after other changes of the log.
            env: as for `learn_from_log`.

        Raises:
            ValueError: no one else is in the log; see also `learn_from_log` and `remove_users`.
        """
        users = scan_events(path).select(pl.col("user").unique()).collect()["user"]
        if set(users) <= set(people):
            raise ValueError(f"{printable(path)}: no one else is in the log; delete the log and the model")
        num_rows = remove_users(path, people)
        log = self.read_log(path, env)
        stale = self.stale_shards(log)
        self.fit(log)
        return Deletion(
            num_people=len(people),
            num_rows=num_rows,
            shards=stale,
            num_updates=self._num_updates(log, stale),
            num_updates_of_all=self._num_updates(log, range(self.num_shards)),
        )

    def _num_updates(self, log: LoggedSteps, shards: Collection[int]) -> int:
        members = self._members(People.of(log))
        return self.updates_of_shard * sum(len(members[shard]) > 0 for shard in shards)

    def _members(self, people: People) -> list[np.ndarray]:
        """K arrays of indices of people."""
        shards = np.array([self.shard_of(person) for person in people.ids.tolist()], np.int64)
        return [np.flatnonzero(shards == shard) for shard in range(self.num_shards)]

    def _train_shard(
        self, shard: int, log: LoggedSteps, people: People, members: np.ndarray, update: Callable[[], bool]
    ) -> bool:
        """Whether the training goes on."""
        network, num_done, epoch = self.network.shards[shard], 0, 0
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        while num_done < self.updates_of_shard:
            keys = [person_hash(person, self.seed, f"epoch {epoch}") for person in people.ids[members].tolist()]
            order = members[np.argsort(np.array(keys, np.uint64), kind="stable")]
            for start in range(0, len(order), self.people_per_step)[: self.updates_of_shard - num_done]:
                batch = [people.rows[person] for person in order[start : start + self.people_per_step]]
                optimizer.param_groups[0]["lr"] = self.learning_rate * (1.0 - num_done / self.updates_of_shard)
                optimizer.zero_grad()
                self._loss(network, log, batch).backward()
                optimizer.step()
                num_done += 1
                if not update():
                    return False
            epoch += 1
        return True

    def _loss(self, network: nn.Module, log: LoggedSteps, people: list[np.ndarray]) -> torch.Tensor:
        """The mean over people, given by their rows, of their mean losses."""
        shown = self.shown(log, np.concatenate(people))
        shares = np.concatenate([np.full(len(rows), 1.0 / len(rows) / len(people), np.float32) for rows in people])
        return (squared_errors(network(shown)[1], shown) * torch.as_tensor(shares).to(self.device)).sum()

    def _fingerprint(self, log: LoggedSteps, people: People, members: np.ndarray) -> torch.Tensor:
        """[32] uint8: SHA-256 of the steps of people, and of the settings that their training depends on."""
        settings = (self.seed, self.num_shards, self.updates_of_shard, self.people_per_step, self.learning_rate)
        digest = hashlib.sha256(repr((settings, self.width, people.ids[members].tolist())).encode())
        if len(members):
            index = np.concatenate([people.rows[person] for person in members])
            for column in (*log.stored.values(), log.slates, log.is_shown, log.rewards):
                digest.update(column[index].tobytes())
        return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8).to(self.device)
