"""Plain implementations, short and obvious: what the fast ones are measured and checked against."""
import torch


def k_center(rows, count):
    """Greedy k-centre of rows [N, C]: a pass over all rows for each pick. [min(count, N)] int64 tensor."""
    picked, nearest = [0], torch.full((len(rows),), torch.inf)
    while len(picked) < min(count, len(rows)):
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(rows - rows[picked[-1]], dim=1))
        picked.append(int(nearest.argmax()))
    return torch.tensor(picked)


def nearest_rows(patches, rows):
    """(distance [P], index [P]) of each patch's nearest row."""
    return torch.cdist(patches, rows).min(1)
