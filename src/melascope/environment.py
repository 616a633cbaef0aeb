"""What this machine offers: versions, cores, engines, precisions; and how many threads to use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = (
    "melascope", "numpy", "pandas", "pillow", "simplejpeg", "onnx", "openvino", "matplotlib",
    "keras", "tensorflow-cpu", "tensorflow", "jax", "tf2onnx", "scikit-learn", "urllib3", "optuna",
)  # fmt: skip
TRAINING = ("keras", "tf2onnx", "sklearn", "pydantic")


def threads() -> int:
    """Return the number of threads to use: MELASCOPE_THREADS, else the cores this process may run on."""
    asked = os.environ.get("MELASCOPE_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def cache_folder() -> Path:
    """Return the folder for packed images: MELASCOPE_CACHE, else the user's cache folder."""
    asked = os.environ.get("MELASCOPE_CACHE")
    if asked:
        return Path(asked)
    import platformdirs

    return Path(platformdirs.user_cache_dir("melascope"))


def versions() -> dict[str, str]:
    """Return the installed version of each package that results depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    """Return what a result depends on: Python, operating system, processor, cores, memory, packages."""
    import psutil

    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "bfloat16": bfloat16(),
        "packages": versions(),
    }


def bfloat16() -> bool | None:
    """Return whether the processor computes in bfloat16, or None where that is unknown."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    # `flags` of x86, `Features` of ARM; elsewhere nobody knows.
    flags = {word for line in told.splitlines() if line.startswith(("flags", "Features")) for word in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None


def engines() -> dict[str, list[str]]:
    """Return each inference engine that is installed, and the devices it sees."""
    found: dict[str, list[str]] = {}
    if importlib.util.find_spec("openvino"):
        import openvino

        found["openvino"] = list(openvino.Core().available_devices)
    if importlib.util.find_spec("onnxruntime"):
        found["onnxruntime"] = ["installed; not used"]
    return found


def missing_for_training() -> list[str]:
    """Return the modules of the extra `train` that are not installed."""
    missing = [name for name in TRAINING if importlib.util.find_spec(name) is None]
    if not any(importlib.util.find_spec(name) for name in ("tensorflow", "jax", "torch")):
        missing.append("tensorflow")
    return missing


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
