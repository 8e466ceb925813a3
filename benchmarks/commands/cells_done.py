"""How many cells of how many are done, beside a progress bar that counts seconds."""

from rich.progress import ProgressColumn, Task


class Counted(ProgressColumn):
    """How many of how many, where the bar itself counts seconds."""

    def render(self, task: Task) -> str:
        return f"{task.fields['num_done']}/{task.fields['num_all']}"
