"""Training steps per second, ours against the same network in PyTorch, one JSON line per row.

    python benchmarks/training_step.py                  # CPU: the small backbone, float32, 2 threads each
    python benchmarks/training_step.py --device=gpu     # GPU: ResNet-50, bfloat16, torch.compile, channels last

A row is one network, loss and optimiser: backbone, embedding layer, unit length, softmax over cosines to prototypes,
AdamW. Both frameworks start from the same weights, and the row says how far their first losses are apart. They run in
one process, in turns, and the best round of each counts, so that other work on the machine disturbs both (threads that
wait for each other suffer more: on a busy machine take --threads=1 and the ratio of CPU time). On the CPU the faster of
PyTorch's memory layouts counts. Needs PyTorch (2.13.0 was used), which the project itself does not.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from in_turns import limit_threads, versions
from reporting import Report, make_parser

# The networks in PyTorch are those that the tests compare with.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "encoders"))

EMBEDDING_SIZE, PATTERNS, SCALE, LEARNING_RATE, WEIGHT_DECAY = 128, 128, 16.0, 1e-3, 0.05
CPU_ROWS = (("teacher and student step", "small", 64), ("student step", "small", 96))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--batch", type=int, help="images per step: 64 on the CPU, 256 on the GPU by default")
    parser.add_argument("--size", type=int, default=224, help="side of the images on the GPU, px")
    parser.add_argument("--backbone", choices=("resnet50", "resnet18"), default="resnet50", help="on the GPU")
    parser.add_argument("--rounds", type=int, default=12, help="measured rounds")
    parser.add_argument("--threads", type=int, default=2, help="of each framework on the CPU")
    options = parser.parse_args()
    is_gpu = options.device == "gpu"
    options.batch = options.batch or (256 if is_gpu else 64)
    if is_gpu:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # PyTorch needs its share of the memory
    else:
        limit_threads(options.threads)
    rows = [(f"{options.backbone} step", options.backbone, options.size)] if is_gpu else CPU_ROWS
    report = Report("training_step")
    for row in rows:
        report(measure_row(*row, options))


def measure_row(row: str, backbone: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Ours and PyTorch in turns; `row` says which part of training has this shape. A GPU's round is ten steps."""
    is_gpu = options.device == "gpu"
    image, label = batch(options.batch, size)
    weights = torch_network(backbone)
    dtype = "bfloat16" if is_gpu else "float32"
    runs = {"jax": jax_step(weights, backbone, image, label, dtype=dtype)}
    if is_gpu:
        torch_device = {"device": "cuda", "is_compiled": True}
        runs["torch channels last"] = torch_step(weights, image, label, is_channels_last=True, **torch_device)
    else:
        for name, is_channels_last in (("torch", False), ("torch channels last", True)):
            runs[name] = torch_step(weights, image, label, is_channels_last=is_channels_last)
    first = {name: run() for name, run in runs.items()}  # compiles
    wall, cpu = (dict.fromkeys(runs, float("inf")) for _ in range(2))
    steps = 10 if is_gpu else 1
    for _ in range(options.rounds):
        for name, run in runs.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(steps - 1):
                run(is_waiting=False)
            run()
            wall[name] = min(wall[name], (time.perf_counter() - start) / steps)
            cpu[name] = min(cpu[name], (time.process_time() - start_cpu) / steps)
    ours_cpu, torch_cpu = cpu.pop("jax"), min(cpu.values())
    layout = min((name for name in runs if name != "jax"), key=wall.__getitem__)
    return {
        "row": f"{row}, {size} px",
        "backbone": backbone,
        "batch": options.batch,
        "dtype": dtype,
        "images_per_s": round(options.batch / wall["jax"], 1),
        "torch_images_per_s": round(options.batch / wall[layout], 1),
        "ratio": round(wall[layout] / wall["jax"], 3),
        "images_per_cpu_s": round(options.batch / ours_cpu, 1),
        "torch_images_per_cpu_s": round(options.batch / torch_cpu, 1),
        "ratio_of_cpu_time": round(torch_cpu / ours_cpu, 3),
        "torch_layout": layout,
        "first_loss_difference": float(f"{abs(first['jax'] - first[layout]):.1e}"),
        "threads": options.threads,
        **(gpu_memory() if is_gpu else {}),
        **versions(),
    }


def gpu_memory() -> dict[str, Any]:
    """The GPU's name and each framework's peak memory on it."""
    import jax
    import torch

    device = jax.devices()[0]
    peaks = {"peak_memory_gib": (device.memory_stats() or {}).get("peak_bytes_in_use", 0)}
    peaks["torch_peak_memory_gib"] = torch.cuda.max_memory_allocated()
    return {"device": device.device_kind, **{name: round(peak / 2**30, 2) for name, peak in peaks.items()}}


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
                resnets = {"resnet18": (oracle.Basic, (2, 2, 2, 2)), "resnet50": (oracle.Deep, (3, 4, 6, 3))}
                block, stages = resnets[backbone]
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

    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: torch found no GPU")
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
    """The same for our network."""
    import jax
    import jax.numpy as jnp
    import optax
    import torch_oracles as oracle

    from fos_jax.encoders.backbones import make_backbone
    from fos_jax.encoders.convert import convert_backbone
    from fos_jax.posteriors import unit

    if dtype == "bfloat16" and (found := jax.devices()[0].platform) != "gpu":
        raise SystemExit(f"error: jax found {found}, expected a GPU")
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

    return run


if __name__ == "__main__":
    main()
