"""Which processor k-means runs on; faiss itself falls back to the CPU without a word."""

from __future__ import annotations

import logging

import faiss
import numpy as np

from sld_user_dir.devices import DeviceError, check_device

logger = logging.getLogger(__name__)


def resolve_gpus(device: str) -> int:
    """How many GPUs to use: 0 for the CPU, else all that faiss sees, or one if it is named, self-tested.

    Args:
        device: see `sld_user_dir.devices`; `cuda` is an error where there is no GPU.

    Raises:
        DeviceError: no GPU or no GPU build of faiss, or the self-test failed.
    """
    word = check_device(device)
    n_gpus = 0 if word == "cpu" else int(faiss.get_num_gpus())
    if n_gpus == 0:
        if word.startswith("cuda"):
            raise _no_gpu(device)
        logger.info("k-means runs on the CPU (faiss %s, %d threads)", faiss.__version__, faiss.omp_get_max_threads())
        return 0
    n_gpus = 1 if ":" in word else n_gpus
    self_test(n_gpus)
    logger.info("k-means runs on %d GPU(s) (faiss %s)", n_gpus, faiss.__version__)
    return n_gpus


def _no_gpu(device: str) -> DeviceError:
    if _is_gpu_build():
        problem, remedy = "faiss sees no GPU though it is a GPU build", "check nvidia-smi and CUDA_VISIBLE_DEVICES"
    else:
        problem = "this faiss is a CPU build"
        remedy = "install requirements-gpu.txt in place of faiss-cpu (never both)"
    return DeviceError(f"--device {device}", problem, f"{remedy}, or take --device cpu")


def self_test(n_gpus: int) -> None:
    """Search 4,096 vectors on each GPU and compare with the CPU, before hours of work.

    Some wheels import and see a card for which they hold no kernels.

    Raises:
        DeviceError: faiss fails on a GPU, or finds other distances than on the CPU.
    """
    rng = np.random.default_rng(0)
    points = rng.standard_normal((4096, 64), dtype=np.float32)
    centroids = rng.standard_normal((256, 64), dtype=np.float32)
    flat = faiss.IndexFlatL2(64)
    flat.add(centroids)
    expected, _ = flat.search(points, 1)
    for gpu in range(n_gpus):
        try:
            index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), gpu, flat)
            found, _ = index.search(points, 1)
        except RuntimeError as error:
            raise DeviceError(
                f"GPU {gpu}",
                f"faiss {faiss.__version__} fails on it ({_last_line(error)})",
                "take --device cpu or a faiss-gpu wheel built for this card",
            ) from error
        if not np.allclose(found, expected, rtol=1e-2, atol=1e-2):
            worst = float(np.abs(found - expected).max())
            raise DeviceError(
                f"GPU {gpu}", f"distances differ from the CPU's by up to {worst:.3g}", "take --device cpu"
            )


def _is_gpu_build() -> bool:
    return hasattr(faiss, "StandardGpuResources")


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
