"""Two heads on frozen public features that saw the rendered world alone, and read views of photographs.

The teacher names the view of a cut-out from the backbone's middle stage, where viewpoint lives. It learns from cut-outs
that are rendered anew at 160 px, as they are and with light, colour, blur, noise and compression changed. Photographs
lie elsewhere among the features: they are centred by the mean of another set of photographs (coco_sample's cut-outs of
all categories, without any label), never by that of the photographs it is tested on. A cut-out's posterior is the mean
of its own and of its mirror image's, mirrored back. The student learns the views of rendered queries from what the
teacher says of their own foregrounds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rendered_features import QUERY_PX, query_side
from reporting import REAL

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with
from fos_jax.experts.canonical import join_reduced, reduce_block
from fos_jax.experts.examples import Side
from fos_jax.experts.features import FeatureCache, mild_variant
from fos_jax.experts.heads import Head, fit_head
from fos_jax.experts.model import expert_blocks
from fos_jax.images import prepare_cutout
from fos_jax.scenes.attributes import mirrored
from fos_jax.scenes.streams import CHUNK, render_cutouts, sample_scenes

if TYPE_CHECKING:
    from sim_to_real import Views

    from fos_jax.data.arrays import Queries

COCO = REAL / "coco_sample"
DATA_SEED = 1  # fos_synthetic's: scene i of a split's category is its query i
RENDERED_PX = 160
CHANGED = 2.0  # strength of the variants; see `mild_variant`
STAGE = 1  # of the backbone's blocks: the middle one
TEACHER_COMPONENTS, TEACHER_STRENGTH = 512, 1e-4
STUDENT_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)  # the one with the least cross-entropy on rendered validation queries


def rendered_again(ids: Sequence[str]) -> np.ndarray:
    """The data set's foregrounds at a higher resolution, uint8 [n, 160, 160, 4], of ids "split-category-number"."""
    split, category, _ = ids[0].rsplit("-", 2)
    numbers = np.array([int(i.rsplit("-", 1)[1]) for i in ids])
    padded = np.concatenate([numbers, np.repeat(numbers[-1:], -len(numbers) % CHUNK)])
    parts = [
        render_cutouts(sample_scenes(DATA_SEED, split, category, padded[s : s + CHUNK]), size=RENDERED_PX)
        for s in range(0, len(padded), CHUNK)
    ]
    return np.concatenate(parts)[: len(numbers)]


def photograph_mean(features: FeatureCache, folder: Path) -> np.ndarray | None:
    """Mean features of coco_sample's cut-outs and their mirror images, float64 [F]; None where they are absent."""
    if not (COCO / "instances.json").exists():
        return None
    source = {"kind": "coco", "annotations": str(COCO / "instances.json"), "images": str(COCO / "images")}
    extract(folder, source, config_with({}), progress=False)
    pictures = [picture for _, picture in CutoutSet(folder).pictures()]
    both = [middle_features(features, [p[:, ::-1] if flip else p for p in pictures]) for flip in (False, True)]
    return np.concatenate(both).mean(0, dtype=np.float64)


