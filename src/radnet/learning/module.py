"""The one Lightning module: a network that scores patients, a loss, and running metrics."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from radnet.learning.batch import Batch
from radnet.learning.losses import Loss


class PatientModule(pl.LightningModule):
    """Train a network with AdamW; log ``train_loss``, ``valid_loss`` and ``valid_auroc`` each epoch.

    The running AUROC steers nothing and is not reported: the numbers of a report come from the prediction table.
    """

    def __init__(self, network: nn.Module, loss: Loss, learning_rate: float, weight_decay: float) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.valid_auroc = BinaryAUROC()

    def forward(self, batch: Batch) -> Tensor:
        """Return one score per patient, shape (B,)."""
        return self.network(batch["features"], batch["present"], batch["clinical"])

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch."""
        loss = self.loss(self(batch), batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["event"]))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the loss and the running AUROC of the validation patients."""
        score = self(batch)
        size = len(batch["event"])
        self.log("valid_loss", self.loss(score, batch), on_step=False, on_epoch=True, batch_size=size)
        self.valid_auroc(score, batch["event"].int())
        self.log("valid_auroc", self.valid_auroc, on_step=False, on_epoch=True, batch_size=size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over every weight."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
