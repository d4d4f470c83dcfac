"""Nibble beside llama.cpp: what bench/compare starts. A developer's tool; Nibble itself needs no Python.

For every pair of types it makes a model of the shape with random weights in both formats, then measures each test with
both programs, one directly after the other, in several rounds. A ratio is formed within a round, so that what the
machine does meanwhile strikes both; the table has the median over the rounds and the smallest and largest ratio.

Sizes of llama.cpp's weights are those that its own quantize program would choose: in Q4_0 the head is Q6_K.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# The shapes of convert/synthetic.c that llama.cpp's "llama" architecture has.
SHAPES = {
    "llama-3.2-1b": dict(n_layer=16, n_embd=2048, n_head=32, n_kv_head=8, n_ff=8192, vocab_size=128256, n_ctx=131072,
                         rope_theta=500000.0, tied=True),
    "tinyllama-1.1b": dict(n_layer=22, n_embd=2048, n_head=32, n_kv_head=4, n_ff=5632, vocab_size=32000, n_ctx=2048,
                           rope_theta=10000.0, tied=False),
    "stories110m": dict(n_layer=12, n_embd=768, n_head=12, n_kv_head=12, n_ff=2048, vocab_size=32000, n_ctx=1024,
                        rope_theta=10000.0, tied=True),
}
HEAD_DIM = 64
PAIRS = {"q4": "Q4_0", "q8": "Q8_0"}
HEAD_TYPE = {"Q4_0": "Q6_K", "Q8_0": "Q8_0"}
# Test, tokens (of each row), depth, rows.
TESTS = [("prefill", 512, 0, 1), ("decode", 128, 0, 1), ("decode", 128, 2048, 1), ("decode", 128, 4096, 1),
         ("decode", 32, 0, 4), ("decode", 32, 0, 8)]

# ---- a GGUF file with random weights


def random_blocks(kind, rows, cols, seed):
    """Random codes as bytes [rows][bytes of a row], scaled so that a matrix keeps the size of what it multiplies."""
    import numpy as np

    # block columns, block bytes, where its f16 scale lies, spread of (sub-scale x) code
    layouts = {"Q4_0": (32, 18, 0, 4.6), "Q8_0": (32, 34, 0, 74.0), "Q6_K": (256, 210, 208, 1367.0)}
    columns, size, at, spread = layouts[kind]
    blocks = np.random.default_rng(seed).integers(0, 256, (rows, cols // columns, size), dtype=np.uint8)
    scale = np.array([1 / (cols**0.5 * spread)], dtype="<f2").view(np.uint8)
    blocks[:, :, at : at + 2] = scale
    return blocks.reshape(rows, -1)


def tensors_of(shape, kind):
    """(name, type, rows, columns) of every matrix, (name, "F32", 1, length) of every vector."""
    n, ff, kv = shape["n_embd"], shape["n_ff"], shape["n_kv_head"] * HEAD_DIM
    yield "token_embd.weight", HEAD_TYPE[kind] if shape["tied"] else kind, shape["vocab_size"], n
    for i in range(shape["n_layer"]):
        yield f"blk.{i}.attn_norm.weight", "F32", 1, n
        yield f"blk.{i}.attn_q.weight", kind, shape["n_head"] * HEAD_DIM, n
        yield f"blk.{i}.attn_k.weight", kind, kv, n
        yield f"blk.{i}.attn_v.weight", kind, kv, n
        yield f"blk.{i}.attn_output.weight", kind, n, shape["n_head"] * HEAD_DIM
        yield f"blk.{i}.ffn_norm.weight", "F32", 1, n
        yield f"blk.{i}.ffn_gate.weight", kind, ff, n
        yield f"blk.{i}.ffn_up.weight", kind, ff, n
        yield f"blk.{i}.ffn_down.weight", kind, n, ff
    yield "output_norm.weight", "F32", 1, n
    if not shape["tied"]:
        yield "output.weight", HEAD_TYPE[kind], shape["vocab_size"], n


def make_gguf(path, shape, kind):
    """Write tensor by tensor, so that no model has to fit into memory."""
    import gguf
    import numpy as np

    temporary = path + ".part"
    w = gguf.GGUFWriter(temporary, "llama")
    w.add_context_length(shape["n_ctx"])
    w.add_embedding_length(shape["n_embd"])
    w.add_block_count(shape["n_layer"])
    w.add_feed_forward_length(shape["n_ff"])
    w.add_head_count(shape["n_head"])
    w.add_head_count_kv(shape["n_kv_head"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_rope_freq_base(shape["rope_theta"])
    w.add_vocab_size(shape["vocab_size"])
    w.add_file_type({"Q4_0": 2, "Q8_0": 7}[kind])
    w.add_tokenizer_model("none")
    tensors = list(tensors_of(shape, kind))
    for name, dtype, rows, cols in tensors:
        if dtype == "F32":
            w.add_tensor_info(name, (cols,), np.dtype(np.float32), cols * 4)
        else:
            bytes_of = random_blocks(dtype, 1, cols, 0).shape[1]
            w.add_tensor_info(name, (rows, bytes_of), np.dtype(np.uint8), rows * bytes_of,
                              gguf.GGMLQuantizationType[dtype])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for seed, (_, dtype, rows, cols) in enumerate(tensors):
        w.write_tensor_data(np.ones(cols, np.float32) if dtype == "F32" else random_blocks(dtype, rows, cols, seed))
    w.close()
    os.replace(temporary, path)


# ---- measuring


def run_json(command):
    """What a program printed as JSON; its log is shown when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"compare: {' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def measure_nibble(options, model, test, n, depth, rows):
    p, g = (n, 0) if test == "prefill" else (0, n)
    command = [options.nibble, "bench", model, "-p", str(p), "-n", str(g), "--depth", str(depth), "--rows", str(rows)]
    command += ["--reps", "1"]
    command += ["--json"]
    if options.threads:
        command += ["--threads", str(options.threads)]
    if options.chunk:
        command += ["--chunk", str(options.chunk)]
    # Nothing, when the memory's bandwidth changed all the time.
    return run_json(command)["tests"][0]["tokens_per_second"]["median"]


