"""Times torch's scaled_dot_product_attention, causal, float32, forward and backward, on the processor.

What the attention lines of bench/run are held against: `bench/run 'Attention of'`. Prints one JSON line, milliseconds.
"""

import argparse
import json
import os
import statistics
import time

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=15, help="measured, after 3")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    shape = (1, options.heads, options.tokens, options.head_size)
    q, k, v, dy = (torch.randn(shape) for _ in range(4))
    for tensor in (q, k, v):
        tensor.requires_grad_(True)
    forward, backward = [], []
    for _ in range(3 + options.runs):
        q.grad = k.grad = v.grad = None
        begin = time.perf_counter()
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        middle = time.perf_counter()
        y.backward(dy)
        forward.append(1e3 * (middle - begin))
        backward.append(1e3 * (time.perf_counter() - middle))
    report = {
        "stack": "torch %s scaled_dot_product_attention, float32" % torch.__version__,
        "tokens": options.tokens,
        "heads": options.heads,
        "head_size": options.head_size,
        "threads": options.threads,
        "forward_ms": round(statistics.median(forward[3:]), 2),
        "backward_ms": round(statistics.median(backward[3:]), 2),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
