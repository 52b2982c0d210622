"""Encoding cut-outs by a model bundle: from a source's records to a gallery's foregrounds."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import (
    Foregrounds,
    Layout,
    class_id,
    format_sides,
    make_foregrounds,
    mirrored_sides,
)
from fos_jax.gallery.sources import CutoutRecord, CutoutSource
from fos_jax.images import encode_png, resize_rgba, visible_box_xyxy_px
from fos_jax.pattern_table import PatternTable

Cutouts = Literal["copy", "reference"]


class EncodesForegrounds(Protocol):
    """What a gallery needs of a bundle; attributes as `retrieval.queries.EncodesQueries`."""

    table: PatternTable
    fingerprint: str

    @property
    def accepts_any_category(self) -> bool: ...

    @property
    def expert_weights(self) -> Mapping[str, float]: ...

    def foreground_inputs(self, rgba: np.ndarray, truncated: tuple[str, ...] | None) -> tuple[np.ndarray, ...]:
        """One cut-out's inputs.

        Args:
          rgba: uint8 [h, w, 4], straight alpha, cropped to what is visible.
          truncated: sides at which its photograph cut it, of `boxes.SIDES`; None where unknown.
        """
        ...

    @property
    def encode_foregrounds(self) -> Callable[..., Any]:
        """Takes stacked inputs and int32 category [n], keywords batch_size and progress; returns what
        `EncodesQueries.encode_queries` does."""
        ...


class Encoder:
    """Encodes foregrounds a batch at a time; the layout of their vectors is known after the first."""

    def __init__(
        self,
        bundle: EncodesForegrounds,
        *,
        cutouts: Cutouts,
        mirror: bool,
        thumbnail_size: int,
        batch_size: int = 256,
        tags: Collection[str] = (),
    ):
        """Options as `building.build_gallery`; `InputError` where an expert's name is none that a manifest can hold."""
        if names := [name for name in bundle.expert_weights if not name.isidentifier()]:
            raise InputError(f"bundle {bundle.fingerprint}: an expert is named {names[0]!r}, expected a plain name")
        self.bundle, self._cutouts, self._thumbnail_size, self._batch_size = bundle, cutouts, thumbnail_size, batch_size
        self.layout: Layout | None = None
        self._tags = set(tags)
        self._with_mirror = {p.category for p in bundle.table.patterns if p.mirror >= 0} if mirror else set()
        self._waiting: list[tuple[CutoutRecord, np.ndarray, np.ndarray]] = []
        self._is_first = True

    def encode(self, source: CutoutSource, *, progress: bool = False) -> Iterator[Foregrounds]:
        """Yields the foregrounds of a source, one category at a time.

        Raises:
          InputError: an unusable cut-out, a category that the bundle lacks, an id that comes twice, an encoding that is
            not finite.
        """
        from tqdm import tqdm

        seen = set()
        with tqdm(source, total=len(source), desc="cut-outs", unit="", disable=not progress) as records:
            for record in records:
                where = f"{source.name}, {record.id}"
                if record.id in seen:
                    raise InputError(f"{where}: this id comes twice")
                seen.add(record.id)
                class_id(record.category, self.bundle)
                if self._cutouts == "reference" and record.path is None:
                    raise InputError(f"{where}: is no file to refer to, expected cutouts='copy' for this source")
                x0, y0, x1, y1 = visible_box_xyxy_px(record.rgba, where=where)
                self._waiting.append((record, *self._pictures(record.rgba[y0:y1, x0:x1])))
                if len(self._waiting) == self._batch_size:
                    yield from self._flush()
            yield from self._flush()

    def _pictures(self, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = visible.shape[:2]
        scale = min(1.0, self._thumbnail_size / max(width, height))
        return visible, resize_rgba(visible, max(1, round(width * scale)), max(1, round(height * scale)))

    def _flush(self) -> Iterator[Foregrounds]:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        # The last batch is filled up where there were others: its own size would be one more program to compile.
        size = len(waiting) if self._is_first else self._batch_size
        self._is_first = False
        records = [record for record, _, _ in waiting]
        inputs = [self.bundle.foreground_inputs(visible, record.truncated) for record, visible, _ in waiting]
        embeddings, log_posteriors, experts = self._encode(inputs, records, size)
        if self.layout is None:
            sizes = {name: vectors.shape[1] for name, vectors in experts.items()}
            self.layout = Layout(self.bundle.table, embeddings.shape[1], dict(self.bundle.expert_weights), sizes)
        layout, table = self.layout, self.bundle.table
        posteriors = np.exp(log_posteriors)  # [n, P], those of other categories are not used
        own = [layout.patterns(record.category) for record in records]
        best = [int(ids[posteriors[i, ids].argmax()]) if len(ids) else -1 for i, ids in enumerate(own)]
        wanted = [
            i
            for i, record in enumerate(records)
            if record.category in self._with_mirror and best[i] >= 0 and table.mirror[best[i]] >= 0
        ]
        flipped = self._encode_mirrored([waiting[i][:2] for i in wanted], size)
        place = {i: m for m, i in enumerate(wanted)}
        for category in dict.fromkeys(record.category for record in records):
            members = [i for i, record in enumerate(records) if record.category == category]
            ids = layout.patterns(category)
            mirrored = [n for n, i in enumerate(members) if i in place]
            m = [place[members[n]] for n in mirrored]
            yield make_foregrounds(
                category,
                [records[i].id for i in members],
                embeddings[members],
                posteriors[np.ix_(members, ids)],
                layout=layout,
                experts={name: vectors[members] for name, vectors in experts.items()},
                thumbnails=[encode_png(waiting[i][2]) for i in members],
                cutouts=[b"" if self._cutouts == "reference" else encode_png(waiting[i][1]) for i in members],
                mirrored=np.array(mirrored, np.int64),
                mirrored_embeddings=flipped[0][m] if m else None,
                mirrored_vectors=_vectors(layout, flipped, m, ids) if m else None,
                source_id=[records[i].source_id for i in members],
                licence=[records[i].licence for i in members],
                path=[self._path(records[i]) for i in members],
                truncated=[format_sides(records[i].truncated) for i in members],
                tags=[sorted({*records[i].tags, *self._tags}) for i in members],
                width_px=[waiting[i][1].shape[1] for i in members],
                height_px=[waiting[i][1].shape[0] for i in members],
                true_pattern=[records[i].pattern for i in members],
            )

    def _path(self, record: CutoutRecord) -> str:
        return str(record.path.resolve()) if record.path and self._cutouts == "reference" else ""

    def _encode_mirrored(
        self, chosen: list[tuple[CutoutRecord, np.ndarray]], size: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        if not chosen:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32), {}
        inputs = [
            self.bundle.foreground_inputs(np.ascontiguousarray(visible[:, ::-1]), mirrored_sides(record.truncated))
            for record, visible in chosen
        ]
        return self._encode(inputs, [record for record, _ in chosen], size)

    def _encode(
        self, inputs: list[tuple[np.ndarray, ...]], records: list[CutoutRecord], size: int
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Embeddings [n, D], log posteriors [n, P] and the experts' vectors; the batch is filled up to `size`."""
        bundle, n = self.bundle, len(inputs)
        category = np.array([class_id(record.category, bundle) for record in records], np.int32)
        stacked = [np.stack(column) for column in zip(*inputs, *inputs[:1] * (size - n), strict=True)]
        padded = np.pad(category, (0, size - n), mode="edge")
        encoding = bundle.encode_foregrounds(*stacked, padded, batch_size=self._batch_size)
        embeddings = np.asarray(encoding.embedding, np.float32)[:n]
        log_posteriors = np.asarray(encoding.log_posterior, np.float32)[:n]
        experts = {name: np.asarray(encoding.experts[name], np.float32)[:n] for name in bundle.expert_weights}
        is_good = ~np.isnan(log_posteriors).any(axis=1)
        for vectors in (embeddings, *experts.values()):
            is_good &= np.isfinite(vectors).all(axis=1)
        if not is_good.all():
            bad = records[int(np.flatnonzero(~is_good)[0])].id
            raise InputError(f"bundle {bundle.fingerprint}: the embedding of {bad} is not finite")
        return embeddings, log_posteriors, experts


def _vectors(
    layout: Layout, encoded: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]], rows: list[int], patterns: np.ndarray
) -> np.ndarray:
    _, log_posteriors, experts = encoded
    return layout.join(np.exp(log_posteriors[np.ix_(rows, patterns)]), {n: v[rows] for n, v in experts.items()})
