"""Train what the config names, the teacher, a student or a rival, and write <workdir>/bundle.

  fos train --config=launch/configs/teacher.py:demo --workdir=runs/teacher
  fos train --config=launch/configs/student.py:demo --teacher=runs/teacher/bundle --workdir=runs/student
  fos train --config=launch/configs/two_streams.py:demo --workdir=runs/two_streams

Behind the colon stands the mode: mini (seconds, on the mini data set), demo, full_small or full. Single fields are set
as --config.training.num_steps=100. An interrupted run goes on when the same command is given again, to the same
parameters bit by bit. A data set without patterns, such as FOSD, is trained from its labels of pairs
(launch/configs/two_streams_fosd.py:sfosd).

Public weights, for a student those of config.query: --config.foreground.backbone=efficientnet_lite0
--config.foreground.init_weights=package (or a file) --config.foreground.tuned=none (frozen), last or all.
"""

from pathlib import Path

from absl import flags, logging
from ml_collections import config_flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_CONFIG = config_flags.DEFINE_config_file(
    "config", str(Path(__file__).parent / "configs" / "teacher.py:demo"), "Config file, colon, mode."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run; the same command goes on with what is there.", required=True
)
_TEACHER = flags.DEFINE_string("teacher", None, "For a student: bundle of the pretrained foreground encoder.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Directory that data sets were built in.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", None, "Where prepared images are kept; <data_dir>/.prepared by default.")
_PARALLELISM = flags.DEFINE_enum("parallelism", "jit", ["jit", "pmap"], "How a batch is spread over all devices.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, to train on several hosts (data and workdir on a shared file system)."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator: number of hosts.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: number of this host.", lower_bound=0)


def main() -> None:
    import jax

    from fos_jax.encoders.build import check_networks
    from fos_jax.training.loop import Runner

    logging.set_verbosity(logging.INFO)
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    config, workdir, run = _CONFIG.value, Path(_WORKDIR.value), Runner(_PARALLELISM.value)
    check_networks(config)
    data = {"dataset": config.data.dataset, "size": config.data.size, "cache_dir": _CACHE_DIR.value}
    if config.task == "teacher":
        _train_teacher(config, workdir, run, data)
    elif config.task == "student":
        _train_student(config, workdir, run, data)
    else:
        from fos_jax.rivals.methods import train_rival

        sizes = {"foreground_size": config.foreground.image_size, "query_size": config.query.image_size}
        train, validation, table = _splits(**data, **sizes)
        train_rival(config, train, validation, table, workdir, run)
    print(workdir / "bundle")


def _train_teacher(config, workdir, run, data) -> None:
    from fos_jax.data.limited import limited
    from fos_jax.data.splits import load_foregrounds
    from fos_jax.training.teacher import teacher_task as make_task

    if config.labels != "patterns":  # a control, or an ablation
        from fos_jax.rivals.other_labels import other_labels_task as make_task

    (foregrounds, table), (held_out, _) = (
        load_foregrounds(_DATA_DIR.value, split=split, foreground_size=config.foreground.image_size, **data)
        for split in ("train", "validation")
    )
    foregrounds, _ = limited(foregrounds, None, table, config.data, seed=config.seed)
    bundle_path = workdir / "bundle"
    run(
        make_task(config, foregrounds, held_out, table, bundle_path=bundle_path, axis_name=run.axis_name),
        config,
        workdir,
    )


def _train_student(config, workdir, run, data) -> None:
    from fos_jax.data.limited import limited
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.training.student import student_task

    if not _TEACHER.value:
        raise InputError("teacher: not given, expected the bundle of a pretrained foreground encoder")
    teacher = load_bundle(_TEACHER.value)
    sizes = {"foreground_size": teacher.foreground_size, "query_size": config.query.image_size}
    (foregrounds, queries), validation, table = _splits(**data, **sizes)
    task = student_task(
        config,
        limited(foregrounds, queries, table, config.data, seed=config.seed),
        validation,
        table,
        teacher=teacher,
        bundle_path=workdir / "bundle",
        cache_dir=workdir / "teacher_cache",
        axis_name=run.axis_name,
    )
    run(task, config, workdir)


def _splits(**settings):
    """The training and the validation split, each foregrounds and queries, and the pattern table."""
    from fos_jax.data.splits import load_split

    train, validation = (load_split(_DATA_DIR.value, split=split, **settings) for split in ("train", "validation"))
    return train[:2], validation[:2], train[2]


if __name__ == "__main__":
    run_program(main)
