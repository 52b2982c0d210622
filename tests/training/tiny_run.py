"""A run that takes a second or two: what the tests of the loop train, and a program for them to kill.

python tiny_run.py WORKDIR NUM_STEPS [PARALLELISM] [KILL_POINT]
"""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fos_jax import losses
from fos_jax.training import checkpoints, loop
from fos_jax.training import step as step_module
from fos_jax.training.step import make_optimizer


def config(num_steps, **training):
    settings = {"batch_size": 10, "num_steps": num_steps, "log_every_steps": 4, "validate_every_steps": 8}
    return ml_collections.ConfigDict(
        {
            "seed": 3,
            "optimizer": {"learning_rate": 0.05, "warmup_steps": 2},
            "training": {**settings, "ema_decay": 0.5, "keep": "best", **training},
        }
    )


def data(n=47):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    return {"x": x, "label": (x[:, :3].argmax(axis=1)).astype(np.int32)}


def loss_function(params, batch_stats, batch, keys, constants, gather):
    noise = jax.vmap(lambda key: jax.random.normal(key, (6,)))(keys)
    hidden = jnp.tanh((batch["x"] + 0.3 * noise) @ params["w"])
    embedding = hidden / jnp.linalg.norm(hidden, axis=1, keepdims=True)
    embedding, label, weight = gather((embedding, batch["label"], batch["weight"]))
    is_other = ~jnp.eye(len(label), dtype=bool) & (weight > 0)[None]
    pairs = losses.supervised_contrastive(embedding, embedding, label[:, None] == label[None], is_other)
    classes = -jnp.take_along_axis(jax.nn.log_softmax(embedding @ params["head"]), label[:, None], axis=1)[:, 0]
    pairs, classes = losses.weighted_mean(pairs, weight), losses.weighted_mean(classes, weight)
    return pairs + constants["class_weight"] * classes, ({"pairs": pairs}, batch_stats)


def variables():
    rng = np.random.default_rng(1)
    return {
        "params": {
            "w": rng.normal(size=(6, 64)).astype(np.float32),
            "head": np.zeros((64, 3), np.float32),
        }
    }


def task(bundle_path, on_validate=lambda: None):
    arrays = data()

    def validate(trained):
        on_validate()
        hidden = np.tanh(arrays["x"] @ trained["params"]["w"]) @ trained["params"]["head"]
        return {"score": float((hidden.argmax(axis=1) == arrays["label"]).mean())}

    def finish(trained, metrics):
        target = Path(bundle_path)
        aside = target.with_name("bundle.tmp.npz")
        np.savez(aside, **trained["params"])
        maybe_kill("bundle")
        aside.rename(target)

    return loop.Task(
        variables=variables(),
        loss_function=loss_function,
        constants={"class_weight": np.float32(2.0)},
        arrays=arrays,
        ids=[f"row-{i}" for i in range(len(arrays["x"]))],
        validate=validate,
        finish=finish,
        inputs={"train": "abc"},
    )


def step_and_state(settings):
    optimizer = make_optimizer(num_steps=settings.training.num_steps, **settings.optimizer)
    step = loop.make_train_step(loss_function, optimizer, seed=settings.seed, ema_decay=0.5)
    return step, step_module.create_state(variables(), optimizer, has_ema=True)


KILL = None


def maybe_kill(point):
    if point == KILL:
        os.kill(os.getpid(), signal.SIGKILL)


def _arm(point):
    """Makes the process kill itself: at step N ("step:N"), N ms into the save of step 16 ("save:N") or at the end."""
    global KILL
    KILL = point
    kind, _, number = point.partition(":")
    if kind == "step":
        real_parallelise, left = loop.parallelise, iter(range(int(number) - 1, -1, -1))

        def parallelise(*args, **kwargs):
            made = real_parallelise(*args, **kwargs)

            def step(state, batch):
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return made.step(state, batch)

            return dataclasses.replace(made, step=step)

        loop.parallelise = parallelise
    if kind == "save":
        real_save = checkpoints.Checkpoints.save

        def save(self, step, *args, **kwargs):
            real_save(self, step, *args, **kwargs)
            if step == 16:
                time.sleep(int(number) / 1000)
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoints.Checkpoints.save = save


def main(workdir, num_steps, mode="jit", kill=""):
    if kill:
        _arm(kill)
    loop.train(task(Path(workdir) / "bundle.npz"), config(int(num_steps)), workdir, parallelism=mode, progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
