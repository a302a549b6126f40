"""What radnet's training loop costs beside a bare one, and what reading, waiting and memory cost it, in one run.

usage: python benchmarks/training.py [--only PART …] [--patients 96] [--epochs 8] [--out results/training.csv]

loop      samples/s of ``fit_network`` (a hybrid network: radiomics and a small ResNet on patches of 3 × 32³, without
          augmentation) against a bare PyTorch loop over the same batches held in memory, alternated, from the first
          loss to the last, so that neither side is charged for starting. Each learns with one thread; radnet reads
          with another, whose CPU time is told beside.
data      seconds to read the patches of an epoch from radnet's file, against MONAI's Dataset with LoadImaged, Spacingd
          and a crop, which reads every scan in every epoch, on a simulated cohort; cutting the file once is told too.
waiting   share of an epoch's time that the loop waits for the next batch, of the epochs after the first.
memory    peak memory of a process that fits 100, and 1,000, patients whose patches stand in a file.
gpu       samples/s in float32 and bfloat16, and how busy the GPU is; not run where there is none.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from monai.data import Dataset
from monai.transforms import Compose, CropForegroundd, EnsureChannelFirstd, LoadImaged, ResizeWithPadOrCropd, Spacingd
from omegaconf import OmegaConf

from radnet.cohort import PatchTable
from radnet.config import build
from radnet.data.manifest import read_manifest
from radnet.data.simulate import simulate, simulation_settings
from radnet.imaging.patch import LesionChannel, PatchSettings, WindowChannel
from radnet.learning.batch import Bags, Batch, Images
from radnet.learning.datamodule import LesionDataModule, PatientBatches
from radnet.learning.fit import TrainerSettings, fit_network
from radnet.learning.losses import response_loss
from radnet.learning.module import network_output
from radnet.learning.patches import cohort_patches
from radnet.models.hybrid import HybridNetwork

HERE = Path(__file__).parent
SIDE, CHANNELS, LESIONS, FEATURES, BATCH = 32, 3, 2, 100, 16
RESNET = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 32, 64], "conv1_t_size": 3}
STRIDES = {"ResNet of conf/model/hybrid.yaml": 2, "the same, first layer of stride 1": 1}
FASTER, LESS, WAITING, FLAT = 0.95, 10.0, 0.05, 1.05


def main() -> None:
    """Measure what was asked for, print it as it comes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(_PARTS), default=list(_PARTS))
    parser.add_argument("--patients", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "training.csv")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        _measure_memory(json.loads(chosen.measure))
        return
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen.only:
            for row in _PARTS[part](Path(folder), chosen):
                print({"part": part, **row}, flush=True)
                rows.append({"part": part, **row})
    pd.DataFrame(rows).to_csv(chosen.out, index=False)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(chosen.out)


def write_patches(file: Path, patients: int) -> None:
    """Write noise as the patches of two lesions a patient, a patient at a time."""
    shape = (patients * LESIONS, CHANNELS, SIDE, SIDE, SIDE)
    with file.open("wb") as out:
        facts = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, facts)
        rng = np.random.default_rng(0)
        for _ in range(patients):
            out.write(rng.random((LESIONS, *shape[1:]), dtype=np.float32).astype("<f2").tobytes())


def patients_of(file: Path, patients: int) -> Bags:
    """Return patients of two lesions each, whose patches stand in the file."""
    keys = [[(f"P{one:05d}", f"L{lesion}") for lesion in range(LESIONS)] for one in range(patients)]
    rows = pd.DataFrame([key for one in keys for key in one], columns=["patient_id", "lesion_id"])
    rows = rows.assign(place=range(patients * LESIONS), status="ok", spacing_mm=None, remark="")
    table = PatchTable(file, rows, {"soft_tissue": "image", "fat": "image", "lesion": "mask"})
    places = [np.arange(LESIONS) + LESIONS * one for one in range(patients)]
    rng = np.random.default_rng(1)
    event = (rng.random(patients) < 0.4).astype(float)
    features = [rng.normal(size=(LESIONS, FEATURES)) for _ in range(patients)]
    unknown = np.full(patients, np.nan)
    return Bags(features, np.zeros((patients, 0)), event, unknown, (), Images(table, keys, places))


