"""What a run knows, put into the gallery page's terms."""

import json

from flows.common.report import Collected, Finetuned, Showcased
from flows.common.settings import Settings
from tasks.animate.gallery import build_gallery
from tasks.animate.page import Credit, GalleryPage, StageRow
from tasks.common.store import Store

SAMPLE_CREDITS = (
    Credit(
        text="Drawings of the sample wiki: OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0",
        url="https://openmoji.org",
    ),
    Credit(text="Base model: trained on Noto Emoji (Apache-2.0), Twemoji (CC BY 4.0) and Fluent Emoji (MIT)"),
)


def gallery_html(
    settings: Settings, collected: Collected | None, finetuned: Finetuned, showcased: Showcased, store: Store
) -> str:
    """The self-contained page of one run."""
    stages = [*(collected.stages if collected else ()), *finetuned.stages, *showcased.stages]
    page = GalleryPage(
        title=f"{collected.site_name if collected else settings.profile}: a style arriving",
        wiki_name=collected.site_name if collected else settings.profile,
        wiki_url=collected.wiki if collected else settings.scrape.api_url,
        base_model=finetuned.training.base_model,
        dial=tuple(film for film in showcased.animations if film.kind == "dial"),
        drift=tuple(film for film in showcased.animations if film.kind == "training"),
        denoising=next((film for film in showcased.animations if film.kind == "denoising"), None),
        samples=showcased.samples,
        losses=finetuned.training.losses,
        recommended_epoch=showcased.measured.recommendation.epoch if showcased.measured else None,
        images_trained=finetuned.training.images_trained,
        stages=tuple(
            StageRow(
                stage=s.stage, came_in=s.items_in, out=s.items_out, rejected=s.rejected,
                ran=s.ran, cached=s.cached, seconds=s.seconds,
            )
            for s in stages
        ),
        rejects=collected.rejects if collected else (),
        settings_json=json.dumps(settings.model_dump(mode="json"), indent=1, ensure_ascii=False),
        credits=SAMPLE_CREDITS if not settings.scrape.api_url else (Credit(text=settings.scrape.rights_basis),),
    )  # fmt: skip
    return build_gallery(page, store).decode()