def middle_features(features: FeatureCache, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [n, F] of the middle stage, of RGBA cut-outs of any size."""
    size, part = features.backbone.size, features.backbone.blocks.slices[STAGE]
    images = [np.stack([prepare_cutout(p, size) for p in pictures[s : s + 256]]) for s in range(0, len(pictures), 256)]
    return np.concatenate([np.asarray(features(i)[:, part], np.float32) for i in images])


class RenderedExperts(NamedTuple):
    """Both heads of one category, over its views.

    Attributes:
      teacher, student: heads. mirror: int [views], the view of the mirror image.
      real_mean: float [F], of photographs; None: nothing to centre by.
    """

    features: FeatureCache
    teacher: Head
    student: Head
    mirror: np.ndarray
    real_mean: np.ndarray | None

    def name(self, pictures: Sequence[np.ndarray], *, is_real: bool) -> np.ndarray:
        """p(view | cut-out), float [n, views], of RGBA cut-outs of any size."""
        teacher = self.teacher
        if is_real and self.real_mean is not None:
            teacher = teacher._replace(mean=self.real_mean.astype(np.float32))
        plain, flipped = (
            _posterior(teacher, middle_features(self.features, [p[:, ::-1] if flip else p for p in pictures]))
            for flip in (False, True)
        )
        return (plain + flipped[:, self.mirror]) / 2

    def ask(self, image: np.ndarray, box_yxyx_norm: np.ndarray) -> np.ndarray:
        """p(view | query), float [n, views], of uint8 [n, s, s, 3] and float [n, 4]."""
        return _posterior(self.student, np.concatenate(_blocks(self.features, image, box_yxyx_norm), axis=1))


def train_rendered(
    features: FeatureCache,
    category: str,
    views: "Views",
    *,
    data_dir: str,
    size: str,
    folder: Path,
    real_mean: np.ndarray | None,
    seed: int = 0,
) -> RenderedExperts:
    """Trains on a category's training queries and foregrounds; the seed draws the changed copies."""
    n, rng = len(views.names), np.random.default_rng(seed)
    queries, view, ids = _training(data_dir, size, "train", category, views, folder)
    size_px = features.backbone.size
    pictures = [prepare_cutout(p, size_px) for p in rendered_again(ids)]
    plain = middle_features(features, pictures)
    changed = middle_features(features, [mild_variant(p, rng, strength=CHANGED) for p in pictures])
    both, labels = np.concatenate([plain, changed]), np.eye(n)[np.tile(view, 2)]
    teacher = _fit([both], labels, (TEACHER_STRENGTH,), TEACHER_COMPONENTS)
    told = _posterior(teacher, plain)
    held, held_view, _ = _training(data_dir, size, "validation", category, views, folder)
    held_rows = np.concatenate(_blocks(features, held.image, held.box_yxyx_norm), axis=1)
    blocks = _blocks(features, queries.image, queries.box_yxyx_norm)
    zeros = np.zeros(len(held_view), int)
    student = _fit(blocks, told, STUDENT_STRENGTHS, 256, (held_rows, np.eye(n)[held_view], zeros))
    mirror = np.array([views.names.index(mirrored(name)) for name in views.names])
    return RenderedExperts(features, teacher, student, mirror, real_mean)


def _training(
    data_dir: str, size: str, split: str, category: str, views: "Views", folder: Path
) -> tuple["Queries", np.ndarray, list[str]]:
    """Queries of a category at the size they are stored in, views int [n] and ids of their own foregrounds."""
    from sim_to_real import of_rows

    from fos_jax.data.splits import load_split

    sizes = {"foreground_size": 64, "query_size": QUERY_PX, "cache_dir": folder / "prepared"}
    foregrounds, everything, table = load_split(data_dir, size=size, split=split, progress=False, **sizes)
    queries = of_rows(everything, np.flatnonzero(everything.category == table.category_id(category)))
    own = queries.foreground_index
    view = views.of_pattern.argmax(axis=1)[foregrounds.pattern[own] - views.patterns[0]]
    return queries, view, foregrounds.ids[own].tolist()


def _blocks(features: FeatureCache, image: np.ndarray, box_yxyx_norm: np.ndarray) -> list[np.ndarray]:
    side: Side = query_side(features, image, box_yxyx_norm)
    edges = [s.stop for s in features.backbone.blocks.slices[:-1]]
    return expert_blocks("query", *side, edges)["patterns"]


def _fit(
    blocks: list[np.ndarray], target: np.ndarray, strengths: Sequence[float], components: int, held_out=None
) -> Head:
    one, of_view = np.zeros(len(target), int), np.zeros(target.shape[1], int)
    reduced = join_reduced([reduce_block(block, components=components) for block in blocks])
    return fit_head(reduced, target, one, of_view, strengths=strengths, held_out=held_out)


def _posterior(head: Head, rows: np.ndarray) -> np.ndarray:
    return np.exp(head.log_posterior(rows, np.zeros(len(rows), int), np.zeros(len(head.bias), int)))