def network(stride: int = 2) -> HybridNetwork:
    torch.manual_seed(0)
    return HybridNetwork(
        n_features=FEATURES,
        n_clinical=0,
        n_channels=CHANNELS,
        radiomics={"hidden": [64], "dropout": 0.2},
        cnn={
            "net": "monai.networks.nets.ResNet",
            "arguments": {**RESNET, "conv1_t_stride": stride},
            "batch_norm": "group",
        },
        embedding=32,
        fusion="concat",
        aggregate="mean",
        dropout=0.2,
        modality_dropout=0.0,
        n_outputs=1,
    )


def settings(epochs: int, **changes: object) -> TrainerSettings:
    given = {"max_epochs": epochs, "patience": epochs, "valid_share": 0.0, "batch_size": BATCH}
    return TrainerSettings(**{**given, "learning_rate": 1e-3, "weight_decay": 1e-3, **changes})  # type: ignore[arg-type]


class Clock:
    """The response loss, which notes when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.cpu: list[float] = []

    def __call__(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        if output.is_cuda:
            torch.cuda.synchronize()
        self.asked.append(time.perf_counter())
        self.cpu.append(time.process_time())
        return response_loss(output, batch)

    @property
    def batches_per_s(self) -> float:
        """Of all batches after the first."""
        return (len(self.asked) - 1) / (self.asked[-1] - self.asked[0])

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all threads of this process, of all batches after the first."""
        return self.cpu[-1] - self.cpu[0]


def _loop(work: Path, chosen: argparse.Namespace) -> list[dict[str, object]]:
    write_patches(work / "loop.npy", chosen.patients)
    bags = patients_of(work / "loop.npy", chosen.patients)
    data = LesionDataModule(bags, None, BATCH, 5)
    epochs = []
    for epoch in range(chosen.epochs):
        data.order.set_epoch(epoch)
        epochs.append(list(data.train_dataloader()))
    rows = []
    for what, stride in STRIDES.items():
        found, cpu = [], []
        for _ in range(chosen.repeats):
            ours, bare = Clock(), Clock()
            fit_network(network(stride), ours, bags, None, settings(chosen.epochs), 5)
            _bare_loop(bare, epochs, stride)
            assert len(ours.asked) == len(bare.asked)
            found.append((ours.batches_per_s * BATCH, bare.batches_per_s * BATCH))
            cpu.append(bare.cpu_s / ours.cpu_s)
        ratio = [ours / bare for ours, bare in found]
        rows += [
            _row(f"radnet's loop, {what}", [one for one, _ in found], "patients/s"),
            _row(f"a bare loop over the same batches in memory, {what}", [one for _, one in found], "patients/s"),
            _row(f"ratio, {what}", ratio, "", f">= {FASTER}", np.median(ratio) >= FASTER),
            _row(f"the same of patients per CPU second, {what}", cpu, ""),
        ]
    return rows


