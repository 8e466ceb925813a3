"""REINFORCE with a top-K off-policy correction: a softmax over candidates that learns from what its older self showed.

Chen, Beutel, Covington, Jain, Belletti and Chi, "Top-K off-policy correction for a REINFORCE recommender system",
WSDM 2019: the gradient is corrected for the policy that showed the items, and for an item standing on a slate with
others, and not alone.

Shape legend: N sessions side by side, T steps of a rollout, B = N * T steps of a batch, M candidates, S = K slots.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from agents.candidate_scorer import CandidateScorer, ScorerSizes
from agents.milestones import Milestones
from agents.torch_learner import TorchLearner


def behaviour_log_probs(scores: torch.Tensor, candidate_mask: torch.Tensor, exploration: float) -> torch.Tensor:
    """[..., M]: log of (1 - exploration) softmax(scores) + exploration / (number of candidates that are there).

    A missing candidate, whose `candidate_mask` is 0, gets -inf.
    """
    uniform = candidate_mask / candidate_mask.sum(-1, keepdim=True).clamp(min=1.0)
    return ((1.0 - exploration) * torch.softmax(scores, -1) * candidate_mask + exploration * uniform).log()


def draw_slates(log_probs: torch.Tensor, slate_size: int, generator: torch.Generator) -> torch.Tensor:
    """[..., S] int64: items drawn one after the other without replacement, with probabilities exp(log_probs) [..., M].

    The S largest of log p + Gumbel noise are such draws, in that order.
    """
    uniform = torch.rand(log_probs.shape, generator=generator, device=log_probs.device)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1.0 - 1e-7)))
    return (log_probs + gumbel).topk(slate_size, -1).indices


def gradient_weights(
    log_probs: torch.Tensor, logged_log_probs: torch.Tensor, slate_size: int, cap: float
) -> torch.Tensor:
    """min(pi / beta, cap) K (1 - pi)^(K - 1): what the gradient of log pi(a | s) is weighed by, besides the advantage.

    `log_probs` are of the policy pi that learns, `logged_log_probs` of beta, which showed the item; any shape. K is
    the slate size: with 1 the second factor is 1.
    """
    importance = (log_probs - logged_log_probs).exp().clamp(max=cap)
    return importance * slate_size * (1.0 - log_probs.exp()).clamp(min=0.0) ** (slate_size - 1)


def returns_to_go(rewards: np.ndarray, is_over: np.ndarray, last_values: np.ndarray, gamma: float) -> np.ndarray:
    """[T, N]: G_t = r_t + gamma G_{t+1}; nothing follows a step that ends its session, and `last_values` [N] the last.

    A session that is truncated is over as one that the user left is: the horizon is fixed, and the observation says
    how much of it is gone.
    """
    returns, following = np.zeros_like(rewards), last_values
    for step in range(len(rewards) - 1, -1, -1):
        following = rewards[step] + gamma * np.where(is_over[step], 0.0, following)
        returns[step] = following
    return returns


class PolicyAndBaseline(nn.Module):
    def __init__(self, sizes: ScorerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.policy, self.critic = CandidateScorer(sizes), CandidateScorer(sizes)
        self.value = nn.Linear(sizes.width, 1)

    def forward(self, observations):
        if SEP:
            return self.policy(observations)[1], self.value(self.critic(observations)[0]).squeeze(1)
        st, sc = self.policy(observations)
        return sc, self.value(st).squeeze(1)

SEP = False
VERBOSE = False

class ReinforceTopK(TorchLearner):
    def __init__(self, *, num_envs=64, rollout=50, width=64, lr=1e-3, gamma=0.97, lam=1.0, exploration=0.1, cap=3.0, epochs=4, batch=400, ent=0.01, vcoef=0.5, norm=True, clip=0.5, anneal=True, device="cpu"):
        super().__init__(num_envs=num_envs, width=width, device=device)
        self.__dict__.update(rollout=rollout, lr=lr, gamma=gamma, lam=lam, exploration=exploration, cap=cap, epochs=epochs, batch=batch, ent=ent, vcoef=vcoef, norm=norm, clip=clip, anneal=anneal)

    def make_network(self, sizes):
        return PolicyAndBaseline(sizes)

    def scores(self, observations):
        return self.network(observations)[0]

    def learn(self, env_id, env_options, num_steps, seed, report=None, report_every=0):
        env = self.start_learning(env_id, env_options, seed)
        net = self.network
        g = torch.Generator(self.device).manual_seed(seed)
        opt = torch.optim.Adam(net.parameters(), lr=self.lr, eps=1e-5)
        S = env.simulator.config.slate_size
        M = env.simulator.layout.num_candidates
        scale = 1.0
        ms = Milestones(report, report_every, num_steps); ms.begin()
        obs, _ = env.reset(seed=seed)
        taken = 0
        per = self.num_envs * self.rollout
        n_it = max(1, num_steps // per)
        for it in range(n_it):
            if self.anneal:
                for gr in opt.param_groups: gr["lr"] = self.lr * (1 - it / n_it)
            O, A, L, R, D, V = [], [], [], [], [], []
            for _ in range(self.rollout):
                t = self.tensors(obs)
                with torch.no_grad():
                    sc, v = net(t)
                    lp = behaviour_log_probs(sc, t["candidate_mask"], self.exploration)
                    a = draw_slates(lp, S, g)
                    L.append(lp.gather(1, a)); A.append(a); O.append(t); V.append(v)
                act = a.cpu().numpy()
                obs, r, te, tr, _ = env.step(act[:, 0] if S == 1 else act)
                R.append(r); D.append(te | tr)
            with torch.no_grad():
                last = net(self.tensors(obs))[1] * scale
            R, D = np.stack(R), np.stack(D)
            V = torch.stack(V).cpu().numpy() * scale
            last = last.cpu().numpy()
            # lambda
            G = np.zeros_like(R); nxt = last; nv = last
            for s in range(len(R) - 1, -1, -1):
                b = (1 - self.lam) * nv + self.lam * nxt
                nxt = R[s] + self.gamma * np.where(D[s], 0, b); G[s] = nxt; nv = V[s]
            if it == 0: scale = G.std()
            t = {k: torch.cat([o[k] for o in O]) for k in O[0]}
            A, L = torch.cat(A), torch.cat(L)
            G = torch.as_tensor(G.reshape(-1), dtype=torch.float32)
            adv = G - torch.as_tensor(V.reshape(-1), dtype=torch.float32)
            ev = 1 - (adv.var() / G.var()).item()
            if self.norm: adv = adv / adv.std()
            B = len(G)
            stats = []
            for _ in range(self.epochs):
                perm = torch.randperm(B, generator=g)
                for i in range(0, B - self.batch + 1, self.batch):
                    ix = perm[i:i + self.batch]
                    sc, v = net({k: x[ix] for k, x in t.items()})
                    lps = torch.log_softmax(sc, 1)
                    la = lps.gather(1, A[ix])
                    w = gradient_weights(la.detach(), L[ix], S, self.cap)
                    pg = -(w * adv[ix, None] * la).sum(1).mean()
                    H = -(lps.exp() * lps).sum(1).mean()
                    vl = ((v - G[ix] / scale) ** 2).mean()
                    loss = pg + self.vcoef * vl - self.ent * H
                    opt.zero_grad(); loss.backward()
                    gn = nn.utils.clip_grad_norm_(net.parameters(), self.clip)
                    opt.step()
                    stats.append((pg.item(), H.item(), vl.item(), gn.item(), w.max().item(), w.mean().item()))
            taken += per
            if VERBOSE and it % max(1, n_it // 8) == 0:
                s = np.mean(stats, 0)
                print(f"{taken:7d} pg {s[0]:.3f} H {s[1]:.3f} vl {s[2]:.3f} gn {s[3]:.2f} wmax {s[4]:.1f} wmean {s[5]:.2f} ev {ev:.2f} rew/step {R.mean():.2f} ret/sess {R.sum()/max(1,D.sum()):.1f}", flush=True)
            ms.reach(taken)
        env.close(); ms.end(taken)
