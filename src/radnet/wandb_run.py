"""A run of Weights & Biases that is told nothing of this machine."""

import os
import secrets
from pathlib import Path
from typing import Any

import wandb

from radnet.files import write_atomically


def run_arguments(folder: Path, project: str, offline: bool) -> dict[str, Any]:
    """Return what ``wandb.init`` is told so that a run folder has one W&B run, gone on with if it was begun before.

    Host, user, command line, working folder, code, git remote, installed packages and what is printed are left out.

    Args:
        folder: Of the run; W&B writes in ``wandb/`` there.
        project: At W&B.
        offline: Whether nothing leaves the machine; else ``WANDB_MODE`` decides.
    """
    kept = folder / "wandb" / "run_id"
    if not kept.is_file():
        given = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)  # given by an agent of a sweep
        write_atomically(kept, lambda path: path.write_text(given, encoding="utf-8"))
    settings = wandb.Settings(
        console="off",
        silent=True,
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    identity = kept.read_text(encoding="utf-8")
    mode = "offline" if offline else None
    return {
        "project": project,
        "dir": str(folder),
        "id": identity,
        "resume": "allow",
        "mode": mode,
        "settings": settings,
    }


def open_run(folder: Path, project: str, offline: bool) -> Any:
    """Return the W&B run of a run folder: the one that is open, or one that is opened now; any other is ended."""
    arguments = run_arguments(folder, project, offline)
    end_other(arguments["id"])
    return wandb.run or wandb.init(**arguments)


def end_other(identity: str) -> None:
    """End a W&B run that was left open, if it is another than this."""
    if wandb.run is not None and wandb.run.id != identity:
        end_run(wandb.run)


def end_run(run: Any) -> None:
    """Write what a W&B run still holds, end it, and remove W&B's diary of it, which names folders of this machine."""
    folder = Path(run.dir).parent
    run.finish()
    wandb.teardown()  # its process knows folders from where it was started, and the next run may start elsewhere
    for diary in [*folder.glob("logs/*.log"), *folder.parent.glob("debug*.log")]:
        diary.unlink(missing_ok=True)
