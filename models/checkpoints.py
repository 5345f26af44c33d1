"""Finds checkpoint files, loads them safely, and reports what is wrong with them.

Layouts: Point-MAE and Point-BERT store the encoder under ``["base_model"]`` with a key prefix; UFF stores its weights
under ``["model"]``; DINO ViTs are plain state dicts.
"""

import argparse
import pickle
import warnings
from pathlib import Path
from typing import NamedTuple, Optional

import torch

from common.errors import InputError

M3DM_README = 'the links under "Checkpoints" in the README of github.com/nomewang/M3DM'
DINO_FILES = "https://dl.fbaipublicfiles.com/dino"


class Role(NamedTuple):
    """The purpose of a checkpoint file: the network's title, its usual file name, its source, and its layout."""

    title: str
    file: Optional[str]
    source: str
    entry: Optional[str] = None
    prefix: str = ""
    ignored: tuple = ()  # keys of released files that begin so (after the prefix) are not needed


DINO_BASE = Role("DINO ViT-B/8 (RGB backbone)", "dino_vitbase8_pretrain.pth", f"{DINO_FILES}/dino_vitbase8_pretrain/")
DINO_SMALL = Role(
    "DINO ViT-S/8 (RGB backbone)", "dino_deitsmall8_pretrain.pth", f"{DINO_FILES}/dino_deitsmall8_pretrain/"
)
POINT_MAE = Role("Point-MAE (xyz backbone)", "pointmae_pretrain.pth", M3DM_README, "base_model", "MAE_encoder.")
POINT_BERT = Role(
    "Point-BERT (xyz backbone)", "Point-BERT.pth", M3DM_README, "base_model", "transformer_q.", ("cls_head",)
)
UFF = Role("UFF (fusion module, --fusion_module_path)", None, f"{M3DM_README} (uff_pretrain.pth)", "model")
STANDIN = "untrained_standin"  # key that marks a file as written by lab/standin_checkpoints.py


def require(path, role):
    """Raise InputError if there is no file at ``path``."""
    if not Path(path).is_file():
        raise InputError(f"{path}: missing: the {role.title} checkpoint; get it from {role.source}")


def read_file(path, role):
    """The whole content of the checkpoint file at ``path``, on the CPU; InputError if it is missing, unreadable or
    unsafe to load."""
    require(path, role)
    try:
        return _load(path)
    except Exception as error:  # zip, pickle and tensor errors of all kinds
        is_pickle = isinstance(error, pickle.UnpicklingError)
        unsafe = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line] if is_pickle else []
        if unsafe:
            raise InputError(
                f"{path}: refused as {role.title} checkpoint: it holds more than weights ({unsafe[0]}); save its "
                "state dict alone with torch.save"
            ) from None
        reason = "no torch file, or damaged" if is_pickle else reason_of(error)
        raise InputError(
            f"{path}: cannot be read as {role.title} checkpoint ({reason}); download it again from {role.source}"
        ) from None


def reason_of(error):
    """What an exception of a library says, in one line."""
    lines = str(error).strip().splitlines()
    return " ".join(line.strip() for line in lines[:2])[:200] or type(error).__name__


def read_checkpoint(path, role):
    """State dict for ``role`` from the file at ``path``, without its wrappers and key prefixes. InputError: the file is
    missing, unreadable, unsafe to load or has another layout."""
    content = read_file(path, role)
    of_role = content
    if role.entry is not None:
        of_role = content.get(role.entry) if isinstance(content, dict) else None
    if not isinstance(of_role, dict) or not of_role:
        found = ", ".join(map(repr, list(content)[:4])) if isinstance(content, dict) else type(content).__name__
        lacking = f"no {role.entry!r} entry" if role.entry else "no weights"
        raise _unfit(path, role, f"it has {lacking} (found: {found or 'nothing'})")
    of_role = {str(key).removeprefix("module."): value for key, value in of_role.items() if key != STANDIN}
    state = {key.removeprefix(role.prefix): value for key, value in of_role.items() if key.startswith(role.prefix)}
    if not state:
        found = next(iter(of_role))
        raise _unfit(path, role, f"no key begins with 'module.{role.prefix}' (found: {found!r})")
    return {key: value for key, value in state.items() if not key.startswith(role.ignored)}


def is_standin(path):
    """Whether a checkpoint file is marked as untrained stand-in weights; False if the file cannot be read."""
    try:
        content = _load(path, mmap=True)  # only the keys are needed
    except Exception:  # the code that loads the file reports what is wrong
        return False
    return isinstance(content, dict) and STANDIN in content


def load_into(module, path, role, optional=()):
    """Load the checkpoint at ``path`` into ``module``, and return it. Keys that begin with one of ``optional`` may be
    missing. InputError: a key is missing, unexpected or of another shape; the message names the file and the key."""
    state, wanted = read_checkpoint(path, role), module.state_dict()
    needed = [key for key in wanted if not key.startswith(tuple(optional)) and not key.endswith("num_batches_tracked")]
    missing, unexpected = [key for key in needed if key not in state], [key for key in state if key not in wanted]
    for keys, what in ((missing, "is missing"), (unexpected, "is unexpected")):
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise _unfit(path, role, f"key {keys[0]!r} {what}{more}")
    for key, value in state.items():
        shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        if shape != tuple(wanted[key].shape):
            needed = f"the chosen backbones need {tuple(wanted[key].shape)}"
            raise _unfit(path, role, f"{key!r} has shape {shape}, {needed}", "give a checkpoint made for them")
    module.load_state_dict(state, strict=False)
    return module


def _load(path, **options):
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about old pickle protocols
        return torch.load(path, map_location="cpu", weights_only=True, **options)


def _unfit(path, role, what, advice=None):
    """The error that the file at ``path`` is no checkpoint for ``role``."""
    advice = advice or f"get the right file from {role.source}"
    return InputError(f"{path}: not a fitting {role.title} checkpoint: {what}; {advice}")
