"""What a run knows, put into the gallery page's terms."""

import json
import os
import platform
import resource
import sys
from pathlib import Path

from flows.common.gallery_inputs import measured_of, nearest_of, straight_of
from flows.common.report import Collected, Finetuned, Showcased
from flows.common.settings import Settings
from tasks.animate.gallery import build_gallery
from tasks.animate.page import Cost, Credit, GalleryPage, StageRow, WikiPicture
from tasks.animate.share import share_sheet
from tasks.common.pictures import evenly
from tasks.common.store import Store
from tasks.dataset.folder import load_rows

DRAWINGS_SHOWN = 36
SAMPLE_CREDITS = (
    Credit(
        text="Drawings of the sample wiki: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0",
        url="https://openmoji.org",
    ),
    Credit(text="Base model: trained on Noto Emoji (Apache-2.0), Twemoji (CC BY 4.0) and Fluent Emoji (MIT)"),
)


def gallery_files(
    settings: Settings, collected: Collected | None, finetuned: Finetuned, showcased: Showcased, store: Store
) -> dict[str, bytes]:
    """The self-contained page of one run, and its sheet to share if there are pictures, by their names."""
    page = gallery_page(settings, collected, finetuned, showcased, store)
    sheet = share_sheet(page, store)
    return {"index.html": build_gallery(page, store)} | ({"sheet.jpg": sheet} if sheet else {})


def gallery_page(
    settings: Settings, collected: Collected | None, finetuned: Finetuned, showcased: Showcased, store: Store
) -> GalleryPage:
    """What the page of one run shows."""
    training, measured = finetuned.training, showcased.measured
    return GalleryPage(
        title=f"{collected.site_name if collected else settings.profile}: a style arriving",
        wiki_name=collected.site_name if collected else settings.profile,
        wiki_url=collected.wiki if collected else settings.scrape.api_url,
        base_model=base_name(settings, training.base_model),
        base_source="@".join(filter(None, (training.base_model, training.base_revision))),
        samples=showcased.samples,
        films=showcased.animations,
        straight=straight_of(showcased.between),
        denoising=showcased.denoising,
        denoising_prompt=settings.sample.filmed_prompt,
        frame_ms=settings.animate.frame_ms,
        hold_last_ms=settings.animate.hold_last_ms,
        losses=training.losses,
        recommended_epoch=measured.recommendation.epoch if measured else None,
        measured=measured_of(measured) if measured else None,
        nearest=nearest_of(measured) if measured else (),
        images_trained=training.images_trained,
        dataset=drawings(collected, store),
        dataset_rows=collected.dataset.rows if collected else 0,
        rejects=collected.rejects if collected else (),
        cost=cost(settings, collected, finetuned, showcased),
        settings_json=json.dumps(settings.model_dump(mode="json"), indent=1, ensure_ascii=False),
        credits=SAMPLE_CREDITS if not settings.scrape.api_url else (Credit(text=settings.scrape.rights_basis),),
    )


def base_name(settings: Settings, model: str) -> str:
    """A base model in words for a person: a folder says where it is and not what."""
    if not settings.scrape.api_url and model == settings.finetune.base_model:
        return "the tiny Stable Diffusion that comes with wikistyle"
    if Path(model).is_absolute() or Path(model).exists():
        return f"a Stable Diffusion model of their own ({Path(model).name})"
    return model


def drawings(collected: Collected | None, store: Store) -> tuple[WikiPicture, ...]:
    """Drawings of the dataset from evenly through it, with captions and credits; their JPEGs are put into the store."""
    if collected is None:
        return ()
    chosen = set(evenly(range(collected.dataset.rows), DRAWINGS_SHOWN))
    return tuple(
        WikiPicture(
            key=store.put(row["image"]),
            title=row["title"],
            uploader=row["uploader"],
            license=row["license"],
            page_url=row["page_url"],
            caption=row["text"],
        )
        for i, row in enumerate(load_rows(collected.dataset, store))
        if i in chosen
    )


def cost(settings: Settings, collected: Collected | None, finetuned: Finetuned, showcased: Showcased) -> Cost:
    """Time by stage; the machine where all ran on this one, and its memory if training, which takes most, ran now."""
    stages = tuple(
        StageRow(
            stage=s.stage, came_in=s.items_in, out=s.items_out, rejected=s.rejected,
            ran=s.ran, cached=s.cached, seconds=s.seconds,
        )
        for s in (*(collected.stages if collected else ()), *finetuned.stages, *showcased.stages)
    )  # fmt: skip
    if settings.training_on != "here":
        return Cost(stages=stages)
    trained = any(s.ran for s in finetuned.stages)
    return Cost(stages=stages, peak_memory=_peak_memory() if trained else None, hardware=_hardware())


def _peak_memory() -> int:
    """Bytes of the largest process of this run so far, this one or one that it started and that has ended."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _hardware() -> str:
    import torch

    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{torch.cuda.get_device_name()} and {cores}" if torch.cuda.is_available() else cores
