"""Times training steps of torch + transformers + peft: float32 LoRA on a randomly initialised Llama, on the processor.

What `qlora bench step` is held against by bench/side-by-side. Adapters are on all seven linears, as there; the same
document is trained on in every step. Prints one JSON line with the fields of `qlora bench step`.
"""

import argparse
import json
import os
import resource
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

# hidden size, layers, heads, key/value heads, intermediate size
SHAPES = {"134m": (768, 12, 12, 12, 2048), "1b": (2048, 22, 32, 4, 5632)}
VOCABULARY = 32_000
WARM_UP = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="134m")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lora-r", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="measured, after %d" % WARM_UP)
    return parser.parse_args()


def adapted_model(options):
    hidden, layers, heads, kv_heads, intermediate = SHAPES[options.shape]
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            intermediate_size=intermediate,
            max_position_embeddings=max(2048, options.tokens),
            attn_implementation="sdpa",
            use_cache=False,
        )
    ).to(torch.float32)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    lora = peft.LoraConfig(
        r=options.lora_r,
        lora_alpha=2 * options.lora_r,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type=peft.TaskType.CAUSAL_LM,
    )
    return peft.get_peft_model(model, lora).train()


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = adapted_model(options)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    ids = torch.randint(VOCABULARY, (1, options.tokens))
    seconds = []
    for _ in range(WARM_UP + options.steps):
        begin = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    measured = seconds[WARM_UP:]
    report = {
        "stack": "torch %s, transformers %s, peft %s, float32"
        % (torch.__version__, transformers.__version__, peft.__version__),
        "shape": options.shape,
        "tokens": options.tokens,
        "checkpointing": options.gradient_checkpointing,
        "threads": options.threads,
        "rank": options.lora_r,
        "tok_s": round(options.tokens / statistics.median(measured), 1),
        "step_s": [round(s, 3) for s in measured],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "first_step_s": round(seconds[0], 3),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
