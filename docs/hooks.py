"""MkDocs hooks: pages may show the pictures in `benchmarks/results`, which is outside `docs`."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures to the site, in the folder `results`."""
    for picture in sorted(RESULTS.glob("*/*.png")):
        path = f"results/{picture.relative_to(RESULTS).as_posix()}"
        files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to the pictures as they are in the repository become links within the site."""
    return markdown.replace("../benchmarks/results/", "results/")
