"""Trains a network: plays sessions in each iteration and updates the weights; can stop and resume at any iteration.

The sessions of an iteration follow from its number. So a checkpoint holds no sessions, and a resumed training gives the
same results as an uninterrupted one.

Shape legend: B sessions, T steps.
"""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
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

from agents.large_model.checkpoint import Checkpoint, check_inputs, check_weights, digest_of, make_network
from agents.large_model.config import REFERENCE_WIDTH, Stage, TrainingConfig
from agents.large_model.distributed import ProcessGroup, distributed, gathered
from agents.large_model.env import make_env
from agents.large_model.joined_worlds import Part, PlayedWorld
from agents.large_model.losses import (
    SessionLoss,
    explained_variance,
    scaled_teacher,
    session_returns,
    teacher_scale,
)
from agents.large_model.model import LargeModelNetwork
from agents.large_model.network_teacher import labelled, load_teacher
from agents.large_model.rollout import Sessions, play, scores_of_sessions
from agents.large_model.speed import Timer, forward_flops, peak_flops
from agents.large_model.training_worlds import SampledWorlds, TrainingWorld, TrainingWorlds
from agents.networks.item_content import ItemContent
from agents.networks.item_reader import trained_item_reader
from agents.networks.plackett_luce import slate_log_probabilities
from agents.networks.schema import Schema

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_SIZES = ("num_envs", "batch_sessions")
_COUNTERS = ("num_steps", "iteration", "num_updates")


