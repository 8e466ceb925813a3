"""The benchmark's commands, one a file; each has `add_to(commands)`, which describes it to argparse."""