def measure_llama(options, model, test, n, depth, rows):
    threads = options.threads or physical_cores()
    if not options.llama_bench:
        command = [sys.executable, __file__, "--low-level", model, test, *map(str, (n, depth, rows, threads))]
        return run_json(command)["rate"]
    if rows > 1:
        return None  # llama-bench has no such test
    p, g = (n, 0) if test == "prefill" else (0, n)
    return run_json([options.llama_bench, "-m", model, "-p", str(p), "-n", str(g), "-d", str(depth), "-t", str(threads),
                     "-r", "1", "-o", "json"])[0]["avg_ts"]


def physical_cores():
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as f:
                siblings.add(f.read())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)


def low_level(model, test, n, depth, rows, threads):
    """What llama-bench does, through llama.cpp's C interface: a warm-up, `depth` tokens, then the test."""
    import ctypes

    import llama_cpp as c

    quiet = c.llama_log_callback(lambda level, text, user: None)
    c.llama_log_set(quiet, None)
    c.llama_backend_init()
    loaded = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
    params = c.llama_context_default_params()
    params.n_ctx, params.n_seq_max = rows * (depth + n), rows
    params.n_batch, params.n_ubatch = 2048, 512
    params.n_threads = params.n_threads_batch = threads
    context = c.llama_init_from_model(loaded, params) if loaded else None
    if not context:
        sys.exit(f"compare: llama.cpp cannot open '{model}'")
    vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded))

    def token(i):
        return (i * 2654435761 >> 8) % vocab

    def read(count, at_once):
        for at in range(0, count, at_once):
            size = min(at_once, count - at)
            ids = (c.llama_token * size)(*(token(at + i) for i in range(size)))
            if c.llama_decode(context, c.llama_batch_get_one(ids, size)):
                sys.exit("compare: llama_decode failed")
        c.llama_synchronize(context)

    def step_rows(count):
        batch = c.llama_batch_init(rows, 0, 1)
        batch.n_tokens = rows
        for at in range(count):
            for row in range(rows):
                batch.token[row], batch.pos[row], batch.logits[row] = token(at), at, 1
                batch.n_seq_id[row], batch.seq_id[row][0] = 1, row
            if c.llama_decode(context, batch):
                sys.exit("compare: llama_decode failed")
        c.llama_synchronize(context)
        c.llama_batch_free(batch)

    def run(count):
        if rows > 1:
            step_rows(count)
        else:
            read(count, 2048 if test == "prefill" else 1)

    run(min(n, 8))
    c.llama_memory_clear(c.llama_get_memory(context), True)
    read(depth, 512)
    begin = time.perf_counter()
    run(n)
    print(json.dumps({"rate": rows * n / (time.perf_counter() - begin)}))


