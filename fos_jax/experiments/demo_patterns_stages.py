"""Stages from photographs to a search: programs with their flags, in their order."""

import json
from pathlib import Path

import numpy as np

from fos_jax.experiments.demo_stages import split_stages, students, training_stage
from fos_jax.experiments.stages import Stage
from fos_jax.program import command_prefix

RECTANGLE_ONLY = "rectangle only"
# Of the photographs of COCO's sample: categories with a dozen usable objects or more.
COCO_CATEGORIES = ("person", "chair", "bowl", "book", "bird", "cup", "potted plant", "bottle", "car", "dining table")
RENDERED_CATEGORIES = ("car", "person")
SIZES: dict[str, dict[str, int]] = {
    # Rendered photographs are small, and so are the objects in them.
    "demo": {"per_category": 160, "image_px": 160, "teacher_steps": 300, "student_steps": 400},
    "mini": {"per_category": 40, "image_px": 128, "teacher_steps": 12, "student_steps": 12},
}
_SMALL_OBJECTS = {"size.min_area_px": 120, "size.min_short_side_px": 6, "size.min_long_side_px": 12}
DATASET, CONFIG = "fos_patterns", "tight"

_SUMMARY = (
    "Objects were cut out of {photographs}, grouped by what they look like, and sorted into patterns by two simulated "
    "annotators who went by {truth}. From what they verified came a benchmark, and on it a teacher and a student were "
    "trained for a few hundred steps. Everything found below is from its test split, which shares no photograph with "
    "training."
)


def stages_of(work: Path, coco: Path | None, size: str) -> list[Stage]:
    """The programs of the demo.

    Args:
      work: folder of everything.
      coco: folder with instances.json and images/; None: photographs are rendered.
      size: one of `SIZES`.
    """
    choice = SIZES[size]
    source = coco or work / "photographs"
    truth = "aspect" if coco else "yaw"
    categories = COCO_CATEGORIES if coco else RENDERED_CATEGORIES
    render = [f"--{name}={choice[name]}" for name in ("per_category", "image_px")]
    render += [f"--categories={','.join(RENDERED_CATEGORIES)}"]
    rendered = Stage(
        "photographs",
        ["launch.scenes_photographs", "--output", str(source), *render],
        [source],
        ["scenes", "launch.scenes_photographs"],
        note="render photographs with instance masks",
    )
    cutouts, proposals = work / "cutouts", work / "proposals"
    extract = ["--source=coco", f"--annotations={source / 'instances.json'}", f"--images={source / 'images'}"]
    extract += [f"--categories={','.join(categories)}", "--output", str(cutouts)]
    extract += [] if coco else [f"--filters={json.dumps(_SMALL_OBJECTS)}"]
    verify = ["--cutouts", str(cutouts), "--proposals", str(proposals / "proposals.parquet"), f"--truth={truth}"]
    verify += ["--store", str(work / "verified.sqlite"), "--export", str(work / "verified.json")]
    data = ["--data_dir", str(work / "data")]
    return [
        *([] if coco else [rendered]),
        Stage(
            "cutouts",
            ["launch.cutouts", *extract],
            [cutouts],
            ["cutouts", "launch.cutouts"],
            [] if coco else ["photographs"],
            "cut objects out and filter them",
        ),
        Stage(
            "proposals",
            ["launch.propose", "--cutouts", str(cutouts), "--output", str(proposals)],
            [proposals],
            ["cutouts", "patterns", "launch.propose"],
            ["cutouts"],
            "group them",
        ),
        Stage(
            "verification",
            ["launch.simulate_verification", *verify],
            [work / "verified.json", work / "verified.sqlite"],
            ["patterns", "verification", "experiments.simulated_session", "launch.simulate_verification"],
            ["proposals"],
            "two simulated annotators verify them",
        ),
        Stage(
            "data",
            ["launch.dataset_build", f"--dataset={DATASET}", f"--size={CONFIG}", "--manual_dir", str(work), *data],
            [work / "data" / DATASET / f"{CONFIG}_{kind}" for kind in ("foregrounds", "queries")],
            ["cutouts", "verification", "datasets", "launch.dataset_build"],
            ["verification"],
            "splits, queries, truth, data card",
        ),
        *_training(work, choice),
    ]


