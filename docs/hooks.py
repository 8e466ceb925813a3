"""MkDocs hooks: pages may show the pictures and link to the tables and submissions in `benchmarks/results`, outside
`docs`; names in tables break at `_`."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add the pictures, the Markdown tables and the submissions to the site, in the folder `results`."""
    submissions = (
        path for path in RESULTS.glob("submissions/*/*") if path.name.endswith((".zip", ".verification.json"))
    )
    for file in sorted((*RESULTS.glob("*/*.png"), *RESULTS.glob("*/*.md"), *submissions)):
        path = f"results/{file.relative_to(RESULTS).as_posix()}"
        files.append(File.generated(config, path, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to the results as they are in the repository become links within the site."""
    return markdown.replace("../benchmarks/results/", "results/")


def on_page_content(html: str, **_: Any) -> str:
    """Names in the first column of a table may break after `/`, `.` and `_`, so that most tables fit on a phone."""
    return re.sub("(?<=<td><code>)[^<]+", lambda name: re.sub("([/._])", r"\1<wbr>", name[0]), html)
