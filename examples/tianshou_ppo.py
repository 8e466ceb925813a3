"""PPO of Tianshou's high-level API."""

import torch
from held_out import Progress, read_arguments
from tianshou.highlevel.config import OnPolicyTrainingConfig
from tianshou.highlevel.env import EnvFactoryRegistered, VectorEnvType
from tianshou.highlevel.experiment import ExperimentConfig, PPOExperimentBuilder
from tianshou.highlevel.params.algorithm_params import PPOParams
from tianshou.highlevel.trainer import EpochTestCallback

import recsim_env  # noqa: F401  (registers the ids)

ENV_ID = "recsim_env/VideoFlat-v0"


def best_actions_of(algorithm):
    def best_actions(observations):
        with torch.no_grad():
            probabilities, _ = algorithm.policy.actor(observations)
        return probabilities.argmax(-1)

    return best_actions


class Curve(EpochTestCallback):
    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def callback(self, epoch, env_step, context) -> None:
        self.progress.point(env_step or 0, best_actions_of(context.algorithm))


def main() -> None:
    arguments = read_arguments(__doc__, steps=50_000)
    progress = Progress("tianshou-ppo", ENV_ID, arguments)
    experiment = (
        PPOExperimentBuilder(
            EnvFactoryRegistered(task=ENV_ID, venv_type=VectorEnvType.DUMMY, split="train"),
            ExperimentConfig(seed=arguments.seed, persistence_enabled=False, watch=False),
            OnPolicyTrainingConfig(
                max_epochs=arguments.points,
                epoch_num_steps=arguments.steps // arguments.points,
                num_training_envs=10,
                num_test_envs=10,
                collection_step_num_env_steps=min(2_000, arguments.steps),
                buffer_size=4_000,
                batch_size=64,
                update_step_num_repetitions=10,
            ),
        )
        .with_ppo_params(PPOParams(lr=3e-4, gamma=0.99, gae_lambda=0.95))
        .with_actor_factory_default(hidden_sizes=(64, 64))
        .with_critic_factory_default(hidden_sizes=(64, 64))
        .with_epoch_test_callback(Curve(progress))
        .build()
    )
    result = experiment.run()
    progress.finish(best_actions_of(result.world.algorithm))


if __name__ == "__main__":
    main()
