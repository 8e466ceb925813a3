"""The large model behind the protocol of agents: trained by its three stages, played by arg-max."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.agent import Env, Learner, NotFittedError, Observations
from agents.callbacks import Milestones
from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import Processes
from agents.large_model.factory import learnt_weights, settings_of
from agents.large_model.model import LargeModel
from agents.large_model.policy_runner import Follower
from agents.large_model.rollout import PLAYS, Behaviour
from agents.large_model.trained_model import KEPT_BY, load_kept
from agents.large_model.training import Training
from agents.saved_tensors import save_tensors
from recsim_env.config import check_number


class LargeModelAgent(Learner):
    """Learns by supervision, then from an oracle's scores if asked to, then by reinforcement.

    Args:
        supervised_share: of the steps, in which what is answered is learnt, and shown what is expected to be liked.
        distillation_share: of the steps, in which an oracle that reads the latent state of the training world says
            what it makes of each candidate.
        play: what is shown once it has learnt: "best" of the policy, or "expected", what supervision alone expects
            most reward of.
        reads_history: False plays by profile and candidates alone, once it has learnt.
        device: where it computes: "cpu", "cuda".
        is_compiled: whether the trunk is compiled (torch.compile) while it learns; pays on a GPU.
        settings: fields of `TrainingConfig`.
    """

    observation = "compact"

    def __init__(
        self,
        *,
        supervised_share: float = 0.3,
        distillation_share: float = 0.0,
        play: str = "best",
        reads_history: bool = True,
        device: str = "cpu",
        is_compiled: bool = False,
        **settings: Any,
    ) -> None:
        check_number("supervised_share", supervised_share, 0.0, 1.0)
        check_number("distillation_share", distillation_share, 0.0, 1.0 - supervised_share)
        if play not in PLAYS:
            raise ValueError(f"play={play!r}: must be one of {', '.join(PLAYS)}")
        self.supervised_share, self.distillation_share, self.play = supervised_share, distillation_share, play
        self.reads_history, self.is_compiled = reads_history, is_compiled
        self.device, self.settings = torch.device(device), {"num_catalogs": 1, "num_envs": 64, **settings}
        self.model: LargeModel | None = None

    def config(self, env_id: str, env_options: dict[str, Any], num_steps: int, seed: int) -> TrainingConfig:
        """What `learn` trains."""
        supervised = round(num_steps * self.supervised_share)
        distillation = round(num_steps * self.distillation_share)
        return TrainingConfig(
            **{
                "env_ids": (env_id,),
                "env_options": env_options,
                "seed": seed,
                "supervised_steps": supervised,
                "distillation_steps": distillation,
                "reinforcement_steps": num_steps - supervised - distillation,
                **self.settings,
            }
        )

    def learn(
        self,
        env_id: str,
        env_options: dict[str, Any],
        num_steps: int,
        seed: int,
        report: Callable[[int], None] | None = None,
        report_every: int = 0,
    ) -> None:
        """As `Learner.learn`; sessions are played to their end, so up to one for each env more than `num_steps`."""
        config, processes = self.config(env_id, env_options, num_steps, seed), Processes(device=self.device)
        training = Training(config, processes, is_compiled=self.is_compiled)
        self.model = training.model
        milestones = Milestones(report, report_every, num_steps)
        milestones.begin()
        while not training.is_over:
            training.iterate()
            milestones.reach(training.num_steps)
        training.worlds.close()
        milestones.end(training.num_steps)

    def begin(self, env: Env, seed: int = 0) -> None:
        super().begin(env, seed)
        if self.model is None:
            raise NotFittedError
        self._follower = Follower(self.model, env, Behaviour(play=self.play), seed, self.reads_history)

    def act(self, observations: Observations, is_first: np.ndarray) -> np.ndarray:
        slates = self._follower.slates(observations, is_first)
        return slates[:, 0] if self.slate_size == 1 else slates

    def save(self, path: Path) -> None:
        if self.model is None:
            raise NotFittedError
        weights = {name: weight.detach().cpu().numpy() for name, weight in learnt_weights(self.model).items()}
        save_tensors(path, KEPT_BY, weights, settings_of(self.model))

    def load(self, path: Path) -> None:
        self.model = load_kept(path, self.settings.get("language_model", "")).to(self.device)
