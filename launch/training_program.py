"""What the training programs share: their flags, their start on one or several hosts, and the validation measure."""

import jax
import numpy as np
from absl import flags, logging

from fos_jax.metrics import average_precision, rank_relevant
from fos_jax.training import parallelism

WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run; the same command goes on with what is there.", required=True
)
DATA_DIR = flags.DEFINE_string("data_dir", "data", "Directory that data sets were built in.")
CACHE_DIR = flags.DEFINE_string("cache_dir", None, "Where prepared images are kept; <data_dir>/.prepared by default.")
PARALLELISM = flags.DEFINE_enum("parallelism", "jit", parallelism.MODES, "How a batch is spread over all devices.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, to train on several hosts (data and workdir on a shared file system)."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator: number of hosts.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: number of this host.", lower_bound=0)


def start() -> str | None:
    """Joins the other hosts where there are any; returns the axis that models average batch statistics over."""
    logging.set_verbosity(logging.INFO)
    if COORDINATOR.value:
        jax.distributed.initialize(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    return parallelism.AXIS if PARALLELISM.value == "pmap" else None


def mean_average_precision(scores: np.ndarray, relevant: np.ndarray, valid: np.ndarray) -> float:
    """Standard mAP over all queries that have a relevant foreground; arguments [queries, foregrounds]."""
    return float(np.nanmean(average_precision(rank_relevant(scores, relevant, valid))))
