"""An RGB backbone by ONNX Runtime: on a CPU, EfficientNet-Lite0 takes less than a third of the time that torch needs.

:func:`export_backbone` turns the torch backbone into the bytes of an ONNX file, once, at the fit; it needs the packages
of ``requirements-onnx.txt``. :class:`OnnxBackbone` runs them, and needs ``onnxruntime`` alone. Features differ from
torch's by rounding: relative to the largest, by at most ``TOLERANCE``, which each export checks.
"""

import contextlib
import importlib.util
import io
import json
import logging
import warnings

import torch
from torch import nn

from common.errors import InputError
from models.checkpoints import reason_of

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # needed for the export
RUNTIME = "onnxruntime"  # needed to run it
TOLERANCE = 1e-4  # measured: 2e-5 at most, on photographs
FACTS = "m3dm"  # key of the backbone's facts among the file's metadata


def is_installed(names=(RUNTIME,)) -> bool:
    """Whether the packages ``names`` are installed; none is imported."""
    return all(importlib.util.find_spec(name) for name in names)


def export_backbone(backbone) -> bytes:
    """The ONNX file of a ``models.rgb_backbones.RGBBackbone`` on the CPU, for one picture at a time.
    Raises InputError: ONNX Runtime gives other features than torch."""
    picture = torch.randn(1, 3, backbone.size, backbone.size, generator=torch.Generator().manual_seed(0))
    with _in_silence():
        program = torch.onnx.export(
            backbone, (picture,), dynamo=True, verbose=False, input_names=["rgb"], output_names=["patches"]
        )
    facts = {"name": backbone.name, "size": backbone.size, "width": backbone.embed_dim}
    model = program.model_proto  # made anew at each access
    model.metadata_props.add(key=FACTS, value=json.dumps(facts))
    data = model.SerializeToString()
    with torch.no_grad():
        expected, got = backbone(picture), OnnxBackbone(data)(picture)
    difference = float((got - expected).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        raise InputError(f"ONNX Runtime gives other features of {backbone.name} than torch: {difference:.1e}")
    return data


class OnnxBackbone(nn.Module):
    """Patch features by ONNX Runtime on the CPU; to be used like the ``RGBBackbone`` that was exported.

    It uses as many threads as torch does when it is made.

    ``data``: bytes from :func:`export_backbone`; InputError if they are damaged.
    """

    def __init__(self, data: bytes):
        super().__init__()
        import onnxruntime  # imported here, since it need not be installed

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores between parts
        options.log_severity_level = 3  # errors
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            facts = json.loads(self.session.get_modelmeta().custom_metadata_map[FACTS])
        except Exception as error:  # its exceptions have no common type
            told = f"the model's ONNX backbone cannot be read ({reason_of(error)}); fit the model again"
            raise InputError(told) from None
        self.name, self.size, self.embed_dim, self.data = facts["name"], facts["size"], facts["width"], data

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Patches [B, 784, embed_dim], row-major, of ImageNet-normalised images [B, 3, size, size] on the CPU."""
        if tuple(rgb.shape[1:]) != (3, self.size, self.size):
            raise ValueError(f"pictures have to be [B, 3, {self.size}, {self.size}], are {tuple(rgb.shape)}")
        found = [self.session.run(None, {"rgb": picture[None].float().numpy()})[0] for picture in rgb]
        return torch.cat([torch.from_numpy(patches) for patches in found])


@contextlib.contextmanager
def _in_silence():
    """The exporter prints its steps, and warns of packages that it could use."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
