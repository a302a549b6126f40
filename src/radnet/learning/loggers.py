"""Where the course of training is written beside the run folder's own train_log.csv."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger


def csv_logger(folder: Path) -> Logger:
    """Return Lightning's CSV logger, writing in the run folder."""
    return CSVLogger(folder, name="lightning", version="")


def wandb_logger(folder: Path, project: str, offline: bool) -> Logger:
    """Return a Weights & Biases logger; ``offline`` keeps everything in the run folder.

    Numbers of each epoch go to it, no patient id, path or table.
    """
    return WandbLogger(project=project, save_dir=folder, offline=offline)


def close(logger: Logger) -> None:
    """Write what a logger still holds and end its run."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
