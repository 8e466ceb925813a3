"""Write the log sets: simulated logs of three behaviour policies in each scenario, and check their hashes.

Writes Parquet files to OUT/SCENARIO/POLICY, for the policies `random`, `mixed` (random, popularity and EB-LinUCB) and
`expert` (EB-LinUCB with 10% random slates), and the SHA-256 of each file and of the content of each log to
OUT/log_sets.json. The content is compared with the hashes in the package, as equal versions write equal logs. The same
command resumes an interrupted one. `recsim_env.load_log_set` reads a log. The exit status is 1 if a hash differs.
"""

import argparse

from agents.terminal import console, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="folder for the logs")
    parser.add_argument(
        "--scenario", action="append", default=[], help="repeat for several (default: the five synthetic ones)"
    )
    parser.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help="steps of each log (default: 50,000, the only length with hashes in the package)",
    )
    parser.add_argument(
        "--install", action="store_true", help="update the hashes in the package, for a new version of the envs"
    )


def log_sets(parsed: argparse.Namespace) -> int:
    from benchmarks.rows import ResultsError
    from benchmarks.running.execution import log_to
    from benchmarks.running.log_sets import NUM_STEPS, write_log_sets, write_manifest
    from benchmarks.running.suite_runs import checked_scenarios
    from benchmarks.suites import PRESETS
    from recsim_env.logs.simulated.log_sets import HASHES, committed_logs

    log, steps = log_to(console()), parsed.steps or NUM_STEPS
    if unknown := sorted(set(parsed.scenario) - set(PRESETS)):
        checked_scenarios(unknown)
        raise ResultsError(f"--scenario {unknown[0]}: must be one of {', '.join(PRESETS)}")
    scenarios = tuple(dict.fromkeys(parsed.scenario)) or PRESETS
    is_default = steps == NUM_STEPS
    if parsed.install and not (is_default and scenarios == PRESETS):
        raise ResultsError("--install: requires all scenarios and the default --steps")
    known = {} if parsed.install or not is_default else committed_logs()
    entries, num_different = {}, 0
    for name, entry in write_log_sets(scenarios, parsed.out, steps):
        entries[name] = entry
        is_equal = name not in known or known[name]["sha256"] == entry["sha256"]
        num_different += not is_equal
        state = "as in the package" if is_equal else "differs from the package"
        if name not in known:
            state = "no hash in the package"
        size = f"{entry['num_steps']:,} steps, {entry['num_bytes'] / 2**20:.1f} MiB"
        log(f"{name}: {size}, SHA-256 {entry['sha256'][:12]}...: {state}")
    if parsed.install:
        write_manifest(HASHES, entries)
        log(f"wrote {HASHES}")
    return 1 if num_different else 0
