"""How fast is PyTorch's scaled_dot_product_attention on this GPU, by its flash and its cuDNN backend?

    sh tests/gpu.sh bench_cuda_sdpa

The shapes and the columns of bench_cuda_attention, to be read beside it: bf16, 32 query heads over 4 KV heads of
128 dims, one sequence; a second's rest in front of each prefill. `causal` is a whole prompt of `keys` tokens, `dense` 8448 query tokens over all of the keys;
`decode` 1 and 4 query tokens over all keys, by bytes of K and V, with a cold L2. A backend that refuses a shape is a
line that says why. Nothing else in the project needs PyTorch.

    python3 bench/bench_cuda_sdpa.py [LOG]

LOG, of bench_cuda_attention on the same kind of GPU: behind all of it, how many times as fast ours were by the best of either's
runs, "# ours/cudnn, dense, 131072 keys, 8448 queries: 1.070".
"""

import sys
import time

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as missing:
    print(f"# no PyTorch here ({missing}): nothing to compare with")
    sys.exit(77)

HEADS, KV_HEADS, DIM, CHUNK = 32, 4, 128, 8448
N_WARMUP, N_RUNS = 2, 5
theirs = {}  # (backend, name, keys, queries): the best, in TFLOP/s or GB/s


def time_ms(work, flush):
    """Best and median of N_RUNS, in milliseconds; the L2 cache is overwritten before each where flush is given."""
    times = []
    for i in range(N_WARMUP + N_RUNS):
        if flush is not None:
            flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if i >= N_WARMUP:
            times.append(begin.elapsed_time(end))
    times.sort()
    return times[0], times[len(times) // 2]


def attend(backend, q, k, v, is_causal):
    """One call; where the backend knows no groups of heads, on K and V repeated beforehand."""
    groups = {"enable_gqa": True} if k.shape[1] != q.shape[1] else {}  # older ones do not know the word
    with sdpa_kernel(backend):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal, **groups)


def repeated(x):
    return x.repeat_interleave(HEADS // KV_HEADS, dim=1)


def measure(name, backend, keys, queries, is_causal, flush=None):
    """A line: with the KV heads as they are, or repeated where that is refused."""
    what = f"{name}_{backend.name.lower()}"
    why = ""
    for is_repeated in (False, True):
        try:
            q = torch.randn(1, HEADS, queries, DIM, device="cuda", dtype=torch.bfloat16)
            k = torch.randn(1, KV_HEADS, keys, DIM, device="cuda", dtype=torch.bfloat16)
            v = torch.randn(1, KV_HEADS, keys, DIM, device="cuda", dtype=torch.bfloat16)
            if is_repeated:
                k, v = repeated(k), repeated(v)
            if flush is None:
                time.sleep(1)
            best, median = time_ms(lambda: attend(backend, q, k, v, is_causal), flush)
        except Exception as error:  # a backend's refusal is a result
            why = str(error).splitlines()[0][:160]
            torch.cuda.empty_cache()
            continue
        if name == "decode":
            work, unit = keys * KV_HEADS * 2 * DIM * 2 / 1e9, "GB/s"
        else:
            visible = queries * (queries + 1) / 2 if is_causal else queries * keys
            work, unit = 4 * DIM * HEADS * visible / 1e12, "TFLOP/s"
        theirs[backend.name.split("_")[0].lower(), name, keys, queries] = work * 1e3 / best
        note = "_kv_repeated" if is_repeated else ""
        print(f"{what}{note},{keys},{queries},{best:.3f},{median:.3f},"
              f"{work * 1e3 / best:.1f},{work * 1e3 / median:.1f},{unit},", flush=True)
        return
    print(f"# {what} of {queries} over {keys}: {why}", flush=True)


def compare_with(path):
    """A line for each of theirs that the log of bench_cuda_attention has a Hopper kernel's figure of."""
    with open(path, encoding="utf-8", errors="replace") as log:
        lines = log.read().splitlines()
    gpu = torch.cuda.get_device_name()
    if not any(gpu in line for line in lines if line.startswith("#")):
        print(f"# {path} is not of an {gpu}: nothing to compare with")
        return
    ours = {}
    for line in lines:
        part = line.split(",")
        if len(part) > 5 and part[0].endswith("_sm90"):
            ours[part[0][: -len("_sm90")], part[1], part[2]] = float(part[5])
    for (backend, name, keys, queries), best in theirs.items():
        if (name, str(keys), str(queries)) in ours:
            times = ours[name, str(keys), str(queries)] / best
            print(f"# ours/{backend}, {name}, {keys} keys, {queries} queries: {times:.3f}")


def main():
    if not torch.cuda.is_available():
        print("# PyTorch sees no GPU")
        return 77
    print(f"# PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, "
          f"{torch.cuda.get_device_name()}; best and median of {N_RUNS} after {N_WARMUP}, a second's rest in front of each prefill")
    print("kernel,keys,queries,best_ms,median_ms,best,median,unit,share_of_ceiling", flush=True)
    backends = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION)
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    for keys in (16384, 131072, 8192, 32768, 65536):
        for backend in backends:
            measure("causal", backend, keys, keys, True)
    for keys in (16384, 131072, 1 << 20, 65536, 262144, 524288):
        for backend in backends:
            measure("dense", backend, keys, CHUNK, False)
    for keys in (16384, 262144, 1 << 20):
        for queries in (1, 4):
            for backend in backends:
                measure("decode", backend, keys, queries, False, flush)
    if len(sys.argv) > 1:
        compare_with(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
