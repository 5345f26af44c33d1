"""This machine and process: versions of what computes, and the memory taken so far."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "timm", "numpy", "scipy", "scikit-learn", "fpsample", "pillow", "tifffile")


def environment() -> dict[str, object]:
    """{name: value}: versions of Python, the platform and the important packages; number of CPUs."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{package: version(package) for package in PACKAGES},
        "faiss-cpu": _version_if_installed("faiss-cpu"),
    }


def _version_if_installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far in MiB; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)
