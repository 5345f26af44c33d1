"""The loss of UFF training, the patch-wise contrastive loss of M3DM (Wang et al., CVPR 2023), in bounded memory.

Query i comes from an RGB patch; it should find key i, from the xyz patch at the same place, among all keys of the
batch. The loss is twice the mean over i of  log sum_j exp(q_i · k_j) − q_i · k_i.  A batch of 16 parts has up to
50,176 pairs, whose logits would take 10 GB. So blocks of queries are compared one after another, and each block's
logits are computed anew for the gradient.
"""

import torch
from torch.utils.checkpoint import checkpoint

BLOCK = 2**25  # logits held at a time: 128 MiB of float32


def matching_loss(queries: torch.Tensor, keys: torch.Tensor, block: int = BLOCK) -> tuple[torch.Tensor, int]:
    """(Contrastive loss, a scalar; number of queries whose best key is their own) of matching rows of ``queries`` and
    ``keys``, [R, C] with R > 0; ``block``: number of logits held at a time."""
    step = max(1, block // len(keys))
    losses, hits = [], 0
    for number, rows in enumerate(queries.split(step)):
        loss, found = checkpoint(_compare, rows, keys, number * step, use_reentrant=False, preserve_rng_state=False)
        losses.append(loss)
        hits = hits + found
    return 2 / len(queries) * torch.stack(losses).sum(), int(hits)


def _compare(rows, keys, start):
    """(sum of the losses, number of hits) of a block of queries, the first of which has the number ``start``."""
    logits = rows @ keys.T
    own = torch.arange(start, start + len(logits), device=keys.device)
    loss = logits.logsumexp(1) - logits.gather(1, own[:, None])[:, 0]
    return loss.sum(), (logits.argmax(1) == own).sum()
