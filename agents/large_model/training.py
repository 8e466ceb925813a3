"""Trains a model: plays sessions in turns, learns from them, writes down how it goes, and goes on where it was killed.

Whole sessions are played afresh in each iteration, from seeds that follow from its number. So a checkpoint need not
hold any of them, and what comes after a restart is what would have come without it.

Shape legend: B sessions, T steps.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from agents.large_model.checkpoint import Checkpoint, CheckpointError
from agents.large_model.config import TrainingConfig
from agents.large_model.distributed import Processes, distributed, gathered
from agents.large_model.factory import check_inputs, check_weights, new_model, settings_of
from agents.large_model.flops import forward_operations, peak_of
from agents.large_model.losses import SessionLoss, Targets
from agents.large_model.plackett_luce import slate_log_probabilities
from agents.large_model.rollout import play
from agents.large_model.sessions import Sessions, lambda_returns
from agents.large_model.sizes import ModelSizes, sizes_named
from agents.large_model.stages import STAGES_WIDTH, Stage
from agents.large_model.timer import Stopwatch
from agents.large_model.worlds import TrainingWorld, TrainingWorlds
from agents.networks.item_content import ItemContent

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_COUNTERS = ("num_steps", "iteration", "num_updates")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is said after each iteration."""

    num_steps: int
    """User-steps so far, of all processes."""
    line: dict[str, Any]
    """What is written into the metrics."""


