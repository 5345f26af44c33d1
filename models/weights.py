"""The weight files that a method uses: path, size, sha256, source, and whether they are untrained stand-ins."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch

from common.files import sha256_of
from models import checkpoints
from models.lite0 import weights_file
from models.models import XYZ_BACKBONES
from models.rgb_backbones import LITE0, PREFIX, RGB_BACKBONES


class WeightFile(NamedTuple):
    """One weight file."""

    network: str
    path: str
    size: int
    sha256: str
    source: str  # "file", "timm download" or "Python package"; if the file is not known, "sha256 of the tensors"
    standin: bool


def weight_files(folder="checkpoints", rgb=None, xyz=None, uff=None, **_):
    """[WeightFile] that ``PatchExtractor.from_checkpoints`` loads with the same arguments; None for weights that timm
    has not downloaded yet, or that are missing. InputError: there is no such RGB backbone, or the package with its
    weights is not installed."""
    folder, files = Path(folder), []
    if xyz in XYZ_BACKBONES:  # FPFH has no weights
        role = XYZ_BACKBONES[xyz][0]
        files.append(_weight_file(role.title, folder / role.file, "file"))
    if rgb is not None:
        files.append(_rgb_file(rgb, folder))
    if uff is not None:
        files.append(_weight_file(checkpoints.UFF.title, Path(uff), "file"))
    return files


def used_weights(options, build):
    """[WeightFile] of the networks that ``PatchExtractor.from_checkpoints(**options)`` loads.

    ``build`` loads the networks and returns the extractor. It is called only if a file is missing: then timm downloads
    it, or ``build`` raises InputError.
    """
    files = weight_files(**options)
    if None in files:
        backbone = build().deep_feature_extractor.rgb_backbone
        files = [file or weights_of_tensors(options["rgb"], backbone) for file in weight_files(**options)]
    return files


def weights_of_tensors(network, module):
    """WeightFile of a loaded module with an unknown file; its sha256 is that of its tensors, sorted by name."""
    digest, size = hashlib.sha256(), 0
    for key, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        digest.update(key.encode() + data)
        size += len(data)
    return WeightFile(network, "", size, digest.hexdigest(), "sha256 of the tensors", False)


def _rgb_file(name, folder):
    """WeightFile of the RGB backbone ``name``; None if timm has not downloaded it yet."""
    if name == LITE0:
        return _weight_file(name, weights_file(), "Python package")
    from models import timm_models

    if name not in RGB_BACKBONES:
        path = timm_models.weights_path(name.removeprefix(PREFIX), folder)
    else:
        name, role = RGB_BACKBONES[name]
        if role and (folder / role.file).is_file():
            return _weight_file(role.title, folder / role.file, "file")
        path = timm_models.downloaded(timm_models.config_of(name))
    local = path is not None and path.resolve().is_relative_to(folder.resolve())
    return _weight_file(name, path, "file" if local else "timm download")


def _weight_file(network, path, source):
    if path is None or not path.is_file():
        return None
    standin = source == "file" and checkpoints.is_standin(path)
    return WeightFile(network, str(path.resolve()), path.stat().st_size, sha256_of(path), source, standin)
