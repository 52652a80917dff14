"""Data inside the page, which no content of it can break out of."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script_json(value: Any) -> str:
    """JSON for a ``<script type="application/json">``: ASCII, sorted keys, no markup.

    Names of clips and texts come from outside. Escaped as JSON itself escapes, so that it reads
    back as it was, while no ``</script>`` or ``<!--`` is left for an HTML parser to see.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def content_digest(text: str) -> str:
    """Of an inline script or style, as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` letters; an ellipsis ends one that was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
