"""Trains a rival: two encoders jointly on queries and their own foregrounds, by the method that the config names.

  python -m fos_jax.launch.train_two_stream --config=launch/configs/two_stream_synthetic.py:demo \\
      --workdir=runs/demo/two_streams --data_dir=data

Configs of other methods: cfo_, ufo_, gala_, disco_ and ffr_synthetic.py, each with the same modes.
A data set without patterns, such as FOSD, is trained from its labels of pairs (configs/two_stream_fosd.py:sfosd).
Writes <workdir>/bundle, which everything reads like a student's. Modes of the config: mini (seconds, on the tiny data
set), demo, full. An interrupted run goes on when the same command is given again.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from fos_jax.launch import training_program as program
from fos_jax.program import run_program

_CONFIG = config_flags.DEFINE_config_file(
    "config", str(Path(__file__).parent / "configs" / "two_stream_synthetic.py:demo"), "Config file, colon, mode."
)
flags.adopt_module_key_flags(program)


def main() -> None:
    from fos_jax.data.splits import load_split
    from fos_jax.rivals.methods import train_method
    from fos_jax.rivals.stages import Circumstances

    axis_name = program.start()
    config, workdir = _CONFIG.value, Path(program.WORKDIR.value)
    splits = [
        load_split(
            program.DATA_DIR.value,
            dataset=config.data.dataset,
            size=config.data.size,
            split=split,
            foreground_size=config.foreground.image_size,
            query_size=config.query.image_size,
            cache_dir=program.CACHE_DIR.value,
        )
        for split in ("train", "validation")
    ]
    circumstances = Circumstances(
        program.mean_average_precision, parallelism=program.PARALLELISM.value, axis_name=axis_name
    )
    train, validation = splits
    print(train_method(config, train[:2], validation[:2], train[2], workdir, circumstances))


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
