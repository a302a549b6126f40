"""What a person sees while radnet works: progress with rate and time left, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

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
    count = [0, 0]
    with _bar() if console.is_interactive else nullcontext() as bar:  # a bar that is not shown leaves an empty line
        task = bar.add_task(title, total=None, what="") if bar else None

        def show(done: int, total: int, what: str = "") -> None:
            count[:] = [done, total]
            if bar and task is not None:
                bar.update(task, completed=done, total=total, what=what)

        yield show
    if count[1]:
        console.print(f"{title}: {count[0]} of {count[1]}", highlight=False, markup=False)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    return Progress(*columns, console=console, transient=True)
