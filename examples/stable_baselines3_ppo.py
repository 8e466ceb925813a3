"""PPO of Stable-Baselines3 with its default policy and settings."""

from held_out import Policy, Progress, read_arguments
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

import recsim_env  # noqa: F401  (registers the ids)

ENV_ID = "recsim_env/Video-v0"
NUM_ENVS, ROLLOUT_STEPS = 8, 2_048  # steps of SB3's default


def best_actions_of(model: BaseAlgorithm) -> Policy:
    return lambda observations: model.predict(observations, deterministic=True)[0]


class Curve(BaseCallback):
    """Evaluates the policy at the points of the learning curve."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def _on_step(self) -> bool:
        self.progress.point(self.num_timesteps, best_actions_of(self.model))
        return True


def main() -> None:
    arguments = read_arguments(__doc__, steps=50_000)
    progress = Progress("sb3-ppo", ENV_ID, arguments)
    env = make_vec_env(ENV_ID, n_envs=NUM_ENVS, seed=arguments.seed, env_kwargs={"split": "train"})
    n_steps = min(ROLLOUT_STEPS, arguments.steps // NUM_ENVS)  # shorter in short trainings
    model = PPO("MultiInputPolicy", env, n_steps=n_steps, seed=arguments.seed)
    model.learn(arguments.steps, callback=Curve(progress))
    progress.finish(best_actions_of(model))


if __name__ == "__main__":
    main()
