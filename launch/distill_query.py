"""Distils the query encoder (student) from a pretrained teacher and writes both to <workdir>/bundle.

  python -m fos_jax.launch.distill_query --config=launch/configs/distill_synthetic.py:demo \\
      --teacher=runs/demo/teacher/bundle --workdir=runs/demo/student --data_dir=data

Modes of the config: mini (seconds, on the tiny data set), demo, full; with _rectangle_only, the control that sees
rectangle and category and nothing of the picture. Single fields are set as --config.training.num_steps=100. The
teacher runs once over the data; its outputs are kept in <workdir>/teacher_cache. An interrupted run goes on when the
same command is given again.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fos_jax.launch import training_program as program
from fos_jax.program import run_program

_CONFIG = config_flags.DEFINE_config_file(
    "config", str(Path(__file__).parent / "configs" / "distill_synthetic.py:demo"), "Config file, colon, mode."
)
_TEACHER = flags.DEFINE_string("teacher", None, "Bundle of the pretrained foreground encoder.", required=True)
flags.adopt_module_key_flags(program)


def main() -> None:
    from fos_jax.data.limited import limited
    from fos_jax.data.splits import load_split
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.training.loop import train
    from fos_jax.training.student_task import distill_task

    axis_name = program.start()
    config, workdir = _CONFIG.value, Path(program.WORKDIR.value)
    teacher = load_bundle(_TEACHER.value)
    splits = [
        load_split(
            program.DATA_DIR.value,
            dataset=config.data.dataset,
            size=config.data.size,
            split=split,
            foreground_size=teacher.foreground_size,
            query_size=config.query.image_size,
            cache_dir=program.CACHE_DIR.value,
        )
        for split in ("train", "validation")
    ]
    foregrounds, queries = limited(*splits[0], config.data, seed=config.seed)
    task = distill_task(
        config,
        (foregrounds, queries),
        splits[1][:2],
        splits[0][2],
        teacher=teacher,
        bundle_path=workdir / "bundle",
        cache_dir=workdir / "teacher_cache",
        measure_ranking=program.mean_average_precision,
        axis_name=axis_name,
    )
    train(task, config, workdir, parallelism=program.PARALLELISM.value)
    print(workdir / "bundle")


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
