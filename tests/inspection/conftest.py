"""Shared by the tests of saved models: one model, and loading it without networks."""

import pytest

from feature_extractors.extraction import PatchExtractor
from tests.fakes import PoolingExtractor
from tests.make_models import examined, fitted_runner, make_parts, options_for


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """Path of a model with 5 calibration parts that needs no networks; its folder's parent holds the data."""
    root = make_parts(tmp_path_factory.mktemp("model"), validation=5)
    return fitted_runner(examined(options_for(root, "DINO+Point_MAE", "--scoring", "pixel_max")))[1]


@pytest.fixture
def no_networks(monkeypatch):
    """Saved models load with toy patches in the place of networks."""
    monkeypatch.setattr(PatchExtractor, "from_checkpoints", lambda **_: PoolingExtractor())
    monkeypatch.setattr("inspection.inspector.used_weights", lambda *_: [])
