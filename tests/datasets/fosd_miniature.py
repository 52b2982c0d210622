"""A miniature of FOSD with every file, drawn from a seed: photographs, masks, and what FOSD's script makes of them.

Not a test; `test_fosd*.py` import it.
"""

import csv
import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CATEGORIES = ("Boat", "Dog")
COLUMNS = (
    "MaskPath",
    "ImageID",
    "LabelName",
    "BoxID",
    "BoxXMin",
    "BoxXMax",
    "BoxYMin",
    "BoxYMax",
    "PredictedIoU",
    "Clicks",
)
FRAME = (72, 54)  # width, height of every photograph


class Explosive:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@dataclasses.dataclass(frozen=True)
class Miniature:
    """Where it lies, and the names in it: category -> background names of train, of each test set, of its gallery."""

    root: Path
    train: dict[str, list[str]]
    set1: dict[str, list[str]]
    set2: dict[str, list[str]]
    gallery: dict[str, list[str]]


def write_miniature(
    root: Path,
    *,
    readme_spelling: bool = True,
    suffix: str = ".png",
    names_suffix: str | None = None,
    leading_column: bool = True,
    mask_scale: int = 1,
    train: int = 40,
    test: int = 3,
    seed: int = 0,
) -> Miniature:
    """Writes the miniature below `root`.

    Args:
      root: becomes the manual directory.
      readme_spelling: test/bg_set1 and test_set1.json; otherwise test/bg and test.json.
      suffix: of the image files. names_suffix: in the annotations, where it differs.
      leading_column: the CSV's extra first column.
      mask_scale: masks are stored so many times larger than their photographs.
      train, test: objects a category.
    """
    rng = np.random.default_rng(seed)
    set1_folder = "bg_set1" if readme_spelling else "bg"
    names_suffix = names_suffix or suffix
    for folder in (
        "metadata",
        "train/bg",
        "train/fg",
        "train/labels",
        f"test/{set1_folder}",
        "test/bg_set2",
        "test/fg",
    ):
        (root / folder).mkdir(parents=True)
    (root / "test/labels").mkdir()
    (root / "metadata/classes.csv").write_text("/m/019jd,Boat\n/m/0bt9lr,Dog\n")
    (root / "metadata/category_embeddings.pkl").write_bytes(pickle.dumps(Explosive(str(root / "UNPICKLED"))))

    def draw(part: str, backgrounds: str, category: str, index: int, writer) -> tuple[str, list[float]]:
        image_id = f"{'abc0f'[index % 5]}{index:03d}{'ab'[part == 'test']}{CATEGORIES.index(category):02d}"
        object_id = f"{image_id}_m0{category.lower()}_{index:08x}"
        photograph, mask, box = _draw(rng, category)
        write_object(
            root / part, object_id, photograph, mask, box, backgrounds=backgrounds, suffix=suffix, mask_scale=mask_scale
        )
        row = [f"{object_id}.png", image_id, "/m/0x", f"{index:08x}", box[0], box[2], box[1], box[3], 0.9, "0.5 0.5 1;"]
        writer.writerow(([index] if leading_column else []) + row)
        return object_id + names_suffix, box

    boxes: dict[str, list[float]] = {}
    names: dict[tuple[str, str], list[str]] = {}
    for part, backgrounds, count in (("train", "bg", train), ("test", set1_folder, test)):
        with open(root / part / "labels/segmentations.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(([""] if leading_column else []) + list(COLUMNS))
            for category in CATEGORIES:
                for index in range(count):
                    name, boxes[name] = draw(part, backgrounds, category, index, writer)
                    names.setdefault((part, category), []).append(name)

    def write_json(path: str, content) -> None:
        (root / path).write_text(json.dumps(content))

    def neighbours(all_names: list[str], index: int, first: int) -> list[str]:
        return [all_names[(index + step) % len(all_names)] for step in range(first, first + 3)]

    for benchmark, first in (("sfosd", 1), ("rfosd", 4)):
        entries = {
            name: {
                "bbox": boxes[name],
                "class": category,
                "similars": neighbours(names["train", category], index, first),
                "dissimilars": neighbours(names["train", category], index, first + 3),
            }
            for category in CATEGORIES
            for index, name in enumerate(names["train", category])
        }
        write_json(f"train/labels/train_{benchmark}.json", entries)
    write_json("train/labels/category.json", {c: {"images": names["train", c]} for c in CATEGORIES})
    (root / "train/labels/number_per_category.csv").write_text("".join(f"{c},{train}\n" for c in CATEGORIES))
    gallery = {c: names["test", c] for c in CATEGORIES}
    set1 = {c: {"bg": [[n, boxes[n]] for n in gallery[c]], "fg": gallery[c]} for c in CATEGORIES}
    write_json(f"test/labels/{'test_set1' if readme_spelling else 'test'}.json", set1)
    set2: dict[str, dict[str, list]] = {}
    for category in CATEGORIES:
        for index in range(test):
            name = f"web photo {index}{names_suffix}"  # the same names in both categories
            _save(np.asarray(_photograph(rng)), root / "test/bg_set2" / Path(name).with_suffix(suffix))
            labels = {n: int(i <= index) for i, n in enumerate(gallery[category])}
            set2.setdefault(category, {})[name] = [[0.25, 0.25, 0.75, 0.875], "annotator 1", labels]
    write_json("test/labels/test_set2.json", set2)
    return Miniature(
        root,
        {c: names["train", c] for c in CATEGORIES},
        {c: list(gallery[c]) for c in CATEGORIES},
        {c: list(set2[c]) for c in CATEGORIES},
        gallery,
    )


def write_object(part: Path, object_id, photograph, mask, box, *, backgrounds, suffix=".png", mask_scale=1) -> None:
    """What FOSD's script leaves of one object: cut-out on white, background with a grey box, mask.

    Args: photograph: uint8 [h, w, 3]. mask: bool [h, w]. box: x1, y1, x2, y2 in fractions.
    """
    height, width = mask.shape
    x0, y0, x1, y1 = (int(v * side) for v, side in zip(box, (width, height) * 2, strict=True))
    on_white = np.where(mask[..., None], photograph, 255).astype(np.uint8)[y0:y1, x0:x1]
    background = photograph.copy()
    background[y0:y1, x0:x1] = 128
    _save(on_white, part / "fg" / (object_id + suffix))
    _save(background, part / backgrounds / (object_id + suffix))
    folder = part / "labels/masks" / object_id[0].upper()
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.kron(mask, np.ones((mask_scale, mask_scale), bool))
    Image.fromarray(stored).save(folder / f"{object_id}.png")


def _photograph(rng) -> Image.Image:
    ramp = np.linspace(0, 1, FRAME[1])[:, None, None] * rng.uniform(0, 255, 3)
    return Image.fromarray(np.broadcast_to(ramp, (FRAME[1], FRAME[0], 3)).astype(np.uint8))


def _draw(rng, category: str) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """A photograph of an ellipse or a triangle, its mask, and its box in fractions."""
    width, height = (int(v) for v in rng.integers(14, 30, 2))
    x, y = int(rng.integers(0, FRAME[0] - width)), int(rng.integers(0, FRAME[1] - height))
    photograph, mask = _photograph(rng), Image.new("1", FRAME)
    colour = tuple(int(v) for v in rng.integers(0, 255, 3))
    for image, fill in ((photograph, colour), (mask, 1)):
        pen = ImageDraw.Draw(image)
        if category == "Boat":
            pen.polygon([(x, y + height - 1), (x + width - 1, y + height - 1), (x + width // 2, y)], fill=fill)
        else:
            pen.ellipse([x, y, x + width - 1, y + height - 1], fill=fill)
    box = [x / FRAME[0], y / FRAME[1], (x + width) / FRAME[0], (y + height) / FRAME[1]]
    return np.asarray(photograph), np.asarray(mask), [round(v + 1e-6, 6) for v in box]


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
