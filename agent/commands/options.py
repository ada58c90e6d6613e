"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["About", "Data", "Format", "FormatName", "Images", "SkipBad", "Unsafe", "console", "errors"]

console = Console()
errors = Console(stderr=True)


class FormatName(StrEnum):
    """The formats that a data set can be read in."""

    coco = "coco"
    yolo = "yolo"
    voc = "voc"
    youtube_vos = "youtube-vos"
    youtube_vis = "youtube-vis"


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="A data set (COCO .json, or the folder of a YOLO, Pascal VOC, YouTube-VOS or YouTube-VIS set).",
    ),
]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Where the images lie, if not where expected.")
]
Format = Annotated[
    FormatName | None, typer.Option("--format", show_default="detected", help="The format of DATA.")
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what cannot be used, and count it, instead of stopping.")
]
Unsafe = Annotated[
    bool,
    typer.Option(
        "--unsafe-no-sandbox",
        help="Run generated code without the jail where this machine has none, at your own risk.",
    ),
]
About = Annotated[
    str,
    typer.Option("--about", metavar="TEXT", help="What the data shows, in your words; the model reads it."),
]
