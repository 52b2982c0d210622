"""Pretrains the foreground encoder (teacher) on a built data set and writes <workdir>/bundle.

  python -m fos_jax.launch.pretrain_foreground --config=launch/configs/pretrain_synthetic.py:demo \\
      --workdir=runs/demo/teacher --data_dir=data

Modes of the config: mini (seconds, on the tiny data set), demo, full. Single fields are set as
--config.training.num_steps=100. With configs/category_features_synthetic.py a classifier of categories is trained
instead, whose features are a control; --config.labels=instances --config.training.keep=last makes each cut-out a class
of its own. An interrupted run goes on when the same command is given again.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fos_jax.launch import training_program as program
from fos_jax.program import run_program

_CONFIG = config_flags.DEFINE_config_file(
    "config", str(Path(__file__).parent / "configs" / "pretrain_synthetic.py:demo"), "Config file, colon, mode."
)
flags.adopt_module_key_flags(program)


def main() -> None:
    from fos_jax.data.limited import limited
    from fos_jax.data.splits import load_foregrounds
    from fos_jax.training.loop import train
    from fos_jax.training.teacher_task import pretrain_task

    make_task = pretrain_task
    if _CONFIG.value.get("labels", "patterns") != "patterns":  # a control, or an ablation
        from fos_jax.rivals.other_labels import other_labels_task as make_task

    axis_name = program.start()
    config, workdir = _CONFIG.value, Path(program.WORKDIR.value)
    (foregrounds, table), (held_out, _) = (
        load_foregrounds(
            program.DATA_DIR.value,
            dataset=config.data.dataset,
            size=config.data.size,
            split=split,
            foreground_size=config.foreground.image_size,
            cache_dir=program.CACHE_DIR.value,
        )
        for split in ("train", "validation")
    )
    foregrounds, _ = limited(foregrounds, None, table, config.data, seed=config.seed)
    task = make_task(config, foregrounds, held_out, table, bundle_path=workdir / "bundle", axis_name=axis_name)
    train(task, config, workdir, parallelism=program.PARALLELISM.value)
    print(workdir / "bundle")


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
