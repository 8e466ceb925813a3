"""What a report consists of, whatever it is written in: sections of words, tables and pictures."""

from dataclasses import dataclass, field

from benchmarks.report.figures.panel import Picture


@dataclass(frozen=True, kw_only=True)
class Words:
    """Paragraphs, or with `is_list` the points of a list. `**bold**` and `` `code` `` may stand in them."""

    lines: list[str]
    is_list: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text cells, the first column being names."""

    columns: list[str]
    rows: list[list[str]]
    title: str
    is_detail: bool = False
    """Whether a page had better fold it away."""

    @property
    def markdown(self) -> str:
        """The table in Markdown, its title not included."""
        lines = [self.columns, ["---" if n == 0 else "---:" for n in range(len(self.columns))], *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What stands under one heading."""

    title: str
    blocks: list["Words | Table | Picture"] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """What links to it."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower()).strip("-")


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report."""

    title: str
    opening: Words
    sections: list[Section]

    @property
    def answer(self) -> str:
        """What it opens with and its first table, in Markdown: enough for a terminal."""
        tables = [block for section in self.sections for block in section.blocks if isinstance(block, Table)]
        return "\n\n".join([*self.opening.lines, *(table.markdown for table in tables[:1])])

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in their order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Picture)]
