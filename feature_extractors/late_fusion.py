"""Late fusion: two linear one-class SVMs that weight the banks' scores and maps (M3DM's decision layer fusion)."""

from typing import NamedTuple

import numpy as np

LEARNED = ("coef", "offset")  # what a fitted SVM's scores depend on


class LinearModel(NamedTuple):
    """What a fitted ``sklearn.linear_model.SGDOneClassSVM`` scores with: coef_ [banks] and offset_ [1]. Apart from
    scikit-learn, whose import takes a second, since a saved model only scores."""

    coef_: np.ndarray
    offset_: np.ndarray

    def score_samples(self, rows):
        """Scores [n] of ``rows`` [n, banks], larger = more anomalous, as scikit-learn's method computes them."""
        return rows @ self.coef_ - self.offset_ + self.offset_


class LateFusion:
    """Two ``SGDOneClassSVM``: ``score_model`` for image scores, ``pixel_model`` for pixels; None before they are
    fitted. ``score_lambdas``, ``map_lambdas``: one factor per bank, applied to its scores and to its maps."""

    def __init__(self, score_lambdas, map_lambdas, nu=0.5, max_iter=1000):
        self.score_lambdas = np.asarray(score_lambdas, dtype=np.float32)
        self.map_lambdas = np.asarray(map_lambdas, dtype=np.float32)
        self.nu, self.max_iter = nu, max_iter
        self.score_model = self.pixel_model = None
        self.train_scores, self._train_pixels = [], []

    def add(self, scores, maps):
        """Add one training part: ``scores`` [banks], ``maps`` [banks, S, S]."""
        self.train_scores.append(self._score_row(scores))
        self._train_pixels.append(self._pixel_rows(maps))

    def fit(self):
        """Fit both models to the added training parts, and free the memory of their pixels; returns self."""
        self.score_model = self._fitted(np.stack(self.train_scores))
        self.pixel_model = self._fitted(np.concatenate(self._train_pixels))
        self._train_pixels = []
        return self

    def predict(self, scores, maps):
        """Raw linear scores, larger = more anomalous: (image score [1], map [S, S]), float64."""
        score = self.score_model.score_samples(self._score_row(scores)[None])
        pixels = self.pixel_model.score_samples(self._pixel_rows(maps))
        return score, pixels.reshape(maps[0].shape)

    @property
    def weights(self):
        """The learned weights, {"score": [banks], "pixel": [banks]} lists of floats."""
        return {"score": self.score_model.coef_.tolist(), "pixel": self.pixel_model.coef_.tolist()}

    @property
    def map_factors(self):
        """Total factor of each bank's map, lambdas included, a list of floats."""
        return (self.pixel_model.coef_.astype(np.float64) * self.map_lambdas).tolist()

    def state(self):
        """{name: array} of everything learned, for :meth:`restore`."""
        pairs = ("score", self.score_model), ("pixel", self.pixel_model)
        learned = {f"{kind}.{name}": of for kind, model in pairs for name, of in zip(LEARNED, model)}
        return {**learned, "train_scores": np.stack(self.train_scores)}

    def restore(self, state):
        """Take over the :meth:`state` of another LateFusion; returns self."""
        self.score_model, self.pixel_model = (
            LinearModel(*(np.array(state[f"{kind}.{name}"]) for name in LEARNED)) for kind in ("score", "pixel")
        )
        self.train_scores = list(np.array(state["train_scores"]))
        return self

    def _fitted(self, rows):
        from sklearn.linear_model import SGDOneClassSVM

        model = SGDOneClassSVM(random_state=42, nu=self.nu, max_iter=self.max_iter).fit(rows)
        return LinearModel(model.coef_, np.atleast_1d(model.offset_))

    def _score_row(self, scores):
        return np.asarray(scores, dtype=np.float32) * self.score_lambdas

    def _pixel_rows(self, maps):
        return np.stack([np.ravel(m) for m in maps], axis=1).astype(np.float32) * self.map_lambdas
