"""Measures torch on a GPU: its dense product, its attention, and training steps of transformers + peft in bfloat16.

What `qlora bench gpu` is held against by bench/gpu-side-by-side: the shape of Llama-3-8B, random weights, rank 16 on all
linears. Times are taken with CUDA's events; medians. What fails is reported with the reason. Prints a JSON object a line: all
that is known until then, the last line everything.
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # no room lost between pieces of it

import torch  # noqa: E402

WARM_UP = 3
AT_FULL_CLOCK = 0.5  # seconds of work, after which a card that was idle is
LEAST_MS = 0.1  # between two events: shorter work is done several times there
AHEAD = 50_000_000  # clocks that the card is kept waiting for, while Python gets ahead of it


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=4096, help="in a document")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="measured, after %d" % WARM_UP)
    parser.add_argument("--budget", type=float, default=60, help="seconds, after which no further step is begun")
    return parser.parse_args()


def milliseconds(work, copies=1, runs=20):
    """The median time of work(i), which uses copy i of its operands, on the GPU, as it goes on."""
    begun = time.perf_counter()
    done = 0
    while done < WARM_UP or time.perf_counter() - begun < AT_FULL_CLOCK:
        work(done % copies)
        done += 1
        torch.cuda.synchronize()
    once = timed(work, copies, 1, 1)
    return timed(work, copies, runs, max(1, min(16, int(LEAST_MS / once) + 1)))


def timed(work, copies, runs, at_once):
    """The median of these runs, each of so many calls."""
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    torch.cuda._sleep(AHEAD)
    for i, (start, end) in enumerate(events):
        start.record()
        for k in range(at_once):
            work((i * at_once + k) % copies)
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in events) / at_once


def half(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def copy():
    source, target = (torch.zeros(1 << 30, device="cuda", dtype=torch.uint8) for _ in range(2))
    return {"gb_s": 2e-6 * (1 << 30) / milliseconds(lambda _: target.copy_(source))}


def product(rows, out, inner, copies=3):
    """x · Wᵀ, as a linear."""
    x = [half(rows, inner) for _ in range(copies)]
    w = [half(out, inner) for _ in range(copies)]
    y = [half(rows, out) for _ in range(copies)]
    ms = milliseconds(lambda i: torch.mm(x[i], w[i].t(), out=y[i]), copies)
    return {"ms": ms, "tflop_s": 2e-9 * rows * out * inner / ms}


def attention(tokens, heads=32, kv_heads=8, size=128):
    q = half(1, heads, tokens, size).requires_grad_(True)
    k, v = (half(1, kv_heads, tokens, size).requires_grad_(True) for _ in range(2))
    dy = half(1, heads, tokens, size)

    def forward():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    def both(_):
        q.grad = k.grad = v.grad = None
        forward().backward(dy)

    with torch.no_grad():
        forward_ms = milliseconds(lambda _: forward())
    both_ms = milliseconds(both)
    flop = 7 * 2 * size * heads * tokens * (tokens + 1) / 2  # of the seven products, masked pairs not counted
    return {"forward_ms": forward_ms, "forward_backward_ms": both_ms, "tflop_s": 1e-9 * flop / both_ms}


def training_step(options):
    """Of so many documents, or if there is no room for them, of half as many: a rate of tokens all the same."""
    try:
        return training_step_of(options.documents, options)
    except torch.cuda.OutOfMemoryError:
        if options.documents == 1:
            raise
    torch.cuda.empty_cache()  # what the step held went with the exception, at the end of its clause
    return training_step_of(options.documents // 2, options)


def training_step_of(documents, options):
    import peft
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        num_hidden_layers=options.layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=14336,
        max_position_embeddings=8192,
        attn_implementation="sdpa",
        use_cache=False,
    )
    with torch.device("cuda"):
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        model = transformers.LlamaForCausalLM(config)
        torch.set_default_dtype(default)
    lora = peft.LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type=peft.TaskType.CAUSAL_LM
    )
    model = peft.get_peft_model(model, lora).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    ids = torch.randint(config.vocab_size, (documents, options.tokens), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    begun = time.perf_counter()
    while len(seconds) < WARM_UP + options.steps and time.perf_counter() - begun < options.budget:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    measured = seconds[WARM_UP:] or seconds[-1:]
    return {
        "stack": "transformers %s, peft %s, bf16 LoRA" % (transformers.__version__, peft.__version__),
        "documents": documents,
        "tokens": options.tokens,
        "layers": options.layers,
        "step_s": measured,
        "tok_s": documents * options.tokens / statistics.median(measured),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def attempt(work):
    """What work() gives, or why it gives nothing."""
    try:
        return work()
    except Exception as error:  # another part may still have something to say
        return {"failed": "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else "")}
    finally:
        torch.cuda.empty_cache()


def warm():
    a, b = half(8192, 8192), half(8192, 8192)
    begun = time.perf_counter()
    while time.perf_counter() - begun < AT_FULL_CLOCK:
        torch.mm(a, b)
        torch.cuda.synchronize()


def main():
    options = arguments()
    torch.manual_seed(1)
    report = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    parts = {
        "copy": copy,
        "dense_8192": lambda: product(8192, 8192, 8192, 1),
        "linear_4096": lambda: product(4096, 14336, 4096),
        "linear_1": lambda: product(1, 14336, 4096),
        "attention_4096": lambda: attention(4096),
        "training_step": lambda: training_step(options),
    }
    attempt(warm)
    for name, work in parts.items():
        report[name] = attempt(work)
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
