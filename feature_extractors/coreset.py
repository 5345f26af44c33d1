"""Coreset selection: sparse random projection, then greedy k-centre (farthest-first) in the projected space."""
import torch
from sklearn.random_projection import SparseRandomProjection
from tqdm import tqdm


def project(rows, eps, random_state):
    """Sparse random projection to the Johnson-Lindenstrauss dimension of ``eps``.

    Args:
        rows: [N, C] float32 tensor (CPU).
        eps: allowed distortion of distances, in (0, 1).
        random_state: seed, or None for numpy's global generator.

    Returns:
        [N, C'] float32; ``rows`` itself where C' would exceed C.
    """
    try:
        projection = SparseRandomProjection(eps=eps, random_state=random_state).fit(rows.numpy())
    except ValueError as error:  # scikit-learn's way to say that the target dimension exceeds the input's
        if "target dimension" not in str(error):
            raise
        return rows
    return torch.from_numpy(projection.transform(rows.numpy())).contiguous()


def greedy_k_center(rows, count, progress=None):
    """Greedy k-centre: start with row 0, then always the row farthest from all picked ones (ties: lowest index).

    Args:
        rows: [N, C] float32 tensor.
        count: number of picks; at most N are made.
        progress: label of a progress bar, or None for none.

    Returns:
        [min(count, N)] int64 tensor (CPU), in the order picked; row 0 again once every distinct row is
        picked, as in the release. Distances are float32, from differences, not from products, so that near
        rows keep their order.
    """
    count = min(count, len(rows))
    picked = torch.zeros(count, dtype=torch.long, device=rows.device)
    nearest = torch.full((len(rows),), torch.inf, device=rows.device)
    for i in tqdm(range(1, count), desc=progress, disable=None if progress else True, leave=False, unit="row", mininterval=1):
        distance = torch.cdist(rows, rows[picked[i - 1], None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        torch.minimum(nearest, distance, out=nearest)
        picked[i] = nearest.argmax()
    return picked.cpu()


def coreset_indices(rows, count, eps, random_state, device="cpu", progress=None):
    """Indices [count] of the rows [N, C] kept as coreset, in the order picked."""
    return greedy_k_center(project(rows, eps, random_state).to(device), count, progress)
