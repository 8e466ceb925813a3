"""The simulator, compiled by Numba, whose cache is made safe before the first function is compiled."""

from pathlib import Path

from recsim_env.simulation.compiled_cache import (
    drop_stale_cache,
    key_files_by_signature,
    make_names_unique,
    report_compilation,
)

make_names_unique()
key_files_by_signature()
report_compilation()
drop_stale_cache(Path(__file__).parents[1])
