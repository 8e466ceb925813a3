"""PPO of RLlib with the networks and settings of Stable-Baselines3, as RLlib's own defaults learn slowly here."""

import torch
from held_out import Progress, read_arguments
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

ENV_ID = "recsim_env/VideoFlat-v0"


def main() -> None:
    arguments = read_arguments(__doc__, steps=50_000)
    progress = Progress("rllib-ppo", ENV_ID, arguments)
    config = (
        PPOConfig()
        .environment(f"recsim_env:{ENV_ID}", env_config={"split": "train"})  # the part before ":" is imported
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8, gym_env_vectorize_mode="vector_entry_point")
        .training(lr=0.0003, lambda_=0.95, train_batch_size_per_learner=2_048, minibatch_size=64, num_epochs=10)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
        .debugging(seed=arguments.seed, log_level="ERROR")
    )
    algorithm = config.build_algo()

    def best_actions(observations):
        with torch.no_grad():
            outputs = algorithm.get_module().forward_inference({"obs": torch.as_tensor(observations)})
        return outputs["action_dist_inputs"].argmax(-1)

    num_steps = 0
    while num_steps < arguments.steps:
        results = algorithm.train()
        num_steps = int(results["num_env_steps_sampled_lifetime"])
        progress.point(num_steps, best_actions)
    progress.finish(best_actions)
    algorithm.stop()


if __name__ == "__main__":
    main()
