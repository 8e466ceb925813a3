"""PPO of TorchRL, after its own implementation for MuJoCo, on the native vector env."""

import gymnasium
import torch
from held_out import Progress, read_arguments
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.data.replay_buffers import LazyTensorStorage, ReplayBuffer
from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement
from torchrl.envs import GymWrapper
from torchrl.modules import MLP, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import recsim_env  # noqa: F401  (registers the ids)

ENV_ID = "recsim_env/VideoFlat-v0"
NUM_ENVS, FRAMES_PER_BATCH, BATCH_SIZE, NUM_EPOCHS = 8, 2_048, 64, 10
LEARNING_RATE, GAMMA, GAE_LAMBDA, MAX_GRAD_NORM = 3e-4, 0.99, 0.95, 0.5


def network(num_inputs: int, num_outputs: int) -> MLP:
    mlp = MLP(num_inputs, num_outputs, num_cells=[64, 64], activation_class=nn.Tanh)
    for module in mlp.modules():
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, 1.0)
            nn.init.zeros_(module.bias)
    return mlp


def main() -> None:
    arguments = read_arguments(__doc__, steps=50_000)
    progress = Progress("torchrl-ppo", ENV_ID, arguments)
    torch.manual_seed(arguments.seed)
    envs = gymnasium.make_vec(ENV_ID, NUM_ENVS, split="train", autoreset_mode="SameStep")  # as TorchRL expects
    env = GymWrapper(envs, categorical_action_encoding=True)
    env.set_seed(arguments.seed)
    num_inputs, num_actions = env.observation_spec["observation"].shape[-1], env.action_spec.space.n
    actor = network(num_inputs, num_actions)
    policy = ProbabilisticActor(
        TensorDictModule(actor, in_keys=["observation"], out_keys=["logits"]),
        spec=env.action_spec,
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    value = ValueOperator(network(num_inputs, 1), in_keys=["observation"])
    collector = Collector(
        env,
        policy,
        frames_per_batch=FRAMES_PER_BATCH,
        total_frames=arguments.steps,
        auto_register_policy_transforms=True,
    )
    buffer = ReplayBuffer(
        storage=LazyTensorStorage(FRAMES_PER_BATCH), sampler=SamplerWithoutReplacement(), batch_size=BATCH_SIZE
    )
    advantages = GAE(gamma=GAMMA, lmbda=GAE_LAMBDA, value_network=value, average_gae=True)
    loss_module = ClipPPOLoss(policy, value, clip_epsilon=0.2, entropy_coeff=0.0)
    optimizer = torch.optim.Adam(loss_module.parameters(), LEARNING_RATE)

    def best_actions(observations):
        with torch.no_grad():
            return actor(torch.as_tensor(observations)).argmax(-1)

    num_frames = 0
    for batch in collector:
        for _ in range(NUM_EPOCHS):
            advantages(batch)
            buffer.extend(batch.reshape(-1))
            for _ in range(FRAMES_PER_BATCH // BATCH_SIZE):
                losses = loss_module(buffer.sample())
                loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                loss.backward()
                nn.utils.clip_grad_norm_(loss_module.parameters(), MAX_GRAD_NORM)
                optimizer.step()
                optimizer.zero_grad()
        num_frames += batch.numel()
        progress.point(num_frames, best_actions)
    progress.finish(best_actions)


if __name__ == "__main__":
    main()
