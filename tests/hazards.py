"""Work that goes wrong in every way; other processes import it from here by name, so it imports little itself."""

import os
import signal
import time
from pathlib import Path


def _image(size):
    import SimpleITK as sitk  # noqa: N813 - as SimpleITK's own pages write it

    return sitk.Image(size, size, size, sitk.sitkFloat64)


HAZARDS = {
    "hangs": lambda: time.sleep(3600),
    "leaves": lambda: os._exit(3),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exhausts memory": lambda: bytearray(2**36),
    "exhausts ITK's memory": lambda: _image(4000),
    "raises": lambda: 1 / 0,
}


def measure(items):
    """Return what was asked for, or meet the hazard that was."""
    for item in items:
        HAZARDS.get(item, lambda: time.sleep(0.1))()
        yield item, "done"


def failed(item, reason):
    return item, reason


def tell_process_and_hang(items):
    """Write this process's id into the file that is the item, and hang."""
    for item in items:
        Path(item).write_text(str(os.getpid()))
        time.sleep(3600)
        yield item


class Interrupted(RuntimeError):  # noqa: N818 - no error of ours
    """Stands for whatever ends a run from outside."""


class Steps:
    """How many losses may still be asked for, and how many were."""

    left = 10**9
    asked = 0


def counted_loss(score, batch, positive_weight):
    """Return the loss of a response while steps are left."""
    from radnet.learning.losses import response_loss

    if Steps.left == 0:
        raise Interrupted
    Steps.left -= 1
    Steps.asked += 1
    return response_loss(score, batch, positive_weight)


def version() -> str:
    return "1.0"


def count_voxels(image, mask, settings):
    """Measure like an engine: the number of voxels under every name. Hang at a lesion of fewer than 100."""
    import SimpleITK as sitk  # noqa: N813

    from radnet.radiomics.settings import feature_names

    voxels = float(sitk.GetArrayViewFromImage(mask).sum())
    if voxels < 100:
        time.sleep(3600)
    return dict.fromkeys(feature_names(settings), voxels)