class Training:
    """One process's part of a training.

    Args:
        config: what is trained.
        processes: this process among all.
        is_sharded: see `processes.distributed`.
        is_compiled: whether the trunk is compiled (torch.compile); pays on a GPU.
    """

    def __init__(
        self,
        config: TrainingConfig,
        processes: Processes,
        *,
        is_sharded: bool | None = None,
        is_compiled: bool = False,
    ) -> None:
        self.config, self.processes, self.plan = config, processes, config.plan()
        number = len(config.env_ids)
        self.num_envs = max(processes.share(config.num_envs, "num_envs") // number, 1)
        self.batch_sessions = max(processes.share(config.batch_sessions, "batch_sessions") // number, 1)
        self.worlds = TrainingWorlds(config.env_ids, config.env_options, config.num_catalogs, self.num_envs)
        self.schema = self.worlds.schema(config.has_pictures, config.has_sounds)
        sizes = ModelSizes(**{**sizes_named(config.preset).as_settings(), **config.sizes})
        device = processes.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            self.model = new_model(sizes, self.schema, config.language())
        self.sizes = self.model.sizes
        self.model.to(device)
        self.loss = distributed(SessionLoss(self.model, config.clip), processes, is_sharded)
        if is_compiled:
            self.model.trunk.compile(dynamic=True)
        self.optimizer = _optimizer(self.model, config.weight_decay)
        self.has_autocast = device.type == "cuda"
        self.num_steps, self.iteration, self.num_updates = 0, 0, 0
        self.stopwatch = Stopwatch(device)

    @property
    def is_over(self) -> bool:
        """Whether all stages have had their steps."""
        return self.num_steps >= self.plan.num_steps

    def iterate(self) -> Progress:
        """Play sessions in the worlds whose turn it is, and learn from them: from those of all scenarios in each
        gradient step, as steps towards one would lead away from the others."""
        started = time.perf_counter()
        stage, progress = self.plan.at(self.num_steps)
        worlds = self.worlds.turn(self.iteration, self.model)
        is_told = np.random.default_rng([self.config.seed, self.iteration]).random() >= self.config.unknown_domain_share
        contents = [world.content if is_told else world.content.of_unknown_domain() for world in worlds]
        with self.stopwatch.on("playing"), self.playing():
            played = [
                self._play(stage, progress, world, content, place)
                for place, (world, content) in enumerate(zip(worlds, contents, strict=True))
            ]
        with self.stopwatch.on("learning"):
            parts = self._learn(stage, played, contents)
        counts = [[x.returns.sum().item(), x.num_steps, len(x), x.num_tokens] for x in played]
        found = torch.tensor(counts, dtype=torch.float64, device=self.processes.device)
        found = self.processes.summed(found)
        total_return, num_steps, num_sessions, num_tokens = found.sum(0).tolist()
        self.iteration += 1
        self.num_steps += int(num_steps)
        seconds = time.perf_counter() - started
        spent = self.stopwatch.taken()
        line = {
            "num_steps": self.num_steps,
            "iteration": self.iteration,
            "stage": stage.name,
            "return": total_return / num_sessions,
            "session_length": num_steps / num_sessions,
            "steps_per_s": num_steps / seconds,
            "tokens_per_s": num_tokens / seconds,
            "mfu": self._mfu(stage, played, spent["learning"]),
            "share_env": spent.get("env", 0.0) / seconds,
            "share_playing": (spent["playing"] - spent.get("env", 0.0)) / seconds,
            "share_learning": spent["learning"] / seconds,
            **parts,
        }
        if len(worlds) > 1:
            means = (found[:, 0] / found[:, 2]).tolist()
            line |= {f"return/{world.env_id}": mean for world, mean in zip(worlds, means, strict=True)}
        return Progress(num_steps=self.num_steps, line=line)

    def _mfu(self, stage: Stage, played: list[Sessions], seconds: float) -> float | None:
        """Share of the GPU's peak that this process's learning came to (Chowdhery et al. 2022); None on a CPU."""
        peak = peak_of(self.processes.device)
        if peak is None:
            return None
        operations = 0.0
        for sessions in played:
            length = sessions.num_tokens / len(sessions)
            sizes = sessions.num_tokens, sessions.num_steps, sessions.candidates.shape[2], int(length)
            operations += forward_operations(self.model, *sizes)
        return 3.0 * stage.num_epochs * operations / (seconds * peak)

    def autocast(self) -> Any:
        """The precision that is computed in: bfloat16 on a GPU, with weights of float32."""
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.has_autocast)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """While sessions are played with the model."""
        with gathered(self.model), self.autocast():
            yield

    def _play(
        self, stage: Stage, progress: float, world: TrainingWorld, content: ItemContent, place: int = 0
    ) -> Sessions:
        """Sessions of the world at `place` among those whose turn it is."""
        turn = self.iteration * self.processes.number + self.processes.rank
        place += turn * len(self.config.env_ids)
        return play(
            self.model,
            world.env,
            content,
            seed=(self.config.seed * 2**20 + place) * self.num_envs,
            generator=self._generator(place),
            behaviour=stage.behaviour(progress),
            teacher=self.worlds.teacher(world) if stage.has_teacher else None,
            stopwatch=self.stopwatch,
        )

    def _generator(self, place: int) -> torch.Generator:
        """Draws of one iteration of one process in one world."""
        seed = self.config.seed * 2**32 + place
        return torch.Generator(self.processes.device).manual_seed(seed)

    def _learn(self, stage: Stage, played: list[Sessions], contents: list[ItemContent]) -> dict[str, float]:
        """Learn from the sessions of each world; returns means of what is watched."""
        config, device = self.config, self.processes.device
        if self.has_autocast:
            played = [self._judged_anew(each, content) for each, content in zip(played, contents, strict=True)]
        targets = [self._targets(sessions) for sessions in played]
        generator = torch.Generator().manual_seed(config.seed * 2**32 + self.iteration)
        sums: dict[str, float] = {}
        num_batches = 0
        for _ in range(stage.num_epochs):
            orders = [torch.randperm(len(sessions), generator=generator) for sessions in played]
            batches = [order.to(device).split(self.batch_sessions) for order in orders]
            for indices in zip(*batches, strict=True):
                self.optimizer.zero_grad(set_to_none=True)
                for index, sessions, content, (advantages, returns) in zip(
                    indices, played, contents, targets, strict=True
                ):
                    part, is_step = sessions.part(index), sessions.is_step[index]
                    own = Targets(advantages=advantages[index][is_step], returns=returns[index][is_step])
                    with self.autocast():
                        total, parts = self.loss(part, content, own, stage.weights)
                    share = self._share_of_steps(part) / len(played)
                    (total * share).backward()
                    for name, value in parts.items():
                        sums[name] = sums.get(name, 0.0) + share * float(value)
                norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.max_gradient_norm)
                norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
                self._set_learning_rate(stage)
                self.optimizer.step()
                self.num_updates += 1
                num_batches += 1
                sums["gradient_norm"] = sums.get("gradient_norm", 0.0) + float(norm)
        means = {name: value / num_batches for name, value in sums.items()}
        explained = [
            _explained_variance(sessions.values, returns, sessions.is_step)
            for sessions, (_, returns) in zip(played, targets, strict=True)
        ]
        return self.processes.averaged({**means, "explained_variance": sum(explained) / len(explained)})

    def _targets(self, sessions: Sessions) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, T] advantages, normalised, and [B, T] returns."""
        config = self.config
        returns = lambda_returns(
            sessions.rewards, sessions.values, sessions.is_step, gamma=config.gamma, trace=config.trace
        )
        return self._normalised(returns - sessions.values, sessions.is_step), returns

    def _share_of_steps(self, part: Sessions) -> float:
        """How much a mean over the steps of `part` counts in the mean over the batches of all processes: each of their
        steps as much as any other."""
        if self.processes.number == 1:
            return 1.0
        own = torch.tensor(float(part.num_steps), device=self.processes.device)
        return float(own * self.processes.number / self.processes.summed(own))

    @torch.no_grad()
    def _judged_anew(self, sessions: Sessions, content: ItemContent) -> Sessions:
        """The same sessions with the log-probabilities and values of the pass that is trained: numbers of low precision
        that are computed in another order differ, and ratios must be 1 at the start."""
        log_probabilities, values = sessions.log_probabilities.clone(), sessions.values.clone()
        for index in torch.arange(len(sessions), device=sessions.lengths.device).split(self.batch_sessions):
            part = sessions.part(index)
            with self.autocast():
                scores = self.model(part, content)
            steps = part.is_step.nonzero(as_tuple=True)
            places = index[steps[0]], steps[1]
            log_probabilities[places] = slate_log_probabilities(scores.logits, part.steps.slates)
            values[places] = self.model.value(scores.values)
        return replace(sessions, log_probabilities=log_probabilities, values=values)

    def _normalised(self, advantages: torch.Tensor, is_step: torch.Tensor) -> torch.Tensor:
        """Mean 0 and standard deviation 1 over the steps of all processes."""
        x = advantages * is_step
        sums = torch.stack([x.sum(), x.square().sum(), is_step.sum().to(x.dtype)]).double()
        total, squares, number = self.processes.summed(sums)
        mean = total / number
        deviation = (squares / number - mean**2).clamp(min=1e-12).sqrt()
        return ((advantages - mean) / deviation).to(advantages.dtype)

    def _set_learning_rate(self, stage: Stage) -> None:
        config = self.config
        warm = min((self.num_updates + 1) / max(config.warm_up_updates, 1), 1.0)
        steps = self.plan.stages[-1][1]
        begin = self.plan.num_steps - steps
        progress = min(max((self.num_steps - begin) / steps, 0.0), 1.0)
        wide = min(1.0, STAGES_WIDTH / self.sizes.width)
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * wide * warm * (1.0 - (1.0 - config.last_learning_rate) * progress)

    def checkpoint(self) -> Checkpoint:
        """What it takes to go on from here; all processes have to ask for it."""
        model: dict[str, Any] = get_model_state_dict(self.model, options=_WHOLE)
        optimizer: dict[str, Any] = get_optimizer_state_dict(self.model, self.optimizer, options=_WHOLE)
        moments: dict[str, Any] = optimizer.get("state", {})  # there is nothing in processes but the first
        tensors = {f"{name}.{part}": x for name, parts in moments.items() for part, x in parts.items()}
        return Checkpoint(
            model=model,
            optimizer=tensors,
            state={
                **settings_of(self.model),
                "config": self.config.as_settings(),
                "optimizer": optimizer.get("param_groups"),
                **{name: getattr(self, name) for name in _COUNTERS},
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same config, written by any number of processes.

        A language model may lie elsewhere now, if it is the same.

        Raises:
            CheckpointError: it is of another training; the message names what differs.
            ValueError: its weights are not this model's, or were learnt from other inputs.
        """
        check_inputs(checkpoint.state)
        own, theirs = json.loads(json.dumps(self.config.as_settings())), checkpoint.state["config"]
        for name, value in own.items():
            is_elsewhere = name == "language_model" and value and theirs.get(name)
            if theirs.get(name) != value and not is_elsewhere:
                raise CheckpointError(
                    f"the checkpoint was trained with {name}={theirs.get(name)!r}, not {value!r}: give the same "
                    "settings, or another folder"
                )
        sizes = self.sizes.as_settings()
        differing = {name: value for name, value in checkpoint.state["sizes"].items() if sizes.get(name) != value}
        if differing:
            said = ", ".join(f"{name}={value}" for name, value in differing.items())
            raise CheckpointError(
                f"the checkpoint's model has {said}, unlike preset={self.config.preset!r} as it is now"
            )
        ours, trained = settings_of(self.model).get("language_model"), checkpoint.state.get("language_model")
        if ours and trained and ours["fingerprint"] != trained["fingerprint"]:
            raise CheckpointError(
                f"the checkpoint was trained on the language model {trained['name']!r} (sha256 "
                f"{trained['fingerprint'][:12]}), {ours['name']!r} is another one ({ours['fingerprint'][:12]}): give "
                "the same language_model, or another folder"
            )
        check_weights(self.model, checkpoint.model)
        model: dict[str, Any] = dict(sorted(checkpoint.model.items()))  # in one order in all processes
        moments = self._moments(checkpoint.optimizer or {})
        set_model_state_dict(self.model, model, options=_WHOLE)
        optimizer = {"state": moments, "param_groups": checkpoint.state["optimizer"]}
        lenient = replace(_WHOLE, strict=False)  # what has had no gradient yet has no moments
        set_optimizer_state_dict(self.model, self.optimizer, optimizer, options=lenient)
        for name, weight in self.model.named_parameters():
            if name not in moments:  # it was given some, of one step without a gradient
                self.optimizer.state.pop(weight, None)
        for name in _COUNTERS:
            setattr(self, name, checkpoint.state[name])

    def _moments(self, tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
        """What the optimizer remembers of each weight, from tensors named `WEIGHT.PART`."""
        weights = dict(self.model.named_parameters())
        moments: dict[str, dict[str, torch.Tensor]] = {}
        for place, value in sorted(tensors.items()):
            name, _, part = place.rpartition(".")
            if name not in weights or value.shape not in (weights[name].shape, torch.Size([])):
                raise CheckpointError(f"what the optimizer remembers is not of this model: {place}")
            moments.setdefault(name, {})[part] = value
        return moments


def _optimizer(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) of what is learnt, with decay of matrices only."""
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    matrices, others = [x for x in learnt if x.ndim > 1], [x for x in learnt if x.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95))


def _explained_variance(values: torch.Tensor, returns: torch.Tensor, is_step: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 if values foretell all, 0 if they foretell nothing."""
    found, foretold = returns[is_step], values[is_step]
    return float(1.0 - (found - foretold).var() / found.var().clamp(min=1e-12))
