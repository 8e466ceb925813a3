"""MaskablePPO of sb3-contrib, which asks the env for the candidates that exist, with its default settings."""

from held_out import Progress, read_arguments
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3_ppo import NUM_ENVS, ROLLOUT_STEPS, Curve, best_actions_of

import recsim_env  # noqa: F401  (registers the ids)

ENV_ID = "recsim_env/Video-v0"


def main() -> None:
    arguments = read_arguments(__doc__, steps=50_000)
    progress = Progress("sb3-contrib-maskable-ppo", ENV_ID, arguments)
    env = make_vec_env(ENV_ID, n_envs=NUM_ENVS, seed=arguments.seed, env_kwargs={"split": "train"})
    n_steps = min(ROLLOUT_STEPS, arguments.steps // NUM_ENVS)
    model = MaskablePPO("MultiInputPolicy", env, n_steps=n_steps, seed=arguments.seed)
    model.learn(arguments.steps, callback=Curve(progress))
    progress.finish(best_actions_of(model))


if __name__ == "__main__":
    main()
