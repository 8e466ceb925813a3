"""Learn from the feedback that a server stores, and publish new versions of the model to the server.

Each round waits for completed sessions and learns from them in small steps near the published version. After some
rounds, the result is compared with the published version: by off-policy evaluation, in sessions of held-out people, and
by a shadow test, in which it answers requests that people have sent. It is published if it passes both. `versions`
lists what was published and why; `rollback` takes it back. The command may be stopped and started again at any time.
DIR/rounds.jsonl has a line for each round.
"""

import argparse
import time
from typing import Any

from agents.large_model.online.config import OnlineConfig, PublicationConfig, ServedPolicy, ServiceConfig
from agents.terminal import add_config_arguments, config_from, number_in, path, positive, warn
from agents.tracking.copies import add_track_argument, check_copies

_GROUPS = {
    "rounds": ServiceConfig,
    "learning": OnlineConfig,
    "publication": PublicationConfig,
    "the server (as it was started)": ServedPolicy,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", type=path, required=True, metavar="FILE", help="database of the server")
    parser.add_argument("--models", type=path, required=True, metavar="DIR", help="folder of versions that it serves")
    parser.add_argument("--rounds", type=positive, metavar="N", help="stop after this many rounds (default: never)")
    parser.add_argument(
        "--poll-seconds",
        type=number_in(float, 0.01, 86_400.0),
        default=10.0,
        metavar="X",
        help="seconds between two looks at the database while too few sessions are complete",
    )
    add_track_argument(parser, "the rounds")
    for title, config in _GROUPS.items():
        add_config_arguments(parser.add_argument_group(title), config)


def learn_online(parsed: argparse.Namespace) -> int:
    check_copies(parsed.track)
    try:
        from agents.large_model.online.service import OnlineService
        from agents.large_model.online.tracked_rounds import record_of, tracked_rounds
    except ModuleNotFoundError as error:
        raise ValueError(f"needs the package {error.name}: pip install 'recsim-env[export]'") from None

    service = OnlineService(
        parsed.database,
        parsed.models,
        learning=config_from(parsed, OnlineConfig),
        publication=config_from(parsed, PublicationConfig),
        policy=config_from(parsed, ServedPolicy),
        config=config_from(parsed, ServiceConfig),
    )
    number, is_waiting = 0, False
    print(service.status, flush=True)
    try:
        with tracked_rounds(service, parsed.track, parsed.arguments) as tracker:
            while parsed.rounds is None or number < parsed.rounds:
                result = service.round()
                if result is None:
                    if not is_waiting:
                        needed = service.config.min_sessions
                        print(f"waiting for sessions: {service.num_completed:,} of {needed:,} are complete", flush=True)
                    is_waiting = True
                    time.sleep(parsed.poll_seconds)
                    continue
                number, is_waiting = number + 1, False
                tracker.log(*record_of(result))
                print(described(result), flush=True)
    except KeyboardInterrupt:
        warn("stopped")
    finally:
        service.close()
    return 0


def described(result: Any) -> str:
    """A line on the result of a round (`service.ServiceRound`)."""
    words = (
        f"round {result.number}: {result.num_sessions:,} sessions, {result.num_steps:,} steps, mean reward "
        f"{result.mean_return:.2f}, divergence {result.divergence:.4f} nats"
    )
    if result.is_reverted:
        return f"{words}: reverted, the policy had moved too far"
    if result.decision == "none":
        return words
    verdict = {
        "publish": f"version {result.version} is published",
        "wait": "not published yet",
        "refuse": "refused, starting from the published version again",
    }
    reasons = result.reasons or (result.off_policy.summary,)  # of a publication
    return f"{words}; {verdict[result.decision]}: {'; '.join(reasons)}"