def _training(work: Path, choice: dict[str, int]) -> list[Stage]:
    data = work / "data"
    split = [f"--data_dir={data}", f"--dataset={DATASET}", f"--size={CONFIG}"]

    def changes(steps: int) -> list[str]:
        """The network and its settings are those of the rendered benchmark; nothing was tuned here."""
        values = {"data.dataset": DATASET, "data.size": CONFIG, "training.num_steps": steps}
        values |= {"training.validate_every_steps": steps // 2, "optimizer.warmup_steps": min(50, steps // 4)}
        return [f"--config.{key}={value}" for key, value in values.items()]

    note, flags = "pretrain the foreground encoder", changes(choice["teacher_steps"])
    return [
        training_stage(work, data, "teacher", "teacher.py:demo", *flags, after=[], note=note),
        *students(work, data, "demo", *changes(choice["student_steps"])),
        *split_stages(work, split, {"rectangle_only": f"{RECTANGLE_ONLY}:control"}),
    ]


def commands(work: Path) -> list[tuple[str, str]]:
    """(purpose, shell command) pairs for what a reader may do next."""
    fos = command_prefix()
    verify = f"{fos} verify --cutouts={work / 'cutouts'} --proposals={work / 'proposals/proposals.parquet'}"
    query = f"{fos} search --gallery={work / 'gallery'} --photo=street.jpg --box=410,220,640,380 --category=person"
    return [
        ("See and correct what the simulated annotators did", f"{verify} --store={work / 'verified.sqlite'}"),
        ("Search with a photograph of yours (here street.jpg)", f"{query} --level=patterns --k=3 --output=found"),
    ]


def summary(photographs: str | None) -> str:
    """What the report says first; `photographs` is the name of the real ones' folder, None: they are rendered."""
    return _SUMMARY.format(
        photographs=f"the photographs of {photographs}" if photographs else "rendered photographs",
        truth="the aspect of the silhouette, a stand-in that says little about what fits" if photographs else "its yaw",
    )


def pictures(work: Path) -> list:
    """The report's pictures of what was kept, proposed and verified."""
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.patterns.proposal_report import contact_sheet, group_sheet
    from fos_jax.patterns.proposals import read_proposals
    from fos_jax.report.contents import Picture
    from fos_jax.verification.export import read_export

    cutouts, verified = CutoutSet(work / "cutouts"), read_export(work / "verified.json")
    counts = cutouts.manifest["counts"]
    fell = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(counts.items()) if name != "kept")
    proposals = read_proposals(work / "proposals" / "proposals.parquet")
    row_of_id = {name: row for row, name in enumerate(cutouts.column("id"))}
    rng = np.random.default_rng(0)
    shown = [verified.patterns[i] for i in sorted(rng.permutation(len(verified.patterns))[:12])]
    rows = [(f"{p.category}\n{p.name}", [row_of_id[m.cutout_id] for m in p.members[:16]]) for p in shown]
    pixels = dict(cutouts.pictures(sorted({row for _, members in rows for row in members})))
    card = json.loads((work / "data" / DATASET / f"{CONFIG}_queries" / "1.0.0" / "data_card.json").read_text("utf-8"))
    agreement = ", ".join(f"kappa {a['kappa']:.2f}" for a in card["agreement"] if a["kappa"] is not None)
    return [
        Picture(
            "Proposed groups",
            f"{counts.get('kept', 0)} cut-outs were kept ({fell or 'none'} fell to filters) and grouped into "
            f"{len(proposals.groups())} groups, more than there are patterns, on purpose. Some of them, the surest "
            "members first:",
            group_sheet(cutouts, proposals, count=12),
        ),
        Picture(
            "Verified patterns",
            f"{len(verified.patterns)} patterns after {verified.last_action} actions "
            f"({agreement or 'agreement not known'}). Some of them:",
            contact_sheet([(label, [pixels[row] for row in members]) for label, members in rows], columns=16),
        ),
    ]
