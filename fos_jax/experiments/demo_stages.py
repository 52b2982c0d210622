"""The stages of the demo: which program with which flags, in which order."""

from pathlib import Path

from fos_jax.experiments.stages import Stage, config_folder
from fos_jax.program import command_prefix

RECTANGLE_ONLY = "rectangle only"
TWO_STREAMS = "two streams"
TRAINING = ("encoders", "losses", "data", "training", "images", "boxes", "pattern_table", "launch.configs")


def stages_of(work: Path, data: Path, size: str) -> list[Stage]:
    """The programs of the demo; `size` is "demo", or "mini" for tests."""
    folder = config_folder()
    split = ["--data_dir", str(data), "--size", size]

    def training(name: str, config: str, mode: str, *more: str, after: list[str], note: str) -> Stage:
        workdir = work / name
        command = [
            "launch.train",
            f"--config={folder / config}:{mode}",
            "--workdir",
            str(workdir),
            "--data_dir",
            str(data),
        ]
        sources = [*TRAINING, "launch.train", *(["rivals"] if name == "two_streams" else [])]
        return Stage(name, [*command, *more], [workdir], sources, after, note)

    teacher = ["--teacher", str(work / "teacher" / "bundle")]
    student = ["--bundle", str(work / "student" / "bundle")]
    compare = [
        f"--compare={RECTANGLE_ONLY}={work / 'rectangle_only' / 'bundle'}:control",
        f"--compare={TWO_STREAMS}={work / 'two_streams' / 'bundle'}",
    ]
    return [
        Stage(
            "data",
            ["launch.dataset_build", *split],
            [data / "fos_synthetic" / f"{size}_{kind}" for kind in ("foregrounds", "queries")],
            ["scenes", "datasets", "launch.dataset_build"],
            note="render scenes and cut-outs",
        ),
        training(
            "teacher",
            "teacher.py",
            size,
            after=["data"],
            note="pretrain the foreground encoder",
        ),
        training(
            "student",
            "student.py",
            size,
            *teacher,
            after=["data", "teacher"],
            note="distil the query encoder",
        ),
        training(
            "rectangle_only",
            "student.py",
            f"{size}_rectangle_only",
            *teacher,
            after=["data", "teacher"],
            note="control: a student that sees the rectangle, no picture",
        ),
        training(
            "two_streams",
            "two_streams.py",
            size,
            after=["data"],
            note="rival: two encoders trained jointly, without distillation",
        ),
        Stage(
            "evaluation",
            ["launch.evaluate", *student, *split, "--split=test", *compare, "--output", str(work / "evaluation.json")],
            [work / "evaluation.json"],
            ["evaluation", "launch.evaluate"],
            after=["data", "student", "rectangle_only", "two_streams"],
            note="rank the test split",
        ),
        Stage(
            "gallery",
            ["launch.gallery_build", *student, *split, "--split=test", "--output", str(work / "gallery")],
            [work / "gallery"],
            ["retrieval", "explain", "compose", "launch.gallery_build"],
            after=["data", "student"],
            note="index the test foregrounds",
        ),
    ]


def search_commands(work: Path) -> list[tuple[str, str]]:
    """(purpose, shell command) pairs for a photograph of the user's own."""
    fos = command_prefix()
    query = f"{fos} search --gallery={work / 'gallery'} --photo=street.jpg --box=410,220,640,380 --category=car"
    own = f"{fos} gallery build --bundle={work / 'student' / 'bundle'} --cutouts=my_cutouts --output=my_gallery"
    return [
        (
            "Patterns that fit a photograph of yours (here street.jpg)",
            f"{query} --level=patterns --k=3 --output=found",
        ),
        ("Foregrounds that fit it best, and why", f"{query} --k=20 --output=found --why=why.png"),
        ("A gallery of cut-outs of yours: RGBA pictures, my_cutouts/<category>/*.png", own),
    ]