class Training:
    """One process's part of a training, in one env for each scenario; by default in those that the config names.

    The training of `network` is continued, by default of a new one. `is_sharded` is as for `distributed`; `is_compiled`
    compiles the backbone (torch.compile), which pays on a GPU; `log` is called with one line before work that takes
    long.
    """

    def __init__(
        self,
        config: TrainingConfig,
        group: ProcessGroup,
        envs: Sequence[Any] | None = None,
        *,
        network: LargeModelNetwork | None = None,
        is_sharded: bool | None = None,
        is_compiled: bool = False,
        log: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.config, self.group, self._log = config, group, log
        number, device = config.num_worlds if envs is None else len(envs), group.device
        self.num_envs, self.batch_sessions = (
            max(group.share(getattr(config, name), name) // number, 1) for name in _SIZES
        )
        self.worlds: TrainingWorlds | SampledWorlds
        if envs is None and config.num_scenarios > 0:
            self.worlds = SampledWorlds(config, self.num_envs, group.rank, group.size)
        else:
            if envs is None:
                envs = [make_env(env_id, self.num_envs, **config.env_arguments) for env_id in config.env_ids]
            self.worlds = TrainingWorlds(envs, config.num_catalogs, self.num_envs)
        if network is None:
            if isinstance(self.worlds, SampledWorlds):
                schema = Schema.generalist()
            else:
                simulators = [env.simulator for env in self.worlds.envs]
                schema = Schema.of(simulators, config.has_images, config.has_audio)
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(config.seed)
                network = make_network(config.model(), schema, config.language())
        self.network = network.to(device)
        self.teacher = load_teacher(config, self.network) if config.teacher_model else None
        self._teacher_digest = digest_of(self.teacher) if self.teacher else ""
        self.loss = distributed(SessionLoss(self.network, config.clip_range), group, is_sharded)
        if is_compiled:
            log("compiling the network: the first iterations take longer")
            self.network.backbone.compile(dynamic=True)
        self.optimizer = _optimizer(self.network, config.weight_decay)
        self.has_autocast = device.type == "cuda"
        self.num_steps, self.iteration, self.num_updates = 0, 0, 0
        self._replay: deque[PlayedWorld] = deque(maxlen=config.num_replayed_worlds)
        self.timer = Timer(device)

    @property
    def effective_sizes(self) -> dict[str, int]:
        """`num_envs` and `batch_sessions` as they are, in all processes and scenarios together."""
        return {name: getattr(self, name) * self.worlds.num_worlds * self.group.size for name in _SIZES}

    @property
    def rounded_sizes(self) -> list[str]:
        """For each of these sizes that the scenarios cannot share evenly, a line that says so."""
        places = f"{self.worlds.num_worlds} scenarios"
        if self.group.size > 1:
            places += f" in each of {self.group.size} processes"
        return [
            f"{name}={getattr(self.config, name)}: rounded to {size}, {getattr(self, name)} in each of {places}"
            for name, size in self.effective_sizes.items()
            if size != getattr(self.config, name)
        ]

    @property
    def is_over(self) -> bool:
        """Whether all stages are finished."""
        return self.num_steps >= self.config.num_steps

    def train_reader(self) -> None:
        """Train the generalist's `ItemReader`, or adopt a teacher's; before the first step, and before any catalogue is
        read."""
        if self.network.reader is not None and self.teacher is not None and self.teacher.reader is not None:
            self.network.reader.load_state_dict(self.teacher.reader.state_dict())
        elif self.network.reader is not None and isinstance(self.worlds, SampledWorlds):
            self._log("training the item reader")
            reader = trained_item_reader(self.config.num_reader_catalogs, self.config.seed)
            self.network.reader.load_state_dict(reader.state_dict())

    def iterate(self) -> dict[str, Any]:
        """Play sessions and learn from them; returns metrics, `num_steps` (user-steps so far) among them.

        Each gradient step uses sessions of all scenarios, as a step for one would be at the expense of the others.
        """
        started = time.perf_counter()
        stage, progress = self.config.stage_at(self.num_steps)
        worlds = self.worlds.at(self.iteration, self.network)
        generator = np.random.default_rng([self.config.seed, self.iteration])
        shows_domain = generator.random() >= self.config.unknown_domain_share
        contents = [world.content if shows_domain else world.content.with_unknown_domain() for world in worlds]
        with self.timer.measure("rollout"), self.acting():
            batches = [
                self._play(stage, progress, world, content, index)
                for index, (world, content) in enumerate(zip(worlds, contents, strict=True))
            ]
        with self.timer.measure("update"):
            losses = self._update(stage, batches, contents)
        counts = [[x.returns.sum().item(), x.num_steps, len(x), x.num_tokens] for x in batches]
        sums = self.group.sum(torch.tensor(counts, dtype=torch.float64, device=self.group.device))
        total_return, num_steps, num_sessions, num_tokens = sums.sum(0).tolist()
        self.iteration += 1
        self.num_steps += int(num_steps)
        seconds, spent = time.perf_counter() - started, self.timer.reset()
        metrics = {
            "num_steps": self.num_steps,
            "iteration": self.iteration,
            "stage": stage.name,
            "return": total_return / num_sessions,
            "session_length": num_steps / num_sessions,
            "steps_per_s": num_steps / seconds,
            "tokens_per_s": num_tokens / seconds,
            "mfu": self._mfu(stage, batches, spent["update"]),
            "share_env": spent.get("env", 0.0) / seconds,
            "share_rollout": (spent["rollout"] - spent.get("env", 0.0)) / seconds,
            "share_update": spent["update"] / seconds,
            **losses,
        }
        if len(worlds) > 1:
            means = (sums[:, 0] / sums[:, 2]).tolist()
            metrics |= {f"return/{world.name}": mean for world, mean in zip(worlds, means, strict=True)}
        return metrics

    def _mfu(self, stage: Stage, batches: list[Sessions], seconds: float) -> float | None:
        """Model FLOPs utilisation of this process's updates (Chowdhery et al. 2022); None on a CPU."""
        peak = peak_flops(self.group.device)
        if peak is None:
            return None
        operations = 0.0
        for sessions in batches:
            length = int(sessions.num_tokens / len(sessions))
            num_candidates = sessions.candidates.shape[2]
            operations += forward_flops(self.network, sessions.num_tokens, sessions.num_steps, num_candidates, length)
        return 3.0 * stage.num_epochs * operations / (seconds * peak)

    def autocast(self) -> Any:
        """The precision of computations: bfloat16 on a GPU, with float32 weights."""
        return torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.has_autocast)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """While the network plays sessions."""
        with gathered(self.network), self.autocast():
            yield

    def mean_return(
        self,
        env: Any,
        content: ItemContent,
        seed: int,
        selection: str = "greedy",
        network: LargeModelNetwork | None = None,
    ) -> float:
        """Of one session in each lane of an env for evaluation, the first one seeded `seed`, with a network, by default
        the one that is trained."""
        network, generator = network or self.network, torch.Generator(self.group.device).manual_seed(0)
        with self.acting():
            sessions = play(network, env, content, seed=seed, generator=generator, selection=selection)
        return float(sessions.returns.mean())

    def _play(
        self, stage: Stage, progress: float, world: TrainingWorld, content: ItemContent, index: int = 0
    ) -> Sessions:
        """Sessions of the world at `index` of this iteration."""
        turn = self.iteration * self.group.size + self.group.rank
        number = index + turn * self.worlds.num_worlds
        teacher = self.teacher if stage.teacher == "network" else None
        sessions = play(
            teacher if teacher and progress < stage.demonstrated_share else self.network,
            world.env,
            content,
            seed=(self.config.seed * 2**20 + number) * self.num_envs,
            generator=torch.Generator(self.group.device).manual_seed(self.config.seed * 2**32 + number),
            selection=stage.selection,
            exploration=stage.exploration(progress),
            teacher=self.worlds.teacher(world) if stage.teacher == "oracle" else None,
            timer=self.timer,
        )
        return labelled(sessions, content, teacher) if teacher else sessions

    def _update(self, stage: Stage, batches: list[Sessions], contents: list[ItemContent]) -> dict[str, float]:
        """Learn from the sessions of each world; returns mean losses and other metrics."""
        if self.has_autocast:
            batches = [self._reevaluated(each, content) for each, content in zip(batches, contents, strict=True)]
        played = [self._played(sessions, content) for sessions, content in zip(batches, contents, strict=True)]
        generator = torch.Generator().manual_seed(self.config.seed * 2**32 + self.iteration)
        if isinstance(self.worlds, SampledWorlds):
            self._replay.extend(played)
            is_on_policy = stage.weights.policy > 0.0
            minibatches = self._drawn(played if is_on_policy else self._replay, stage, played, generator)
        else:
            minibatches = self._epochs(stage, played, generator)
        sums: dict[str, float] = {}
        num_updates = 0
        for parts in minibatches:
            self.optimizer.zero_grad(set_to_none=True)
            for part in parts:
                with self.autocast():
                    total, terms = self.loss(part.sessions, part.content, stage.weights, **part.labels)
                total.backward()
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_gradient_norm)
            norm_value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
            if not math.isfinite(norm_value):
                raise ValueError(
                    f"training diverged after {self.num_steps:,} steps (the gradient is not finite): lower the "
                    "learning rate"
                )
            self._set_learning_rate(stage)
            self.optimizer.step()
            self.num_updates += 1
            num_updates += 1
            sums["gradient_norm"] = sums.get("gradient_norm", 0.0) + norm_value
        explained = [explained_variance(each.sessions.values, each.returns, each.sessions.is_step) for each in played]
        means = {name: value / num_updates for name, value in sums.items()}
        return self.group.mean({**means, "explained_variance": sum(explained) / len(explained)})

    def _played(self, sessions: Sessions, content: ItemContent) -> PlayedWorld:
        """Sessions with their targets; an oracle's scores are in the unit of the network's."""
        advantages, returns = self._targets(sessions)
        scale = teacher_scale(sessions)
        if sessions.teacher_values is None and not self.network.config.builds_on_feedback:
            sessions, scale = scaled_teacher(sessions, scale), 1.0
        return PlayedWorld(sessions, content, advantages, returns, scale)

    def _epochs(self, stage: Stage, played: list[PlayedWorld], generator: torch.Generator) -> Iterator[list[Part]]:
        """For each gradient step of all epochs, some sessions of each world."""
        for _ in range(stage.num_epochs):
            orders = [torch.randperm(len(each.sessions), generator=generator) for each in played]
            minibatches = [order.to(self.group.device).split(self.batch_sessions) for order in orders]
            for indices in zip(*minibatches, strict=True):
                parts = [each.part(index) for each, index in zip(played, indices, strict=True)]
                yield [part.weighted(self._share_of_steps(part.sessions) / len(parts)) for part in parts]

    def _drawn(
        self, worlds: Sequence[PlayedWorld], stage: Stage, new: list[PlayedWorld], generator: torch.Generator
    ) -> Iterator[list[Part]]:
        """For each gradient step, sessions drawn from some worlds, in one part.

        There are as many sessions in all as in `num_epochs` passes over the new ones.
        """
        batch_sessions = self.batch_sessions * self.worlds.num_worlds
        num_new = sum(len(each.sessions) for each in new)
        for _ in range(max(stage.num_epochs * num_new // batch_sessions, 1)):
            drawn = torch.randint(len(worlds), (batch_sessions,), generator=generator)
            parts = []
            for world, number in zip(*drawn.unique(return_counts=True), strict=True):
                each = worlds[int(world)]
                index = torch.randint(len(each.sessions), (int(number),), generator=generator).to(self.group.device)
                part = each.part(index)
                # worlds count alike, and so do the steps of a world
                parts.append(part.weighted(part.sessions.num_steps / (batch_sessions * each.mean_length)))
            yield [Part.joined(parts)]

    def _targets(self, sessions: Sessions) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, T] normalised advantages, and [B, T] returns, as estimated by a teacher that is a network."""
        numbers = {"gamma": self.config.gamma, "gae_lambda": self.config.gae_lambda}
        returns = sessions.teacher_values
        if returns is None:
            returns = session_returns(sessions.rewards, sessions.values, sessions.is_step, **numbers)
        return self._normalised(returns - sessions.values, sessions.is_step), returns

    def _share_of_steps(self, part: Sessions) -> float:
        """Weight of a mean over the steps of `part` in the mean over all processes, so that all steps count alike."""
        if self.group.size == 1:
            return 1.0
        own = torch.tensor(float(part.num_steps), device=self.group.device)
        return float(own * self.group.size / self.group.sum(own))

    @torch.no_grad()
    def _reevaluated(self, sessions: Sessions, content: ItemContent) -> Sessions:
        """The same sessions with log-probabilities and values of the training pass: in low precision, results depend on
        the order of operations, but PPO's ratios must be 1 at first."""
        log_probabilities, values = sessions.log_probabilities.clone(), sessions.values.clone()
        with self.autocast():
            for places, steps, scores in scores_of_sessions(self.network, sessions, content, self.batch_sessions):
                log_probabilities[places] = slate_log_probabilities(scores.logits, steps.slates)
                values[places] = self.network.value_head.mean(scores.values)
        return replace(sessions, log_probabilities=log_probabilities, values=values)

    def _normalised(self, advantages: torch.Tensor, is_step: torch.Tensor) -> torch.Tensor:
        """Mean 0 and standard deviation 1 over the steps of all processes."""
        x = advantages * is_step
        sums = torch.stack([x.sum(), x.square().sum(), is_step.sum().to(x.dtype)]).double()
        total, squares, number = self.group.sum(sums)
        mean = total / number
        deviation = (squares / number - mean**2).clamp(min=1e-12).sqrt()
        return ((advantages - mean) / deviation).to(advantages.dtype)

    def _set_learning_rate(self, stage: Stage) -> None:
        config = self.config
        warm_up = min((self.num_updates + 1) / max(config.warm_up_updates, 1), 1.0)
        last_steps = config.stages()[-1][1]
        progress = min(max((self.num_steps - config.num_steps + last_steps) / last_steps, 0.0), 1.0)
        decay = 1.0 - (1.0 - config.last_learning_rate) * progress
        scale = min(1.0, REFERENCE_WIDTH / self.network.config.width)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = stage.learning_rate * scale * warm_up * decay

    def checkpoint(self) -> Checkpoint:
        """The state of the training; all processes have to call it."""
        model: dict[str, Any] = get_model_state_dict(self.network, options=_WHOLE)
        optimizer: dict[str, Any] = get_optimizer_state_dict(self.network, self.optimizer, options=_WHOLE)
        moments: dict[str, Any] = optimizer.get("state", {})  # empty except in the first process
        tensors = {f"{name}.{part}": x for name, parts in moments.items() for part, x in parts.items()}
        state = {
            "network": self.network.settings(),
            "config": asdict(self.config),
            "teacher": self._teacher_digest,
            "optimizer": optimizer.get("param_groups"),
            **{name: getattr(self, name) for name in _COUNTERS},
        }
        return Checkpoint(model=model, optimizer=tensors, state=state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint of the same config, written by any number of processes.

        `num_steps` may differ, so that a finished training can be continued, and a language model or a teacher may have
        been moved. Settings that the checkpoint does not have had their defaults.

        Raises:
            ValueError: it is of another training, whose difference is named; or its weights belong to another network,
                or were trained with other inputs.
        """
        state = checkpoint.state
        check_inputs(state["network"])
        own = _identity(asdict(self.config), self.network.settings(), self._teacher_digest)
        config = {**asdict(TrainingConfig()), **state["config"]}
        other = _identity(config, state["network"], state.get("teacher", ""))
        for name, value in own.items():
            if other.get(name) != value:
                raise ValueError(
                    f"the checkpoint was trained with {name}={other.get(name)!r}, not {value!r}: use the same "
                    "settings, or another folder"
                )
        check_weights(self.network, checkpoint.model)
        model: dict[str, Any] = dict(sorted(checkpoint.model.items()))  # the same order in all processes
        moments = self._moments(checkpoint.optimizer)
        set_model_state_dict(self.network, model, options=_WHOLE)
        optimizer = {"state": moments, "param_groups": state["optimizer"]}
        lenient = replace(_WHOLE, strict=False)  # weights without a gradient so far have no moments
        set_optimizer_state_dict(self.network, self.optimizer, optimizer, options=lenient)
        for name, weight in self.network.named_parameters():
            if name not in moments:  # the line above has initialised some
                self.optimizer.state.pop(weight, None)
        for name in _COUNTERS:
            setattr(self, name, state[name])

    def _moments(self, tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
        """The optimizer's moments of each weight, from tensors named `WEIGHT.PART`."""
        weights = dict(self.network.named_parameters())
        moments: dict[str, dict[str, torch.Tensor]] = {}
        for key, value in sorted(tensors.items()):
            name, _, part = key.rpartition(".")
            if name not in weights or value.shape not in (weights[name].shape, torch.Size([])):
                raise ValueError(f"the optimizer's state does not belong to this network: {key}")
            moments.setdefault(name, {})[part] = value
        return moments


def _identity(config: dict[str, Any], network: dict[str, Any], teacher: str) -> dict[str, Any]:
    """The settings that make a training the same; language models and teachers are known by their weights, wherever
    they are."""
    language = network.get("language_model", {"fingerprint": ""})
    left_out = ("num_steps", "language_model", "teacher_model")
    others = {name: value for name, value in config.items() if name not in left_out}
    digests = {"language_model (sha256)": language["fingerprint"], "teacher_model (sha256)": teacher}
    return json.loads(json.dumps({**others, **network["model"], **digests}))  # lists in place of tuples


def _optimizer(network: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with decay of matrices only."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    matrices, others = [x for x in trained if x.ndim > 1], [x for x in trained if x.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)