def _bare_loop(clock: Clock, epochs: list[list[Batch]], stride: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = network(stride).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    for batches in epochs:
        for batch in batches:
            optimizer.zero_grad()
            clock(network_output(model, batch), batch).backward()
            optimizer.step()
    torch.set_num_threads(before)


def _data(work: Path, chosen: argparse.Namespace) -> list[dict[str, object]]:
    folder = work / "simulated"
    simulate(simulation_settings("small", n=min(chosen.patients, 60), size_voxels=64), folder)
    cohort = read_manifest(folder)
    cut = PatchSettings((SIDE,) * 3, (1.0, 1.0, 1.0), {"ct": WindowChannel(-160, 240), "lesion": LesionChannel()})
    start = time.perf_counter()
    table = cohort_patches(cohort, cut, cache=work / "patches", limit_s=None)
    once_s = time.perf_counter() - start
    assert (table.rows["status"] == "ok").all()
    of_patient = [table.rows[table.rows["patient_id"] == one] for one in cohort.ids]
    keys = [list(rows[["patient_id", "lesion_id"]].itertuples(index=False, name=None)) for rows in of_patient]
    images = Images(table, keys, [rows["place"].to_numpy() for rows in of_patient])
    nothing = [np.zeros((len(rows), 0)) for rows in of_patient]
    n = len(cohort)
    data = LesionDataModule(Bags(nothing, np.zeros((n, 0)), np.zeros(n), np.zeros(n), (), images), None, BATCH, 5)
    lesions = [
        {"image": str(one.image), "mask": str(one.mask)}
        for patient in cohort.first_delineations().patients
        for lesion in patient.lesions
        for one in lesion.delineations
    ]
    both = ["image", "mask"]
    steps = [
        LoadImaged(both),
        EnsureChannelFirstd(both),
        Spacingd(both, pixdim=(1.0, 1.0, 1.0), mode=("bilinear", "nearest")),
        CropForegroundd(both, source_key="mask", allow_smaller=True),
        ResizeWithPadOrCropd(both, (SIDE,) * 3),
    ]
    theirs = Dataset(lesions, Compose(steps))
    ours_s, theirs_s = [], []
    torch.set_num_threads(1)
    for repeat in range(chosen.repeats):
        data.order.set_epoch(repeat)
        start = time.perf_counter()
        shown = sum(int(batch["has_image"].sum()) for batch in data.train_dataloader())
        ours_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        read = sum(1 for place in range(len(theirs)) if theirs[place]["image"].shape[0])
        theirs_s.append(time.perf_counter() - start)
        assert read - LESIONS * 3 <= shown <= read  # a last batch of one patient is left out
    ratio = [their / our for their, our in zip(theirs_s, ours_s, strict=True)]
    what = f"{len(lesions)} lesions, scans of 64³ voxels"
    return [
        _row(f"cutting the patches once, {what}", [once_s], "s"),
        _row(f"an epoch's patches from the file, {what}", ours_s, "s"),
        _row(f"an epoch read by MONAI's Dataset, {what}", theirs_s, "s"),
        _row("ratio", ratio, "", f">= {LESS:.0f}", np.median(ratio) >= LESS),
    ]


def _waiting(work: Path, chosen: argparse.Namespace) -> list[dict[str, object]]:
    write_patches(work / "waiting.npy", chosen.patients)
    bags = patients_of(work / "waiting.npy", chosen.patients)
    turns, moderate = (
        build(OmegaConf.load(HERE.parent / "conf" / "augment" / f"{name}.yaml")) for name in ("turns", "moderate")
    )
    rows = []
    kinds = {"no augmentation, loaders=0": (None, 0), "augment=turns, loaders=1": (turns, 1)}
    kinds |= {"augment=turns, loaders=0": (turns, 0), "augment=moderate, loaders=0": (moderate, 0)}
    for (what, (varied, loaders)), (net, stride) in product(kinds.items(), STRIDES.items()):
        shares, chosen_settings = [], settings(chosen.epochs, loaders=loaders)
        for _ in range(max(1, chosen.repeats // 2)):
            clock = Clock()
            with Waits() as waits:
                fit_network(network(stride), clock, bags, None, chosen_settings, 5, augment=varied)
            batches = len(clock.asked) // chosen.epochs
            late = [taken for begun, taken in waits.taken if begun > clock.asked[batches - 1]]
            shares.append(sum(late) / (clock.asked[-1] - clock.asked[batches - 1]))
        met = {} if varied is moderate else {"target": f"<= {WAITING}", "met": np.median(shares) <= WAITING}
        rows.append(_row(f"share of time waited, {what}, {net}", shares, "", **met))
    return rows


class Waits:
    """Notes, for as long as it is entered, when each next batch was asked for and how long it took."""

    def __enter__(self) -> "Waits":
        self.taken: list[tuple[float, float]] = []
        self.plain = plain = PatientBatches.__iter__
        taken = self.taken

        def timed(batches: PatientBatches) -> Iterator[Batch]:
            iterator, begun = plain(batches), time.perf_counter()
            for batch in iterator:
                taken.append((begun, time.perf_counter() - begun))
                yield batch
                begun = time.perf_counter()

        PatientBatches.__iter__ = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        PatientBatches.__iter__ = self.plain  # type: ignore[method-assign]


def _memory(work: Path, chosen: argparse.Namespace) -> list[dict[str, object]]:
    del chosen
    rows, peaks = [], []
    for patients in (100, 1000):
        file = work / f"memory{patients}.npy"
        write_patches(file, patients)
        task = json.dumps({"file": str(file), "patients": patients})
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, __file__, "--measure", task], check=True, capture_output=True, text=True, env=env
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
        size_mib = file.stat().st_size / 2**20
        file.unlink()
        peaks.append(found["peak_mib"])
        rows.append(_row(f"peak memory, {patients} patients, {size_mib:.0f} MiB of patches", [peaks[-1]], "MiB"))
        rows.append(_row(f"of that before the fit, {patients} patients", [found["before_mib"]], "MiB"))
    ratio = peaks[1] / peaks[0]
    return [*rows, _row("ratio", [ratio], "", f"<= {FLAT}", ratio <= FLAT)]


def _measure_memory(task: dict) -> None:
    bags = patients_of(Path(task["file"]), task["patients"])
    valid = bags.of(np.arange(len(bags) // 4))
    before_mib = _peak_mib()
    fit_network(network(), response_loss, bags, valid, settings(1), 5)
    print(json.dumps({"before_mib": before_mib, "peak_mib": _peak_mib()}))


def _peak_mib() -> int:
    """Return the peak memory of this process; getrusage would tell that of the one which started it, if greater."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def _gpu(work: Path, chosen: argparse.Namespace) -> list[dict[str, object]]:
    if not torch.cuda.is_available():
        return [{"what": "not run: no GPU"}]
    write_patches(work / "gpu.npy", chosen.patients)
    bags = patients_of(work / "gpu.npy", chosen.patients)
    rows = []
    for precision in ("32-true", "bf16-mixed"):
        speed, busy = [], []
        for _ in range(chosen.repeats):
            clock = Clock()
            with Busy() as told:
                fit_network(network(), clock, bags, None, settings(20, accelerator="gpu", precision=precision), 5)
            speed.append(clock.batches_per_s * BATCH)
            busy.append(float(np.mean(told.share)) if told.share else float("nan"))
        rows += [_row(f"GPU, {precision}", speed, "patients/s"), _row(f"GPU busy, {precision}", busy, "")]
    return rows


class Busy:
    """Asks nvidia-smi five times a second, for as long as it is entered, how busy the GPU is, 0 to 1."""

    def __enter__(self) -> "Busy":
        self.share: list[float] = []
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
        self.asking = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        self.reading = threading.Thread(target=self._read)
        self.reading.start()
        return self

    def _read(self) -> None:
        assert self.asking.stdout is not None
        self.share += [float(line) / 100 for line in self.asking.stdout]

    def __exit__(self, *_: object) -> None:
        self.asking.terminate()
        self.reading.join()


def _row(what: str, found: list[float], unit: str, target: str = "", met: object = "") -> dict[str, object]:
    low, middle, high = (float(f"{one:.4g}") for one in (min(found), float(np.median(found)), max(found)))
    return {
        "what": what, "unit": unit, "median": middle, "lowest": low, "highest": high, "runs": len(found),
        "target": target, "met": met,
    }  # fmt: skip


_PARTS = {"loop": _loop, "data": _data, "waiting": _waiting, "memory": _memory, "gpu": _gpu}

if __name__ == "__main__":
    main()
