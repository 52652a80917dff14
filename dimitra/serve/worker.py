"""The process that animates: jobs come in as lines of JSON, and what happens goes out so.

It is a process of its own so that a job can be ended at any moment, its memory comes back, and a
decoder that crashes on a hostile file takes no server with it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any


def main() -> int:
    """Work until the input ends, which is when the server does, however it does."""
    logging.basicConfig(level=logging.ERROR)
    # Libraries print: they get the error stream, the events a descriptor of their own.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(**event: object) -> None:
        events.write(json.dumps(event) + "\n")

    orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    while True:
        _work(orders.get(), tell)


def _read(orders: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)  # in the middle of a job too: the server removes its folder


def _work(order: dict[str, Any], tell: Any) -> None:
    from dimitra.animation.animate import animate
    from dimitra.animation.credentials import Credentials
    from dimitra.animation.curves import motion_curves
    from dimitra.animation.errors import AnimationError
    from dimitra.morphable import open_head

    folder = Path(order["folder"])
    signing = order["credentials"]
    try:
        made = animate(
            order["image"],
            order["audio"],
            folder / "video.mp4",
            models=order["models"],
            params=order["params"],
            credentials=None
            if signing is None
            else Credentials(Path(signing["key"]), Path(signing["certificates"]), signing["url"]),
            progress=lambda step, done, total: tell(kind="step", step=step, done=done, total=total),
            notify=lambda notice: tell(kind="notice", text=notice),
            **order["wishes"],
        )
        if made.face_model == "open_head":
            model = open_head.load()
            for video, motion in zip(made.videos, made.motions, strict=True):
                curves = motion_curves(motion, made.identity, model)
                video.with_suffix(".json").write_text(json.dumps({"fps": 25, **curves}))
    except (AnimationError, OSError) as error:
        tell(kind="error", text=str(error))
    except MemoryError:
        tell(kind="error", text="the machine has not enough memory for this; make it smaller")
    else:
        videos = [video.name for video in made.videos]
        tell(kind="done", videos=videos, text=made.text, lip_contact=made.lip_contact)


if __name__ == "__main__":
    sys.exit(main())
