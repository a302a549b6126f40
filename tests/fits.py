"""Small cohorts with patches and networks fitted to them, by tests and by the processes that tests start and kill.

python fits.py FOLDER        does the fit that FOLDER/fit.json tells of, and leaves its weights in FOLDER/made.pt
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from monai.transforms import RandFlipd, RandGaussianNoised

from radnet.cohort import PatchTable
from radnet.learning.augment import Augmentation
from radnet.learning.batch import Bags, Images
from radnet.learning.cohort_risk import CohortRisk
from radnet.learning.fit import TrainerSettings, fit_network
from radnet.learning.losses import response_loss
from radnet.models.hybrid import HybridNetwork

SIZE = 8
RESNET = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 4, 4], "conv1_t_stride": 2}


def patched(folder: Path, n: int, seed: int = 0, survival: bool = False) -> Bags:
    """Return patients of one or two lesions, some without a patch or features, of three centres; no times are tied."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    counts = rng.integers(1, 3, n)
    keys = [[(f"P{one}", f"L{lesion}") for lesion in range(count)] for one, count in enumerate(counts)]
    there = rng.random(counts.sum()) < 0.8
    places = np.where(there, np.cumsum(there) - 1, -1)
    owner = np.repeat(np.arange(n), counts)
    patches = 0.5 * rng.random((there.sum(), 2, SIZE, SIZE, SIZE)) + 0.3 * risk[owner[there], None, None, None, None]
    np.save(folder / f"{seed}.npy", patches.astype(np.float16))
    rows = pd.DataFrame([key for one in keys for key in one], columns=["patient_id", "lesion_id"])
    rows = rows.assign(place=places, status=np.where(there, "ok", "no image"), spacing_mm=None, remark="")
    table = PatchTable(folder / f"{seed}.npy", rows, {"ct": "image", "lesion": "mask"})
    features = [rng.normal(size=(count, 5)) + risk[one] for one, count in enumerate(counts)]
    features[0][0] = np.nan  # a lesion that was not measured
    clinical = rng.normal(size=(n, 2))
    clinical[1] = np.nan
    time = rng.exponential(10 * np.exp(-risk)) if survival else np.full(n, np.nan)
    event = rng.random(n) < (0.4 if survival else 1 / (1 + np.exp(-2 * risk)))
    centres = [f"C{one % 3}" for one in range(n)]
    images = Images(table, keys, [places[owner == one] for one in range(n)])
    return Bags(features, clinical, event.astype(float), time, centres, images)


def hybrid(dropout: float = 0.2, modality_dropout: float = 0.2) -> HybridNetwork:
    """Return a network of radiomics, a tiny ResNet and clinical values, the same each time."""
    torch.manual_seed(0)
    return HybridNetwork(
        n_features=5,
        n_clinical=2,
        n_channels=2,
        radiomics={"hidden": [6], "dropout": dropout},
        cnn={"net": "monai.networks.nets.ResNet", "arguments": RESNET, "batch_norm": "group"},
        embedding=4,
        fusion="gated",
        aggregate="attention",
        dropout=dropout,
        modality_dropout=modality_dropout,
        n_outputs=1,
    )


def varied() -> Augmentation:
    """Return flips and noise."""
    flip = RandFlipd(["image", "distance", "mask"], prob=0.5, spatial_axis=0, allow_missing_keys=True)
    noise = RandGaussianNoised(["image"], prob=0.5, std=0.05, allow_missing_keys=True)
    return Augmentation({"flip": flip, "noise": noise})


def settings(**changes) -> TrainerSettings:
    given = {"max_epochs": 6, "patience": 6, "valid_share": 0.2, "batch_size": 8, "learning_rate": 0.01}
    return TrainerSettings(**{**given, "weight_decay": 0.0, **changes})


def fitted(folder: Path, survival: bool, calm: bool = False, checkpoint: Path | None = None, logger=None, **changes):
    """Fit a hybrid network to 24 patients and validate it on 12; return it and its history."""
    train, valid = patched(folder, 24, 1, survival), patched(folder, 12, 2, survival)
    network = hybrid(0.0, 0.0) if calm else hybrid()
    loss = CohortRisk(train.event, train.time) if survival else response_loss
    augment = None if calm else varied()
    history = fit_network(network, loss, train, valid, settings(**changes), 5, logger, checkpoint, augment)
    return network, history


if __name__ == "__main__":
    home = Path(sys.argv[1])
    network, history = fitted(home, checkpoint=home / "last.ckpt", **json.loads((home / "fit.json").read_text()))
    torch.save({"weights": network.state_dict(), "history": history}, home / "made.pt")
