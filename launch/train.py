"""Trains what the config names and writes <workdir>/bundle: the teacher, a student, or a rival.

  fos train --config=launch/configs/teacher.py:demo --workdir=runs/teacher
  fos train --config=launch/configs/student.py:demo --teacher=runs/teacher/bundle --workdir=runs/student
  fos train --config=launch/configs/two_streams.py:demo --workdir=runs/two_streams

Behind the colon stands the mode: mini (seconds, on the mini data set), demo, full_small or full. Single fields are set
as --config.training.num_steps=100. An interrupted run goes on when the same command is given again, to the same
parameters bit by bit. A data set without patterns, such as FOSD, is trained from its labels of pairs
(configs/two_streams_fosd.py:sfosd).
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

    from fos_jax.data.limited import limited
    from fos_jax.data.splits import load_foregrounds, load_split
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.metrics import average_precision, rank_relevant
    from fos_jax.rivals.methods import train_method
    from fos_jax.rivals.other_labels import other_labels_task
    from fos_jax.rivals.stages import Circumstances
    from fos_jax.training import parallelism
    from fos_jax.training.loop import train
    from fos_jax.training.student_task import distill_task
    from fos_jax.training.teacher_task import pretrain_task

    def mean_average_precision(scores, relevant, valid) -> float:
        import numpy as np

        return float(np.nanmean(average_precision(rank_relevant(scores, relevant, valid))))

    logging.set_verbosity(logging.INFO)
    if _COORDINATOR.value:
        jax.distributed.initialize(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    config, workdir = _CONFIG.value, Path(_WORKDIR.value)
    axis_name = parallelism.AXIS if _PARALLELISM.value == "pmap" else None
    data = {"dataset": config.data.dataset, "size": config.data.size, "cache_dir": _CACHE_DIR.value}
    if config.task == "teacher":
        data["foreground_size"] = config.foreground.image_size
        (foregrounds, table), (held_out, _) = (
            load_foregrounds(_DATA_DIR.value, split=split, **data) for split in ("train", "validation")
        )
        foregrounds, _ = limited(foregrounds, None, table, config.data, seed=config.seed)
        make_task = pretrain_task if config.labels == "patterns" else other_labels_task
        task = make_task(config, foregrounds, held_out, table, bundle_path=workdir / "bundle", axis_name=axis_name)
        train(task, config, workdir, parallelism=_PARALLELISM.value)
        print(workdir / "bundle")
        return
    teacher = load_bundle(_TEACHER.value) if config.task == "student" and _TEACHER.value else None
    if config.task == "student" and teacher is None:
        raise InputError("teacher: not given, expected the bundle of a pretrained foreground encoder")
    data["foreground_size"] = teacher.foreground_size if teacher else config.foreground.image_size
    data["query_size"] = config.query.image_size
    foregrounds, queries, table = load_split(_DATA_DIR.value, split="train", **data)
    validation = load_split(_DATA_DIR.value, split="validation", **data)[:2]
    if teacher:
        task = distill_task(
            config,
            limited(foregrounds, queries, table, config.data, seed=config.seed),
            validation,
            table,
            teacher=teacher,
            bundle_path=workdir / "bundle",
            cache_dir=workdir / "teacher_cache",
            measure_ranking=mean_average_precision,
            axis_name=axis_name,
        )
        train(task, config, workdir, parallelism=_PARALLELISM.value)
        print(workdir / "bundle")
        return
    circumstances = Circumstances(mean_average_precision, parallelism=_PARALLELISM.value, axis_name=axis_name)
    print(train_method(config, (foregrounds, queries), validation, table, workdir, circumstances))


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
