"""The loss of UFF training, the patch-wise contrastive loss of M3DM (Wang et al., CVPR 2023), in bounded memory.

Query i comes from an RGB patch; it should find key i, from the xyz patch at the same place, among all keys of the
batch. The loss is twice the mean over i of  log sum_j exp(q_i · k_j) − q_i · k_i.  A batch of 16 parts has up to
50,176 pairs, whose logits would take 10 GB. So blocks of queries are compared one after another, and each block's share
of the gradient is computed together with its logits.
"""

import torch

BLOCK = 2**25  # logits held at a time: 128 MiB of float32


class _MatchingLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, queries, keys, block):
        exact = torch.float64 if queries.device.type != "mps" else torch.float32  # MPS has no float64
        loss = torch.zeros((), dtype=exact, device=queries.device)
        hits = torch.zeros((), dtype=torch.long, device=queries.device)
        d_queries, d_keys = torch.empty_like(queries), torch.zeros_like(keys)
        step = max(1, block // max(1, len(keys)))
        for start in range(0, len(queries), step):
            rows = queries[start : start + step]
            logits = rows @ keys.T
            own = torch.arange(start, start + len(rows), device=queries.device)[:, None]
            hits += (logits.argmax(1, keepdim=True) == own).sum()
            normaliser = logits.logsumexp(1, keepdim=True)
            loss += (normaliser - logits.gather(1, own)).sum().to(loss.dtype)
            slope = logits.sub_(normaliser).exp_()  # with the next line: gradient by the logits, softmax - one-hot
            slope.scatter_add_(1, own, slope.new_full(own.shape, -1))
            d_queries[start : start + step] = slope @ keys
            d_keys += slope.T @ rows
        scale = 2 / max(len(queries), 1)
        ctx.save_for_backward(d_queries * scale, d_keys * scale)
        ctx.mark_non_differentiable(hits)
        return (loss * scale).to(queries.dtype), hits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_loss, _):
        d_queries, d_keys = ctx.saved_tensors
        return d_loss * d_queries, d_loss * d_keys, None


def matching_loss(queries: torch.Tensor, keys: torch.Tensor, block: int = BLOCK) -> tuple[torch.Tensor, int]:
    """Contrastive loss of matching pairs.

    Args:
        queries, keys: [R, C]; row i of one matches row i of the other. R may be 0.
        block: number of logits held at a time.

    Returns:
        (loss, a scalar; number of queries whose best key is their own).
    """
    loss, hits = _MatchingLoss.apply(queries, keys, block)
    return loss, int(hits)
