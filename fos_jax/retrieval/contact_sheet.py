"""A picture of search results: the query, then a row of tiles per group."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fos_jax.images import MEAN_COLOUR, read_image
from fos_jax.retrieval.groups import PatternGroup
from fos_jax.retrieval.hits import Hit
from fos_jax.retrieval.queries import SearchQuery

_BACKGROUND, _INK, _GREY, _MARK = (255, 255, 255), (20, 20, 20), (110, 110, 110), (220, 30, 30)
_GAP = 8


def contact_sheet(
    query: SearchQuery,
    groups: Sequence[PatternGroup] | Sequence[Hit],
    *,
    tile: int = 160,
    columns: int = 8,
    composites: bool = True,
) -> Image.Image:
    """Draws the query's photograph with its rectangle, and the foregrounds with their scores beneath.

    Args:
      query: what was searched for.
      groups: hits, or pattern groups (a row each, with the pattern and its probability above).
      tile: side of a picture in pixels.
      columns: pictures per row.
      composites: show each foreground pasted into the photograph's rectangle, cut to its surroundings; else alone.

    Returns:
      RGB picture.
    """
    sections = _sections(groups)
    columns = max(1, min(columns, max((len(hits) for _, hits in sections), default=1)))
    photograph = _query_picture(query, tile * 2)
    rows = sum(1 + (len(hits) - 1) // columns for _, hits in sections if hits)
    width = columns * (tile + _GAP) + _GAP
    height = photograph.height + 3 * _GAP + len(sections) * 20 + rows * (tile + 32 + _GAP)
    sheet = Image.new("RGB", (max(width, photograph.width + 2 * _GAP), height), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    sheet.paste(photograph, (_GAP, _GAP))
    y = photograph.height + 2 * _GAP
    for title, hits in sections:
        draw.text((_GAP, y), title, fill=_INK, font=font)
        y += 20
        for start in range(0, len(hits), columns):
            for column, hit in enumerate(hits[start : start + columns]):
                x = _GAP + column * (tile + _GAP)
                sheet.paste(_hit_picture(hit, query, tile, composites), (x, y))
                mark = " mirrored" if hit.is_mirrored else ""
                draw.text((x, y + tile), f"{hit.rank + 1}. {hit.score:.3f}{mark}", fill=_INK, font=font)
                draw.text((x, y + tile + 15), _shortened(hit.id, tile // 7), fill=_GREY, font=font)
            y += tile + 32 + _GAP
    return sheet


def _sections(groups: Sequence[PatternGroup] | Sequence[Hit]) -> list[tuple[str, list[Hit]]]:
    hits = [entry for entry in groups if isinstance(entry, Hit)]
    sections = [("Foregrounds that fit best", hits)] if hits else []
    for group in groups:
        if isinstance(group, PatternGroup):
            probability = f"p = {group.probability:.2f}, " if group.id >= 0 else ""
            title = f"{group.description}: {probability}{group.size} foregrounds"
            sections.append((title, list(group.hits)))
    return sections


def _query_picture(query: SearchQuery, height: int) -> Image.Image:
    photograph = Image.fromarray(read_image(query.photo))
    scale = height / photograph.height
    picture = photograph.resize((max(1, round(photograph.width * scale)), height), Image.Resampling.BOX)
    box = [round(value * scale) for value in query.box]
    ImageDraw.Draw(picture).rectangle(
        (box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1)), None, _MARK, 3
    )
    return picture


def _hit_picture(hit: Hit, query: SearchQuery, tile: int, composites: bool) -> Image.Image:
    if composites:
        picture = hit.composite()
        x0, y0, x1, y1 = (int(value) for value in query.box)
        # Twice the rectangle's longer side, so that the contact with the surroundings is seen; within the frame.
        side = min(2 * max(x1 - x0, y1 - y0), max(picture.size))
        left, top = (
            min(max((low + high - side) // 2, 0), length - side) if length > side else (length - side) // 2
            for low, high, length in ((x0, x1, picture.width), (y0, y1, picture.height))
        )
        frame = Image.new("RGB", (side, side), MEAN_COLOUR)
        frame.paste(picture, (-left, -top))
        return frame.resize((tile, tile), Image.Resampling.BOX)
    picture = hit.thumbnail()
    picture.thumbnail((tile, tile))
    frame = Image.new("RGB", (tile, tile), MEAN_COLOUR)
    frame.paste(picture, ((tile - picture.width) // 2, (tile - picture.height) // 2), picture)
    return frame


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]
