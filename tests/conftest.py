"""Settings that every test shares."""

import json
import os

# Before anything imports JAX: tests compare numbers computed on the CPU, whatever else the machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import pytest

# Compilation makes first examples slow, so there is no deadline. On CI the examples are the same on each run and none
# are stored; elsewhere each run tries new ones.
hypothesis.settings.register_profile("local", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session", autouse=True)
def _no_file_in_the_users_cache(tmp_path_factory):
    """Programs that tests start keep what they compile in a temporary folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def strict_ranks():
    """Makes JAX refuse implicit rank promotion ([B] + [B, P]) while a test runs; opt in with `usefixtures`."""
    import jax

    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def coco_folder(tmp_path):
    """Returns a function that writes photographs and annotations and gives the two paths."""
    import numpy as np
    from PIL import Image

    def write(*, photographs=3, objects=2, size=(96, 80), change=None, seed=0):
        rng = np.random.default_rng(seed)
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        width, height = size
        raw = {
            "licenses": [{"id": 1, "name": "CC BY"}],
            "images": [],
            "annotations": [],
            "categories": [{"id": 7, "name": "car"}, {"id": 9, "name": "boat"}],
        }
        for index in range(photographs):
            name = f"p{index:04d}.png"
            Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / name)
            raw["images"].append({"id": index, "file_name": name, "width": width, "height": height, "license": 1})
            for _ in range(objects):
                x, y = int(rng.integers(5, 25)), int(rng.integers(5, 20))
                polygon = [x, y, x + 50, y, x + 50, y + 40, x, y + 40]
                raw["annotations"].append(
                    {
                        "id": len(raw["annotations"]),
                        "image_id": index,
                        "category_id": 7 if len(raw["annotations"]) % 2 else 9,
                        "bbox": [x, y, 50, 40],
                        "segmentation": [polygon],
                        "iscrowd": 0,
                        "azimuth_deg": 45.0,
                    }
                )
        if change is not None:
            change(raw)
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(raw))
        return path, folder

    return write


@pytest.fixture(scope="session")
def table():
    """Category car: one attribute of two values; category chair: one pattern without attributes."""
    from fos_jax.pattern_table import Pattern, PatternTable

    return PatternTable(
        categories=("car", "chair"),
        attributes={"car": {"yaw": ("left", "right")}},
        patterns=(
            Pattern(0, "car", {"yaw": "left"}, "car from the left", 1, {}),
            Pattern(1, "car", {"yaw": "right"}, "car from the right", 0, {}),
            Pattern(2, "chair", {}, "chair", 2, {}),
        ),
    )


@pytest.fixture(scope="session")
def config() -> dict:
    return {
        "foreground": {"backbone": "small", "embedding_size": 16, "image_size": 32},
        "query": {"backbone": "small", "image_size": 32, "views": ("frame",), "flat_scale": 2.0},
        "steps": 3,
    }
