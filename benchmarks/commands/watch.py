"""Watch an agent play a session.

Plays one session with a held-out user and a held-out catalogue, and prints it or writes an animated GIF. The GIF also
shows the user's latent state, which only oracles observe. An agent that learns is loaded by --load or trained first for
--train-steps.
"""

import argparse
from typing import Any

from agents.saved_tensors import is_zip
from agents.terminal import console, not_negative, path, positive, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", default="popularity", metavar="NAME", help="name, MODULE:CLASS or sb3:ALGORITHM")
    parser.add_argument("--env", default="recsim_env/Video-v0", metavar="ID", help="id of the env")
    parser.add_argument("--world", metavar="PATH", help="for MovieLens: fitted world (.npz) or ratings log")
    parser.add_argument("--load", type=path, metavar="FILE", help="a trained agent, instead of --agent")
    parser.add_argument("--train-steps", type=not_negative, default=0, metavar="N", help="user-steps of training")
    parser.add_argument("--steps", type=positive, default=50, metavar="N", help="largest number of steps to show")
    parser.add_argument("--seed", type=not_negative, default=0, metavar="S", help="seed of the session and the agent")
    parser.add_argument("--gif", type=path, metavar="FILE", help="write an animated GIF instead of text")


def watch(parsed: argparse.Namespace) -> int:
    from benchmarks.running.execution import log_to
    from benchmarks.suites import HELD_OUT

    log = log_to(console())
    env, agent = _env_and_agent(parsed)
    observation, _ = env.reset(seed=HELD_OUT.sessions_seed + parsed.seed)
    frames: list[Any] = []
    rewards: list[float] = []
    state, end = None, "stopped by --steps"
    while len(rewards) < parsed.steps:
        if parsed.gif:
            frames.append(env.render())
        action, state = agent.predict(observation, state)
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward) / env.unwrapped.simulator.config.reward_scale)
        if terminated or truncated:
            end = "the user left" if terminated else "the session reached its time limit"
            break
    last = env.render()
    if parsed.gif:
        _write_gif(parsed.gif, [*frames, last])
        log(f"{len(frames) + 1} frames in {parsed.gif}")
    else:
        log(last)
    log(f"{parsed.load or parsed.agent} in {parsed.env}: return {sum(rewards):.2f} after {len(rewards)} steps; {end}")
    return 0


def _env_and_agent(parsed: argparse.Namespace) -> tuple[Any, Any]:
    """The env with a render mode, and an agent that is ready to act in it."""
    import gymnasium

    import recsim_env  # noqa: F401  (registers the ids)
    from agents.agent import Learner
    from agents.registry import entry_named
    from benchmarks.rows import ResultsError
    from benchmarks.running.suite_runs import ZIP_WARNING, model_entries
    from benchmarks.suites import HELD_OUT, tuned_settings, with_settings

    agent: Any = None
    if parsed.load and is_zip(parsed.load):
        from agents.reinforcement.sb3 import SB3Model

        warn(f"--load {parsed.load}: {ZIP_WARNING}")
        agent = SB3Model.from_zip(parsed.load)
        observation, variant = agent.observation, agent.env_variant
    else:
        if parsed.load:
            ((entry, _),) = model_entries([parsed.load], [parsed.agent], "--load").values()
        else:
            entry = with_settings(entry_named(parsed.agent), tuned_settings(parsed.agent))
        agent_class = entry.agent_class()
        observation, variant = agent_class.env_requirements(**entry.settings)
    if variant not in parsed.env:
        raise ResultsError(
            f"--env {parsed.env}: the agent plays ids with {variant}, such as recsim_env/Video{variant}-v0"
        )
    worlds = {"split": HELD_OUT.split, "catalog_seed": HELD_OUT.catalog_seed, "observation": observation}
    if parsed.world:
        worlds["world"] = parsed.world
    try:
        env: Any = gymnasium.make(parsed.env, render_mode="rgb_array" if parsed.gif else "ansi", **worlds)
    except gymnasium.error.Error as error:
        raise ResultsError(f"--env {parsed.env}: {error}") from None
    except TypeError:  # it does not take our arguments
        raise ResultsError(f"--env {parsed.env}: must be an env of recsim_env, such as recsim_env/Video-v0") from None
    if agent:
        agent.set_env(env)
    elif parsed.load:
        agent = agent_class.load(parsed.load, env)
    elif not issubclass(agent_class, Learner):
        agent = agent_class(env=env, seed=parsed.seed, **entry.settings)
    else:
        if agent_class.uses_budget and not parsed.train_steps:
            raise ResultsError(f"agent {parsed.agent!r}: is not trained; give --load FILE or --train-steps N")
        training = {**worlds, "split": "train", "catalog_seed": HELD_OUT.training_catalog_seed}
        if agent_class.reads_evaluation_catalog:
            training = {**worlds, "user_split": "train"}
        lanes = entry.num_envs or agent_class.num_envs
        training_env = gymnasium.make_vec(parsed.env, lanes, vectorization_mode="vector_entry_point", **training)
        agent = agent_class(env=training_env, seed=parsed.seed, **entry.settings)
        agent.learn(parsed.train_steps, progress_bar=True)
        agent.set_env(env)
    return env, agent


def _write_gif(target: Any, frames: list[Any]) -> None:
    import io

    from PIL import Image

    from recsim_env.atomic_file import write_atomically

    first, *others = (Image.fromarray(frame).quantize(128) for frame in frames)
    content = io.BytesIO()
    first.save(content, "GIF", save_all=True, append_images=others, duration=700, loop=0)
    write_atomically(target, content.getvalue())
