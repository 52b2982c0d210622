"""Extraction of cut-outs: speed against a plain loop, and memory; one JSON line each.

    python benchmarks/extraction.py [annotations for the memory line]

Speed: photographs per CPU-second on coco_sample where it is there, otherwise on generated photographs, against a plain
loop (pycocotools masks of the whole frame, Pillow, one PNG per cut-out). The loop cuts exactly the objects that the
filters keep and measures nothing; the library also filters, hashes, reports and checks its input. A second loop also
measures, with whole-frame arrays. Memory: peak of a process that extracts a tenth of the generated annotations, or all.
"""

import contextlib
import io
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import imagehash
import numpy as np
from PIL import Image, ImageFilter
from pycocotools.coco import COCO
from reporting import REAL, Report, machine, make_parser, work_folder

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with

SAMPLE = REAL / "coco_sample"
ROUNDS = 3


def generate(folder: Path, *, images: int, files: int, objects: int, size: tuple[int, int], seed: int = 0) -> None:
    """Smooth photographs with wavy polygons; `images` entries share `files` files, so that the disk does not fill."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    width, height = size
    for index in range(files):
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
        smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.jpg", quality=90)
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    with (folder / "instances.json").open("w") as file:
        entries = ({"id": i, "file_name": f"{i % files}.jpg", "width": width, "height": height} for i in range(images))
        file.write('{"categories": [{"id": 1, "name": "thing"}], "images": [')
        file.write(",\n".join(map(json.dumps, entries)) + '], "annotations": [\n')
        for index in range(images * objects):
            radius = rng.uniform(0.18, 0.4) * min(size) * (1 + 0.15 * np.sin(turns * rng.integers(3, 9)))
            x, y = rng.uniform(0.42, 0.58, 2) * size
            points = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1).round(2)
            low, extent = points.min(axis=0), np.ptp(points, axis=0)
            entry = {"id": index, "image_id": index % images, "category_id": 1, "iscrowd": 0}
            entry |= {"segmentation": [points.reshape(-1).tolist()], "bbox": [*low.tolist(), *extent.tolist()]}
            file.write((",\n" if index else "") + json.dumps(entry))
        file.write("]}")


def coco_source(data: Path) -> dict[str, str]:
    return {"kind": "coco", "annotations": str(data / "instances.json"), "images": str(data / "images")}


def ours(data: Path, output: Path) -> tuple[set[int], int]:
    """Annotation ids that were kept before near-duplicates are judged, and the number of photographs."""
    config = config_with({"near_duplicate.max_distance_bits": -1})
    manifest = extract(output, coco_source(data), config, progress=False)
    return {int(text.rsplit("/", 1)[1]) for text in CutoutSet(output).column("id")}, manifest["photographs"]


def plain_loop(data: Path, output: Path, wanted: set[int], *, measuring: bool) -> int:
    """Cuts the wanted annotations one by one; returns the number of files."""
    output.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(data / "instances.json")
    count = 0
    for image_id in coco.getImgIds():
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        chosen = annotations if measuring else [entry for entry in annotations if entry["id"] in wanted]
        if not chosen:
            continue
        name = coco.loadImgs(image_id)[0]["file_name"]
        rgb = np.array(Image.open(data / "images" / name).convert("RGB"))
        for entry in chosen:
            mask = coco.annToMask(entry)
            if measuring:
                measure_plainly(rgb, mask)
            if entry["id"] not in wanted:
                continue
            rows, columns = np.nonzero(mask)
            rgba = np.dstack([rgb, mask * 255])
            crop = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            Image.fromarray(crop).save(output / f"{entry['id']}.png")
            if measuring:
                imagehash.phash(Image.fromarray(crop).convert("RGB"))
            count += 1
    return count


def measure_plainly(rgb: np.ndarray, mask: np.ndarray) -> list[float]:
    """Parts, holes, sharpness and exposure from whole frames, with Pillow and NumPy."""
    if not mask.any():
        return []
    parts = cv2.connectedComponentsWithStats(mask)[2]
    holes = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)[2]
    grey = Image.fromarray(rgb).convert("L")
    edges = np.array(grey.filter(ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)))
    inside = np.array(grey)[mask > 0]
    return [parts[1:, -1].max(), holes[1:, -1].sum(), edges[mask > 0].var(), inside.mean(), inside.std()]


def speed(folder: Path) -> dict:
    """The line of speed; methods in turns, so that other work on the machine disturbs all alike."""
    data = SAMPLE
    if not (data / "instances.json").is_file():
        data = folder / "made"
        generate(data, images=60, files=60, objects=8, size=(640, 480))
    kept, photographs = ours(data, folder / "warm")
    seconds: dict[str, list[float]] = {"ours": [], "plain": [], "plain_measuring": []}
    for index in range(ROUNDS):
        for name, work in (
            ("ours", lambda path: ours(data, path)),
            ("plain", lambda path: plain_loop(data, path, kept, measuring=False)),
            ("plain_measuring", lambda path: plain_loop(data, path, kept, measuring=True)),
        ):
            start = time.process_time()
            work(folder / f"{name}{index}")
            seconds[name].append(time.process_time() - start)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        "photographs": photographs,
        "kept": len(kept),
        "data": "coco_sample" if data == SAMPLE else "generated",
        "photographs_per_cpu_second": {name: round(photographs / value, 1) for name, value in median.items()},
        "times_plain": round(median["plain"] / median["ours"], 2),
        "times_plain_measuring": round(median["plain_measuring"] / median["ours"], 2),
    }


def memory(folder: Path, annotations: int) -> dict:
    """The line of memory; each size in a process of its own."""
    peaks = {}
    for count in (annotations // 10, annotations):
        data = folder / f"memory{count}"
        generate(data, images=count // 8, files=50, objects=8, size=(160, 128))
        command = [sys.executable, __file__, "--extract-only", data, data / "out"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[count] = json.loads(done.stdout.splitlines()[-1])
    small, large = peaks.values()
    return {
        "annotations": list(peaks),
        "json_mb": [round((folder / f"memory{count}" / "instances.json").stat().st_size / 1e6, 1) for count in peaks],
        "peak_mb": [peak["peak_mb"] for peak in peaks.values()],
        "seconds": [peak["seconds"] for peak in peaks.values()],
        "growth_mb": round(large["peak_mb"] - small["peak_mb"], 1),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("annotations", nargs="?", type=int, default=100_000)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with work_folder(None) as folder:
        Report("extraction_speed")(speed(folder) | machine())
        Report("extraction_memory")(memory(folder, args.annotations) | machine())


def extract_only(data: str, output: str) -> None:
    """The measured process of the memory line."""
    start = time.perf_counter()
    extract(output, coco_source(Path(data)), config_with({}), progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mb": round(peak, 1), "seconds": round(time.perf_counter() - start, 1)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--extract-only"]:
        extract_only(*sys.argv[2:])
    else:
        main()
