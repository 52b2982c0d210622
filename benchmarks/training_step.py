"""Training steps a second, ours against the same network in PyTorch, one JSON line a row.

    python benchmarks/training_step.py                  # CPU: the small backbone, float32, 2 threads each
    python benchmarks/training_step.py --device=gpu     # GPU: ResNet-50, bfloat16, torch.compile, channels last

A row is one network, loss and optimiser: backbone, embedding layer, unit length, softmax over cosines to prototypes,
AdamW. Both start from the same weights, and the row says how far their first losses are apart. On the CPU both
run in one process, in turns, and the best round of each counts, so that what else the machine does falls on both
(threads that wait for each other suffer more: on a busy machine take --threads=1 and the ratio of CPU time); PyTorch
runs in its faster memory layout. On the GPU each runs in a process of its own, for the memory it takes.
Needs PyTorch (2.13.0 was used), which the project itself does not.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

# The networks in PyTorch are those that the tests compare with.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "encoders"))

EMBEDDING_SIZE, PATTERNS, SCALE, LEARNING_RATE, WEIGHT_DECAY = 128, 128, 16.0, 1e-3, 0.05
CPU_ROWS = (("teacher and student step", "small", 64), ("student step", "small", 96))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--batch", type=int, help="images a step: 64 on the CPU, 256 on the GPU by default")
    parser.add_argument("--size", type=int, default=224, help="side of the images on the GPU, px")
    parser.add_argument("--backbone", choices=("resnet50", "resnet18"), default="resnet50", help="on the GPU")
    parser.add_argument("--rounds", type=int, default=12, help="measured rounds")
    parser.add_argument("--threads", type=int, default=2, help="of each framework on the CPU")
    parser.add_argument("--framework", choices=("jax", "torch"), help="measure only this one, in this process")
    options = parser.parse_args()
    options.batch = options.batch or (64 if options.device == "cpu" else 256)
    if options.device == "cpu":
        _limit_threads(options.threads)
        for row, backbone, size in CPU_ROWS:
            print(json.dumps(cpu_row(row, backbone, size, options)), flush=True)
    elif options.framework:
        print(json.dumps(gpu_measure(options)), flush=True)
    else:
        print(json.dumps(gpu_row(options)), flush=True)


def _limit_threads(threads: int) -> None:
    """Before jax is imported: its thread pool takes the number of processors that this process may use."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import torch

    torch.set_num_threads(threads)


def cpu_row(row: str, backbone: str, size: int, options: argparse.Namespace) -> dict:
    """Ours and both layouts of PyTorch in turns; `row` says which part of training has this shape."""
    image, label = batch(options.batch, size)
    weights = torch_network(backbone)
    runs = {
        "jax": jax_step(weights, backbone, image, label, dtype="float32")[0],
        "torch": torch_step(weights, image, label, is_channels_last=False),
        "torch channels last": torch_step(weights, image, label, is_channels_last=True),
    }
    first = {name: run() for name, run in runs.items()}  # compiles
    wall = dict.fromkeys(runs, float("inf"))
    cpu = dict.fromkeys(runs, float("inf"))
    for _ in range(options.rounds):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            wall[name] = min(wall[name], time.perf_counter() - start)
            cpu[name] = min(cpu[name], time.process_time() - start_cpu)
    layout = min(("torch", "torch channels last"), key=wall.get)
    return {
        "benchmark": "training_step",
        "row": f"{row}, {size} px",
        "backbone": backbone,
        "batch": options.batch,
        "dtype": "float32",
        "images_per_s": round(options.batch / wall["jax"], 1),
        "torch_images_per_s": round(options.batch / wall[layout], 1),
        "ratio": round(wall[layout] / wall["jax"], 3),
        "images_per_cpu_s": round(options.batch / cpu["jax"], 1),
        "torch_images_per_cpu_s": round(options.batch / min(cpu["torch"], cpu["torch channels last"]), 1),
        "ratio_of_cpu_time": round(min(cpu["torch"], cpu["torch channels last"]) / cpu["jax"], 3),
        "torch_layout": layout,
        "first_loss_difference": float(f"{abs(first['jax'] - first[layout]):.1e}"),
        "threads": options.threads,
        **machine(),
    }


