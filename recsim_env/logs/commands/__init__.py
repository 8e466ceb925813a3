"""The commands of `python -m recsim_env.logs`, a file for each."""
