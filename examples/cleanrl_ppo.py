"""PPO in one file, after CleanRL's ppo.py with its default settings, on the native vector env."""

import gymnasium
import numpy as np
import torch
from held_out import Progress, read_arguments
from torch import nn
from torch.distributions import Categorical

import recsim_env  # noqa: F401  (registers the ids)

ENV_ID = "recsim_env/VideoFlat-v0"
NUM_ENVS, NUM_STEPS, NUM_MINIBATCHES, NUM_EPOCHS = 4, 128, 4, 4
LEARNING_RATE, GAMMA, GAE_LAMBDA = 2.5e-4, 0.99, 0.95
CLIP, ENTROPY_WEIGHT, VALUE_WEIGHT, MAX_GRAD_NORM = 0.2, 0.01, 0.5, 0.5


def layer(size: int, out: int, gain: float = 2**0.5) -> nn.Linear:
    linear = nn.Linear(size, out)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self, envs: gymnasium.vector.VectorEnv) -> None:
        super().__init__()
        size = envs.single_observation_space.shape[0]
        self.critic = nn.Sequential(layer(size, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        num_actions = envs.single_action_space.n
        self.actor = nn.Sequential(layer(size, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, num_actions, 0.01))

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        return self.critic(observations).squeeze(-1)

    def distribution(self, observations: torch.Tensor) -> Categorical:
        return Categorical(logits=self.actor(observations))

    def best_actions(self, observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.actor(torch.as_tensor(observations)).argmax(-1).numpy()


def main() -> None:
    arguments = read_arguments(__doc__, steps=100_000)
    progress = Progress("cleanrl-ppo", ENV_ID, arguments)
    torch.manual_seed(arguments.seed)
    envs = gymnasium.make_vec(ENV_ID, NUM_ENVS, split="train", autoreset_mode="SameStep")
    agent = Agent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=LEARNING_RATE, eps=1e-5)

    shape = (NUM_STEPS, NUM_ENVS)
    observations = torch.zeros(*shape, envs.single_observation_space.shape[0])
    actions, log_probs, rewards, dones, values = (torch.zeros(shape) for _ in range(5))
    next_observation = torch.as_tensor(envs.reset(seed=arguments.seed)[0])
    next_done = torch.zeros(NUM_ENVS)
    num_updates = max(arguments.steps // (NUM_ENVS * NUM_STEPS), 1)
    for update in range(num_updates):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1.0 - update / num_updates)
        for step in range(NUM_STEPS):
            observations[step], dones[step] = next_observation, next_done
            with torch.no_grad():
                distribution = agent.distribution(next_observation)
                action = distribution.sample()
                values[step] = agent.value(next_observation)
            actions[step], log_probs[step] = action, distribution.log_prob(action)
            observation, reward, terminated, truncated, _ = envs.step(action.numpy())
            next_observation, rewards[step] = torch.as_tensor(observation), torch.as_tensor(reward)
            next_done = torch.as_tensor(terminated | truncated).float()

        with torch.no_grad():  # generalised advantage estimation
            advantages, advantage = torch.zeros(shape), torch.zeros(NUM_ENVS)
            next_value = agent.value(next_observation)
            for step in reversed(range(NUM_STEPS)):
                goes_on = 1.0 - (next_done if step == NUM_STEPS - 1 else dones[step + 1])
                delta = rewards[step] + GAMMA * next_value * goes_on - values[step]
                advantage = delta + GAMMA * GAE_LAMBDA * goes_on * advantage
                advantages[step], next_value = advantage, values[step]
            targets = advantages + values

        batch = [part.flatten(0, 1) for part in (observations, actions, log_probs, advantages, targets, values)]
        for _ in range(NUM_EPOCHS):
            for rows in torch.randperm(NUM_ENVS * NUM_STEPS).chunk(NUM_MINIBATCHES):
                seen, taken, old_log_prob, gain, target, old_value = (part[rows] for part in batch)
                distribution, value = agent.distribution(seen), agent.value(seen)
                ratio = (distribution.log_prob(taken) - old_log_prob).exp()
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = torch.max(-gain * ratio, -gain * ratio.clamp(1.0 - CLIP, 1.0 + CLIP)).mean()
                clipped_value = old_value + (value - old_value).clamp(-CLIP, CLIP)
                value_loss = 0.5 * torch.max((value - target) ** 2, (clipped_value - target) ** 2).mean()
                loss = policy_loss - ENTROPY_WEIGHT * distribution.entropy().mean() + VALUE_WEIGHT * value_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
                optimizer.step()
        progress.point((update + 1) * NUM_ENVS * NUM_STEPS, agent.best_actions)
    progress.finish(agent.best_actions)


if __name__ == "__main__":
    main()