# ---- the table


def compare(options):
    rows = []
    for kind in options.types.split(","):
        base = os.path.join(options.folder, f"{options.shape}-{kind}")
        if not os.path.exists(base + ".gguf"):
            print(f"Making {base}.gguf.", file=sys.stderr)
            make_gguf(base + ".gguf", SHAPES[options.shape], PAIRS[kind])
        if not os.path.exists(base + ".nbl"):
            subprocess.run([options.nibble, "convert", "--synthetic", options.shape, "--type", kind, "-o", base + ".nbl"],
                           check=True, stdout=sys.stderr)
        samples = {test: [] for test in TESTS}
        for turn in range(options.rounds):
            for test in TESTS:
                pair = [measure_nibble(options, base + ".nbl", *test), measure_llama(options, base + ".gguf", *test)]
                print(f"{kind}, round {turn + 1}: {' '.join(map(str, test))}: {pair}", file=sys.stderr)
                if all(pair):
                    samples[test].append(pair)
        rows += [(kind, test, samples[test]) for test in TESTS]
    print(f"{options.shape}, {options.threads or physical_cores()} threads, {options.rounds} rounds\n")
    print("| types | test | tokens | depth | rows | nibble | llama.cpp | ratio | smallest | largest |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind, (name, n, depth, texts), pairs in rows:
        cells = ["-"] * 5
        if pairs:
            ratios = [a / b for a, b in pairs]
            medians = [statistics.median(side) for side in zip(*pairs)]
            cells = [f"{x:.2f}" for x in (*medians, statistics.median(ratios), min(ratios), max(ratios))]
        print(f"| {kind}, {PAIRS[kind]} | {name} | {n} | {depth} | {texts} | {' | '.join(cells)} |")


def positive(text):
    """An argument that counts."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def main():
    if sys.argv[1:2] == ["--low-level"]:
        model, test, *numbers = sys.argv[2:]
        return low_level(model, test, *map(int, numbers))
    p = argparse.ArgumentParser(prog="bench/compare", description=__doc__.split("\n")[0])
    p.add_argument("--nibble", required=True)
    p.add_argument("--llama-bench", help="program (default: the one on PATH, else llama-cpp-python's library)")
    p.add_argument("--folder", default="build/compare")
    p.add_argument("--shape", choices=SHAPES, default="tinyllama-1.1b")
    p.add_argument("--types", default="q4,q8", help="of Nibble, against Q4_0 and Q8_0")
    p.add_argument("--threads", type=positive, help="default: one per core")
    p.add_argument("--chunk", type=positive, help="of nibble bench")
    p.add_argument("--rounds", type=positive, default=5)
    return compare(p.parse_args())


if __name__ == "__main__":
    main()
