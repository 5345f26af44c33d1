"""The paper's equations written a second time, for tests; and bare maps as an Evaluation."""

import numpy as np

from scoring import evaluation


def unit(m):
    low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
    return (m - low) / (high - low + 1e-8)


def tilde(v):
    return (v - v.min()) / (v.max() - v.min()) if v.max() > v.min() else v * 0


def reference(decision, rgb, xyz, lam=0.5, k=64, weights=(0.6, 0.25, 0.15), eta=(1, 1), delta=0.2):
    """S_final [n] and M_pix [n, H, W] of arrays [n, H, W]."""
    dis = np.abs(unit(rgb) - unit(xyz))
    pix = decision * (1 + lam * dis)
    flat = np.sort(pix.reshape(len(pix), -1))
    base, q95 = flat[:, -k:].mean(1), np.percentile(flat, 95, axis=1)
    robust = weights[0] * q95 + weights[1] * flat.mean(1) + weights[2] * dis.mean((1, 2))
    r, c = 1 - abs(tilde(base) - tilde(q95)), abs(tilde(base) - tilde(robust))
    w = 1 / (1 + np.exp(-(eta[0] * c - eta[1] * r)))
    return (1 - w) * base + w * robust + delta * np.clip(q95 - base, 0, None), pix


def parts_of(decision, banks, training=None, released=None):
    """The Evaluation of n good parts, from their decision maps [n, H, W] and {bank: [n, H, W]}. ``training``:
    TrainingParts; ``released``: [n] scores, of the banks as well."""
    n = len(decision)
    released = np.zeros(n) if released is None else np.asarray(released)
    return evaluation.Evaluation(
        *("toy", ("part",) * n, ("good",) * n, np.zeros(n, np.uint8), np.zeros(np.shape(decision), np.uint8)),
        *(released, np.asarray(decision), {bank: released for bank in banks}, dict(banks)),
        training=training,
    )
