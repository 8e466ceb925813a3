"""Lambda-returns of a rollout (Sutton 1988).

Shape legend: N sessions in parallel, T steps of a rollout.
"""

import torch


def lambda_returns(
    rewards: torch.Tensor, is_over: torch.Tensor, next_values: torch.Tensor, *, gamma: float, lambda_: float
) -> torch.Tensor:
    """[T, N]: G_t = r_t + gamma ((1 - lambda) V_t+1 + lambda G_t+1), with V for G after the rollout's last step.

    `rewards`, `is_over` and `next_values` are [T, N]; V_t+1 is the value of the state after step t, and counts as 0
    (as G_t+1 does) where step t ended the session.
    """
    returns = torch.empty_like(rewards)
    following = next_values[-1]
    for step in reversed(range(len(rewards))):
        beyond = (1.0 - lambda_) * next_values[step] + lambda_ * following
        following = rewards[step] + gamma * torch.where(is_over[step], 0.0, beyond)
        returns[step] = following
    return returns
