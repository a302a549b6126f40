"""What a person sees while radnet works: progress with rate and time left, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
Show = Callable[..., None]
"""Called as ``show(done, total)`` or ``show(done, total, what)``."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "–/s")


@contextmanager
def progress(title: str) -> Iterator[Show]:
    """Show a bar with count, rate and time left; nothing where stderr is no terminal but a line at the end."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[what]}", markup=False), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, what="")
        count = [0, 0]

        def show(done: int, total: int, what: str = "") -> None:
            count[:] = [done, total]
            bar.update(task, completed=done, total=total, what=what)

        yield show
    if count[1]:
        console.print(f"{title}: {count[0]} of {count[1]}", highlight=False, markup=False)
