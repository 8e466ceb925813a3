"""A reward model with differential privacy for people, by stochastic gradient descent with clipping and noise.

Abadi et al., "Deep learning with differential privacy", CCS 2016, with people instead of examples, as in McMahan et
al., "Learning differentially private recurrent language models", ICLR 2018.

Shape legend: B people of a step, T steps of the person with most of them, S slots of a slate.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad, vmap

from agents.agent import NotFittedError
from agents.networks.torch_learner import Tensors
from agents.offline.log_learner import MAX_UPDATES
from agents.offline.logged_steps import LoggedSteps
from agents.private.accountant import NoisySteps, noise_multiplier_for, spent_epsilon
from agents.private.people import People
from agents.private.platform_correction import PlatformCorrection
from agents.private.reward_model import RewardModel, squared_errors
from recsim_env.config import count, number

_PEOPLE_AT_ONCE = 16
"""Whose gradients are in memory at the same time."""

Gradients = dict[str, torch.Tensor]


@dataclass(kw_only=True, eq=False, repr=False)
class PrivateRewardModel(RewardModel):
    """A reward model from which little can be learned about whether a person is in the log: (epsilon, delta)-private.

    It corrects the platform's ranking, whose statistics are taken as public: with a small budget, little but the
    platform's prediction is left. Where they come from the people in the log, as with `live_platform=True` and on most
    real platforms, set `platform_weight=0`, and mind that they are inputs all the same.

    In each step every person takes part with the same probability (Poisson sampling); the gradient of each person's
    mean loss is clipped to the norm `clip_norm`; Gaussian noise is added to their sum. The noise follows from epsilon.
    Adam only sees the noisy gradients. Since it makes steps of one size of gradients of any size, its learning rate is
    divided by the noise multiplier where that is above 1: what noise alone does to the weights tends to 0 with epsilon.

    The guarantee is about the weights: if all the sessions of one person are left out of a log, the probability of any
    set of weights changes by a factor of at most exp(epsilon), up to delta. Two numbers are public: the settings, and
    the number of people, which sets the probability of taking part and the default of delta. Nothing else is taken from
    the log; nothing is normalised by its statistics.

    Sampling and noise come from the operating system's entropy, not from `seed`, which the file contains, so that two
    trainings differ. With `epsilon=inf` gradients are clipped, but there is no noise and no guarantee, and the draws
    come from `seed`. A second training spends a second budget.
    """

    epsilon: float = number(3.0, 1e-3, np.inf)
    """Privacy budget of a training; inf for no noise."""
    delta: float = number(0.0, 0.0, 0.5)
    """Probability with which the bound may fail; 0 for 1 / (10 x number of people)."""
    clip_norm: float = number(1.0, 1e-6, 1e9)
    """Largest norm of the gradient of a person."""
    people_per_step: int = count(256, 1, 1_000_000)
    """Expected number of people in a gradient step."""
    steps_per_person: int = count(100, 1, 1_000_000)
    """Steps of each person that are used, the first in the log."""
    num_updates: int = count(200, 0, MAX_UPDATES)
    """Gradient steps."""
    platform_weight: float = number(2.5, 0.0, 1e6)
    """Reward for each unit of the platform's prediction, which scores start from; 0 to start from nothing. In sessions
    of random slates of simulated people it is 2.3 to 3.1 in Video, News and Ecommerce."""

    def __post_init__(self, env: Any) -> None:
        super().__post_init__(env)
        self._trainings: list[NoisySteps] = []
        self._spent_delta = 0.0

    @property
    def spent(self) -> tuple[float, float]:
        """Epsilon and delta of all trainings together; `NotFittedError` before training."""
        if self._network is None:
            raise NotFittedError
        return spent_epsilon(self._trainings, self._spent_delta), self._spent_delta

    def best_params(self) -> dict[str, Any]:
        """The noise multiplier of the last training, and the privacy spent: `spent_epsilon` (None if infinite) and
        `spent_delta`."""
        epsilon, delta = self.spent
        noise = self._trainings[-1].noise_multiplier if self._trainings else None
        spent = {"spent_epsilon": epsilon if np.isfinite(epsilon) else None, "spent_delta": delta}
        return {"noise_multiplier": noise, **spent}

    def make_network(self, sizes: Any) -> torch.nn.Module:
        return PlatformCorrection(sizes, self.platform_weight)

    def fit(
        self,
        log: LoggedSteps,
        num_updates: int | None = None,
        update: Callable[[int], bool] = lambda num_taken: True,
        generator: np.random.Generator | None = None,
    ) -> None:
        """Train on a log in memory; see `learn_from_log` for `num_updates` and `train` for `update`.

        Args:
            generator: of sampling and noise, for tests and simulations; an attacker who can repeat its draws can
                subtract the noise.

        Raises:
            ValueError: the log has no people, or the budget is too small.
        """
        people, total = People.of(log), self.num_updates if num_updates is None else num_updates
        if len(people) == 0:
            raise ValueError("log: has no people")
        sample_rate = min(self.people_per_step / len(people), 1.0)
        delta = self.delta or 1.0 / (10.0 * len(people))
        noise = noise_multiplier_for(self.epsilon, delta, sample_rate=sample_rate, num_steps=total)
        if generator is None:
            generator = np.random.default_rng(None if noise else [self.seed, self.num_timesteps])
        self.init_new_network()
        self._spent_delta = max(self._spent_delta, delta)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        is_running, num_done = update(0), 0
        before = list(self._trainings)
        while is_running and num_done < total:
            optimizer.param_groups[0]["lr"] = self.learning_rate / max(noise, 1.0) * (1.0 - num_done / total)
            sampled = np.flatnonzero(generator.random(len(people)) < sample_rate)
            rows = [people.rows[person][: self.steps_per_person] for person in sampled]
            gradients = self.clipped_sum(log, rows)
            for name, weight in self.network.named_parameters():
                drawn = generator.standard_normal(weight.shape, dtype=np.float32) * (noise * self.clip_norm)
                weight.grad = (gradients[name] + torch.as_tensor(drawn).to(self.device)) / self.people_per_step
            optimizer.step()
            num_done += 1
            done = NoisySteps(noise_multiplier=noise, sample_rate=sample_rate, num_steps=num_done)
            self._trainings = [*before, done]
            is_running = update(round(len(log) * num_done / total))

    def clipped_sum(self, log: LoggedSteps, people: list[np.ndarray]) -> Gradients:
        """The sum over people, given by their rows in the log, of the gradients of their mean losses, each clipped."""
        total = {name: torch.zeros_like(weight) for name, weight in self.network.named_parameters()}
        people = sorted(people, key=len)  # those with as many steps are together, so that little is padded
        for start in range(0, len(people), _PEOPLE_AT_ONCE):
            for name, part in self._clipped_sum_at_once(log, people[start : start + _PEOPLE_AT_ONCE]).items():
                total[name] += part
        return total

    def _clipped_sum_at_once(self, log: LoggedSteps, people: list[np.ndarray]) -> Gradients:
        lengths = np.array([len(rows) for rows in people])
        places = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # [B, T]: the last step fills the rest
        index = np.stack([rows[place] for rows, place in zip(people, places, strict=True)])
        weights = torch.as_tensor((np.arange(lengths.max()) < lengths[:, None]) / lengths[:, None]).float()
        flat = self.shown(log, index.ravel())
        shown = {name: part.reshape(*index.shape, *part.shape[1:]) for name, part in flat.items()}
        weights_of_network = {name: weight.detach() for name, weight in self.network.named_parameters()}

        def loss(parameters: Gradients, own: Tensors, shares: torch.Tensor) -> torch.Tensor:
            scores = functional_call(self.network, parameters, (own,))[1]
            return (squared_errors(scores, own) * shares).sum()

        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights_of_network, shown, weights.to(self.device))
        squares = torch.stack([part.flatten(1).square().sum(1) for part in gradients.values()])
        factors = (self.clip_norm / squares.sum(0).sqrt().clamp(min=1e-12)).clamp(max=1.0)
        return {name: torch.einsum("b...,b->...", part, factors) for name, part in gradients.items()}

    def learned(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        weights, sizes = super().learned()
        epsilon, delta = self.spent
        trainings = [asdict(each) for each in self._trainings]
        return weights, {"sizes": sizes, "privacy": {"epsilon": epsilon, "delta": delta, "trainings": trainings}}

    def restore(self, tensors: dict[str, np.ndarray], learned: dict[str, Any]) -> None:
        super().restore(tensors, learned["sizes"])
        self._trainings = [NoisySteps(**each) for each in learned["privacy"]["trainings"]]
        self._spent_delta = learned["privacy"]["delta"]
