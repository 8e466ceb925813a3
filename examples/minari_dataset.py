"""Record sessions as a Minari data set, infos included, and read it back.

`--steps` is the number of recorded sessions. The data set goes into Minari's folder (`MINARI_DATASETS_PATH`).
"""

import gymnasium
import minari
import numpy as np
from held_out import Progress, num_rows, read_arguments

ENV_ID = "recsim_env/Video-v0"
DATASET_ID = "recsim/video/most-relevant-v0"
EPSILON = 0.2


def main() -> None:
    arguments = read_arguments(__doc__, steps=200)
    env = minari.DataCollector(gymnasium.make(ENV_ID, split="train"), record_infos=True)
    generator = np.random.default_rng(arguments.seed)

    def policy(observations):
        """Mostly the most relevant candidate, the first; sometimes a random one, so that the data set covers all."""
        is_random = generator.random(num_rows(observations)) < EPSILON
        return np.where(is_random, generator.integers(0, env.action_space.n, len(is_random)), 0)

    for session in range(arguments.steps):
        observation, _ = env.reset(seed=arguments.seed + session)
        is_over = False
        while not is_over:
            batch = {name: part[None] for name, part in observation.items()}
            observation, _, terminated, truncated, _ = env.step(int(policy(batch)[0]))
            is_over = terminated or truncated

    if DATASET_ID in minari.list_local_datasets():
        minari.delete_dataset(DATASET_ID)
    env.create_dataset(
        DATASET_ID,
        algorithm_name=f"most relevant candidate, epsilon {EPSILON}",
        description=f"Sessions of {ENV_ID}, users and items of the training split.",
        requirements=["recsim-env"],
    )

    dataset = minari.load_dataset(DATASET_ID)
    mean_return = np.mean([episode.infos["reward_rating"].sum() for episode in dataset.iterate_episodes()])
    print(f"{dataset.total_episodes} sessions, {dataset.total_steps} steps, return {mean_return:.1f}")
    print(f"the env of the data set: {dataset.recover_environment()}")
    Progress("minari-dataset-policy", ENV_ID, arguments).finish(policy)


if __name__ == "__main__":
    main()
