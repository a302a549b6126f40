"""The one Lightning module: a network that scores patients, a loss, and running metrics."""

from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc

from radnet.learning.batch import Batch
from radnet.learning.losses import Loss
from radnet.models.hybrid import HybridNetwork


class PatientModule(pl.LightningModule):
    """Train a network with AdamW; log ``train_loss``, ``valid_loss`` and ``valid_auroc`` each epoch.

    Validation patients are scored a batch at a time, and their loss is that of all of them together: a Cox loss of a
    small batch is not the cohort's. The running AUROC steers nothing and is not reported: the numbers of a report come
    from the prediction table. It is logged where the endpoint is one and has no follow-up.
    """

    def __init__(self, network: nn.Module, loss: Loss, learning_rate: float, weight_decay: float) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self._validated: list[tuple[Tensor, Batch]] = []

    def forward(self, batch: Batch) -> Tensor:
        """Return what the network says of each patient, shape (B,) or (B, T), float32 in any precision."""
        return network_output(self.network, batch).float()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the loss of a batch."""
        loss = self.loss(self(batch), batch)
        size = len(batch["event"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Keep the scores and outcomes of a batch until the epoch ends."""
        outcome = cast(Batch, {name: batch[name] for name in ("event", "time", "place")})
        self._validated.append((self(batch), outcome))

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the running AUROC of the validation patients."""
        output = torch.cat([one for one, _ in self._validated])
        event, time, place = (
            torch.cat([outcome[name] for _, outcome in self._validated]) for name in ("event", "time", "place")
        )
        self._validated.clear()
        everybody = cast(Batch, {"event": event, "time": time, "place": place})
        self.log("valid_loss", self.loss(output, everybody))
        if event.ndim == 1 and time.isnan().all():
            self.log("valid_auroc", binary_auroc(output.reshape(-1), event.int()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over every weight that learns."""
        learning = [weight for weight in self.parameters() if weight.requires_grad]
        # foreach: a third cheaper on a CPU, the same to the bit; fused would be cheaper still, and round otherwise
        return torch.optim.AdamW(learning, lr=self.learning_rate, weight_decay=self.weight_decay, foreach=True)


def network_output(network: nn.Module, batch: Batch) -> Tensor:
    """Return what a network says of the patients of a batch, shape (B,) or (B, T)."""
    if not isinstance(network, HybridNetwork):
        output: Tensor = network(batch["features"], batch["present"], batch["clinical"])
        return output
    return network(
        batch["features"],
        batch["present"],
        batch["clinical"],
        batch.get("image"),
        batch["has_features"],
        batch.get("has_image"),
        batch["has_clinical"],
    ).output
