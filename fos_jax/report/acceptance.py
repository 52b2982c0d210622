"""What a demo run must reach to count as working."""

from collections.abc import Mapping
from typing import Any

from fos_jax.report.figures import best_of, find_row, headline_row

MIN_RATIO_TO_RECTANGLE = 2.0


def unmet(result: Mapping[str, Any], *, rectangle_only: str, two_streams: str | None) -> list[str]:
    """Sentences on what the evaluation misses; empty where all is met.

    Args:
      result: of `evaluation.run.evaluate`.
      rectangle_only: name of the control that sees no picture; its best ranking counts.
      two_streams: name of the model trained without distillation; its cosine ranking counts. None: not run.

    Source: design decision.
    """
    student = headline_row(result)["figures"]["map"]["value"]
    rectangle = best_of(result, rectangle_only)["figures"]["map"]["value"]
    out = []
    if not student >= MIN_RATIO_TO_RECTANGLE * rectangle:
        out.append(
            f"student mAP is {student:.3f}, expected at least {MIN_RATIO_TO_RECTANGLE:g} times the rectangle-only "
            f"control's {rectangle:.3f}"
        )
    if two_streams is not None:
        rival = find_row(result, two_streams, "cosine")["figures"]["map"]["value"]
        if not student > rival:
            out.append(
                f"student mAP is {student:.3f}, expected more than {rival:.3f}, the cosine ranking of the model "
                "without distillation"
            )
    return out
