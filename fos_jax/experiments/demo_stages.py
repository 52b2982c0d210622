"""Stages of the demo: programs with their flags, in their order."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from fos_jax.experiments.stages import Stage, config_folder
from fos_jax.program import command_prefix

RECTANGLE_ONLY = "rectangle only"
TWO_STREAMS = "two streams"
TRAINING = (
    *("encoders", "losses", "data", "training", "images", "boxes", "pattern_table", "metrics"),
    *("launch.configs", "launch.train"),
)


def training_stage(work: Path, data: Path, name: str, mode: str, *flags: str, after: Sequence[str], note: str) -> Stage:
    """One run of `fos train` in a folder of its name; `mode` is a config file of launch/configs, colon, its mode."""
    command = ["launch.train", f"--config={config_folder() / mode}", f"--workdir={work / name}", f"--data_dir={data}"]
    sources = [*TRAINING, *(["rivals"] if name == "two_streams" else [])]
    return Stage(name, [*command, *flags], [work / name], sources, ["data", *after], note)


def students(work: Path, data: Path, mode: str, *flags: str) -> list[Stage]:
    """The student and the one that sees no picture, both of the same teacher."""
    reads = f"--teacher={work / 'teacher' / 'bundle'}"
    return [
        training_stage(work, data, name, f"student.py:{mode}{suffix}", reads, *flags, after=["teacher"], note=note)
        for name, suffix, note in (
            ("student", "", "distil the query encoder"),
            ("rectangle_only", "_rectangle_only", "control: a student that sees the rectangle, no picture"),
        )
    ]


def split_stages(work: Path, split: Sequence[str], compared: Mapping[str, str]) -> list[Stage]:
    """Evaluation and gallery of the student on the test split.

    Args:
      work: folder of everything. split: flags that say which data.
      compared: folder of a further bundle -> what `fos evaluate --compare` calls it, with its kind behind a colon.
    """
    student = [f"--bundle={work / 'student' / 'bundle'}", *split, "--split=test"]
    compare = []
    for folder, title in compared.items():
        name, _, kind = title.partition(":")
        compare.append(f"--compare={name}={work / folder / 'bundle'}{':' + kind if kind else ''}")
    return [
        Stage(
            "evaluation",
            ["launch.evaluate", *student, *compare, f"--output={work / 'evaluation.json'}"],
            [work / "evaluation.json"],
            ["evaluation", "metrics", "launch.evaluate"],
            ["data", "student", *compared],
            "rank the test split",
        ),
        Stage(
            "gallery",
            ["launch.gallery_build", *student, f"--output={work / 'gallery'}"],
            [work / "gallery"],
            ["retrieval", "explain", "compose", "launch.gallery_build"],
            ["data", "student"],
            "index the test foregrounds",
        ),
    ]


def stages_of(work: Path, data: Path, size: str) -> list[Stage]:
    """The programs of the demo; `size` is "demo", or "mini" for tests."""
    split = [f"--data_dir={data}", f"--size={size}"]
    built = [data / "fos_synthetic" / f"{size}_{kind}" for kind in ("foregrounds", "queries")]
    sources = ["scenes", "datasets", "launch.dataset_build"]
    note = "rival: two encoders trained jointly, without distillation"
    compared = {"rectangle_only": f"{RECTANGLE_ONLY}:control", "two_streams": TWO_STREAMS}
    evaluation, gallery = split_stages(work, split, compared)
    return [
        Stage("data", ["launch.dataset_build", *split], built, sources, note="render scenes and cut-outs"),
        training_stage(work, data, "teacher", f"teacher.py:{size}", after=[], note="pretrain the foreground encoder"),
        *students(work, data, size),
        training_stage(work, data, "two_streams", f"two_streams.py:{size}", after=[], note=note),
        evaluation,
        dataclasses.replace(
            gallery,
            command=["launch.demo_gallery", *gallery.command[1:], f"--examples={work / 'examples'}"],
            outputs=[*gallery.outputs, work / "examples"],
            sources=[*gallery.sources, "launch.demo_gallery", "experiments.demo_examples"],
            note="render the test foregrounds larger and index them",
        ),
    ]


def search_commands(work: Path) -> list[tuple[str, str]]:
    """(purpose, shell command) pairs for a photograph of the user's own."""
    fos, gallery = command_prefix(), work / "gallery"
    change = f"{fos} gallery"
    query = f"{fos} search --gallery={gallery} --photo=street.jpg --box=410,220,640,380 --category=car"
    own = f"{fos} gallery build --bundle={work / 'student' / 'bundle'} --cutouts=my_cutouts --output=my_gallery"
    return [
        (
            "Patterns that fit a photograph of yours (here street.jpg)",
            f"{query} --level=patterns --k=3 --output=found",
        ),
        ("Foregrounds that fit it best, and why", f"{query} --k=20 --output=found --why=why.png"),
        ("A gallery of cut-outs of yours: RGBA pictures, my_cutouts/<category>/*.png", own),
        ("Or add them to the demo's, while it is searched", f"{change} add --gallery={gallery} --cutouts=my_cutouts"),
        ("Remove one that is there", f"{change} remove --gallery={gallery} --id=test-car-000117"),
        ("Make it what it was when it was built", f"{change} rollback --gallery={gallery} --to=1"),
        ("All changes", f"{change} history --gallery={gallery}"),
    ]
