"""Work shared by several processes of this machine, each with its own copy, that speak to one another."""

import json
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessException, start_processes

Work = Callable[[int], dict[str, Any]]


def in_processes(work: Work, count: int) -> dict[str, Any]:
    """Let ``count`` processes do a work at once, and return what the first of them made of it.

    Each is told by its environment who it is, in the words that Lightning and torch.distributed read, so that they take
    it for started from outside. Nothing is shared: a process is sent a copy of the work, and the first leaves what it
    made in a file. Processes that live on where another failed are stopped.

    Args:
        work: Given which process it runs in, from 0; what it holds is pickled, and what it returns is tensors, numbers,
            text, lists and dicts.
        count: Number of processes.

    Raises:
        ValueError: If the work cannot be sent to another process, or raised a ValueError there.
        ChildProcessError: If it failed in another way, with its message and number.
    """
    try:
        told = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"trainer.processes={count}: what is trained must be sent to other processes, and cannot be ({error}): "
            "use trainer.processes=1, or functions and classes that stand in a module"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        running = start_processes(_begin, (told, count, _free_port(), folder), count, join=False, start_method="spawn")
        try:
            while not running.join():
                pass
        except ProcessException as error:
            raise _first_fault(Path(folder), f"process {error.error_index} of {count} ended: {error.msg}") from None
        finally:
            for one in running.processes:
                one.terminate()
        found: dict[str, Any] = torch.load(Path(folder, "made.pt"), weights_only=True)
        return found


def _begin(process: int, told: bytes, count: int, port: int, folder: str) -> None:
    os.environ.update(
        LOCAL_RANK=str(process),
        NODE_RANK="0",
        WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    try:
        made = pickle.loads(told)(process)  # noqa: S301 - it comes from the process that started this one
    except Exception as error:  # others fail soon after, for want of this one: the first to fail tells why
        fault = {"process": process, "kind": type(error).__name__, "told": str(error)}
        Path(folder, f"fault-{time_ns()}-{process}.json").write_text(json.dumps(fault), encoding="utf-8")
        raise
    if process == 0:
        torch.save(made, Path(folder, "made.pt"))


def _first_fault(folder: Path, otherwise: str) -> Exception:
    faults = sorted(folder.glob("fault-*.json"))
    if not faults:
        return ChildProcessError(f"{otherwise}: it may have run out of memory")
    fault = json.loads(faults[0].read_text(encoding="utf-8"))
    if fault["kind"] == ValueError.__name__:
        return ValueError(fault["told"])
    return ChildProcessError(f"training process {fault['process']} failed: {fault['kind']}: {fault['told']}")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
