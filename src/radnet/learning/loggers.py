"""Where the course of training is written beside the run folder's own train_log.csv."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger


def csv_logger(folder: Path) -> Logger:
    """Return Lightning's CSV logger, writing in the run folder."""
    return CSVLogger(folder, name="lightning", version="")


def wandb_logger(folder: Path, project: str, offline: bool) -> Logger:
    """Return a Weights & Biases logger; ``offline`` keeps everything in the run folder.

    It is told the numbers of each epoch. What else is sent, and what is taken out of it, is told in ``tracking``.
    """
    from radnet.wandb_run import end_other, run_arguments  # W&B, which other runs need not load

    arguments = run_arguments(folder, project, offline)
    end_other(arguments["id"])
    return WandbLogger(save_dir=folder, **{key: one for key, one in arguments.items() if key != "dir"})


def close(logger: Logger) -> None:
    """Write what a logger still holds; a run of W&B stays open for what ``tracking`` sends at the end."""
    logger.save()
