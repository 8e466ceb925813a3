"""A callback that records the training of any agent in trackers."""

from typing import TYPE_CHECKING, Any

from agents.agent import NotFittedError
from agents.callbacks import EveryNSteps
from agents.rollouts.evaluation import evaluate
from agents.tracking.tracker import Tracker

if TYPE_CHECKING:
    from agents.agent import Agent


class TrackedTraining(EveryNSteps):
    """Records the progress of training every `num_steps` user-steps and at the end.

    The metrics are those of the training (`Agent.training_metrics`), with the prefix `training/`, and, with an `env`,
    those of an evaluation: `return`, its standard error `return_sem`, `session_length` in steps, and `churn`, the share
    of sessions that the user left. The agent is also evaluated before training if it can act untrained.

    Args:
        tracker: a tracker, such as that of `agents.tracking.tracked_run`.
        num_steps: user-steps between records; 0 for the start and the end only.
        env: a vector env for evaluations, with one session per lane, the same in each evaluation. None to skip
            evaluations.
        seed: seed of the first session.
    """

    def __init__(self, tracker: Tracker, num_steps: int, env: Any = None, seed: int = 0) -> None:
        super().__init__(num_steps, self._record)
        self._tracker, self._env, self._seed, self._resumed_at = tracker, env, seed, 0

    def on_training_start(self, agent: "Agent", total_timesteps: int) -> None:
        self._resumed_at = agent.num_timesteps  # already recorded by the earlier training
        super().on_training_start(agent, total_timesteps)

    def _record(self, agent: "Agent") -> None:
        if 0 < agent.num_timesteps == self._resumed_at:
            return
        metrics: dict[str, Any] = {f"training/{name}": value for name, value in agent.training_metrics.items()}
        if self._env is not None:
            try:
                evaluation = evaluate(agent, self._env, seed=self._seed)
            except NotFittedError:
                if agent.num_timesteps:
                    raise
            else:
                metrics |= {
                    "return": evaluation.mean_return,
                    "return_sem": evaluation.return_sem,
                    "session_length": evaluation.mean_length,
                    "churn": evaluation.churn,
                }
        if metrics:
            self._tracker.log(agent.num_timesteps, metrics)