def gpu_row(options: argparse.Namespace) -> dict:
    """Each framework in a process of its own, one after the other; a failure is part of the row."""
    arguments = [f"--{name}={getattr(options, name)}" for name in ("device", "batch", "size", "backbone", "rounds")]
    found = {}
    for framework in ("jax", "torch"):
        command = [sys.executable, __file__, *arguments, f"--framework={framework}"]
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = done.stdout.strip().splitlines()
        if done.returncode == 0 and lines:
            found[framework] = json.loads(lines[-1])
        else:
            found[framework] = {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    row = {
        "benchmark": "training_step",
        "row": f"{options.backbone}, {options.size} px",
        "batch": options.batch,
        "dtype": "bfloat16",
        **{f"{framework}_{name}": value for framework, values in found.items() for name, value in values.items()},
    }
    if all("images_per_s" in values for values in found.values()):
        row["ratio"] = round(found["jax"]["images_per_s"] / found["torch"]["images_per_s"], 3)
        row["first_loss_difference"] = float(f"{abs(found['jax']['first_loss'] - found['torch']['first_loss']):.1e}")
    return row


def gpu_measure(options: argparse.Namespace) -> dict:
    """Images a second and peak memory of one framework on the GPU; each round is several steps and one wait."""
    import torch

    image, label = batch(options.batch, options.size)
    weights = torch_network(options.backbone)
    steps_a_round = 10
    if options.framework == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "gpu":
            raise SystemExit(f"error: jax found {device.platform}, expected a GPU")
        run, start = jax_step(weights, options.backbone, image, label, dtype="bfloat16")
        memory = lambda: (device.memory_stats() or {}).get("peak_bytes_in_use", 0)  # noqa: E731
        name = device.device_kind
    else:
        if not torch.cuda.is_available():
            raise SystemExit("error: torch found no GPU")
        run = start = torch_step(weights, image, label, is_channels_last=True, device="cuda", is_compiled=True)
        memory = torch.cuda.max_memory_allocated
        name = torch.cuda.get_device_name(0)
    first = run()
    for _ in range(3):
        run()
    best = float("inf")
    for _ in range(options.rounds):
        begin = time.perf_counter()
        for _ in range(steps_a_round - 1):
            start(is_waiting=False)
        run()
        best = min(best, (time.perf_counter() - begin) / steps_a_round)
    return {
        "images_per_s": round(options.batch / best, 1),
        "peak_memory_gib": round(memory() / 2**30, 2),
        "first_loss": first,
        "device": name,
        **machine(),
    }


def batch(size: int, side: int):
    """Random images [B, S, S, 4] and labels [B], the same for both frameworks."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(size, side, side, 4)).astype(np.float32), rng.integers(0, PATTERNS, size)


def torch_network(backbone: str):
    """The whole network with random weights, on the CPU."""
    import torch
    import torch.nn.functional as F
    import torch_oracles as oracle

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            if backbone == "small":
                self.backbone = oracle.randomise(oracle.TorchSmall(), 0)
                channels = 96
            else:
                block, stages = {
                    "resnet18": (oracle.Basic, (2, 2, 2, 2)),
                    "resnet50": (oracle.Deep, (3, 4, 6, 3)),
                }[backbone]
                self.backbone = oracle.TorchResNet(block, stages)
                channels = self.backbone.fc.in_features
                del self.backbone.fc
                self.backbone.conv1 = torch.nn.Conv2d(4, 64, 7, 2, 3, bias=False)
                oracle.randomise(self.backbone, 0)
            torch.manual_seed(0)
            self.embedding = torch.nn.Linear(channels, EMBEDDING_SIZE)
            self.prototypes = torch.nn.Parameter(torch.randn(PATTERNS, EMBEDDING_SIZE))

        def forward(self, x, label):
            x = self.embedding(self.backbone(x).mean((2, 3)))
            cosine = F.normalize(x.float(), dim=-1) @ F.normalize(self.prototypes, dim=-1).T
            return F.cross_entropy(SCALE * cosine, label)

    return Network().train()


def torch_step(weights, image, label, *, is_channels_last: bool, device: str = "cpu", is_compiled: bool = False):
    """A function that makes one step and, where it waits, returns the loss."""
    import copy

    import torch

    layout = torch.channels_last if is_channels_last else torch.contiguous_format
    network = copy.deepcopy(weights).to(device, memory_format=layout)
    x = torch.from_numpy(image.transpose(0, 3, 1, 2).copy()).to(device, memory_format=layout)
    y = torch.from_numpy(label).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=device == "cuda" or None
    )

    def loss_of(x, y):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return network(x, y)

    if is_compiled:
        loss_of = torch.compile(loss_of, mode="max-autotune-no-cudagraphs")

    def run(is_waiting: bool = True):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        if is_waiting:
            if device == "cuda":
                torch.cuda.synchronize()
            return loss.item()
        return None

    return run


def jax_step(weights, backbone: str, image, label, *, dtype: str):
    """The same for our network: (function that waits and returns the loss, function that takes `is_waiting`)."""
    import jax
    import jax.numpy as jnp
    import optax
    import torch_oracles as oracle

    from fos_jax.encoders.backbones import make_backbone
    from fos_jax.encoders.convert import convert_backbone
    from fos_jax.posteriors import unit

    module = make_backbone(backbone, dtype=dtype)
    if backbone == "small":
        variables = {"params": oracle.small_to_jax(weights.backbone)}
    else:
        state = {name: tensor.detach().numpy() for name, tensor in weights.backbone.state_dict().items()}
        variables = convert_backbone(backbone, state, image_size=image.shape[1])
    head = {name: tensor.detach().numpy() for name, tensor in weights.state_dict().items() if "backbone." not in name}
    params = {"backbone": variables["params"], "head": head}
    batch_stats = variables.get("batch_stats", {})
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_of(params, batch_stats, image, label):
        given = {"params": params["backbone"], **({"batch_stats": batch_stats} if batch_stats else {})}
        features, changed = module.apply(given, image, True, mutable=["batch_stats"])
        head = params["head"]
        x = features.pooled.astype(jnp.float32) @ head["embedding.weight"].T + head["embedding.bias"]
        logits = SCALE * unit(x) @ unit(head["prototypes"]).T
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean(), changed.get("batch_stats", {})

    def step(state, image, label):
        params, batch_stats, opt_state = state
        (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params, batch_stats, image, label)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    step = jax.jit(step, donate_argnums=0)
    params, batch_stats = jax.tree.map(jnp.array, (params, batch_stats))
    held = {"state": (params, batch_stats, optimizer.init(params))}
    image, label = jnp.asarray(image), jnp.asarray(label)

    def run(is_waiting: bool = True):
        held["state"], loss = step(held["state"], image, label)
        if is_waiting:
            jax.block_until_ready(held["state"])
            return float(loss)
        return None

    return run, run


def machine() -> dict:
    """Versions and processor."""
    import jax
    import torch

    return {
        "jax": jax.__version__,
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
