"""How the stand-ins of a study are pretrained: a choice, read by whoever plans and by whoever pretrains."""

from __future__ import annotations

from dataclasses import dataclass

from dpcxr_core.config import UserError

DOMAIN_TAG = "standin_domain"
STANDIN_TAGS = ("standin_supervised", "standin_selfsupervised", DOMAIN_TAG)


@dataclass(frozen=True, kw_only=True)
class StartingPoints:
    """How the stand-ins of a study are pretrained.

    Attributes:
        architecture: The network that is pretrained.
        tags: Which stand-ins, of ``STANDIN_TAGS``.
        natural_images: File of natural images for the two non-domain stand-ins; empty for generated scenes.
        n_scenes: Generated scenes, when there are no natural images.
        nondomain_steps: Updates of the non-domain supervised stand-in.
        selfsupervised_steps: Updates of the non-domain self-supervised stand-in.
        domain_steps: Updates of the domain stand-in.
        further: Names of further initialisations to compare, such as weights of timm or in a file.
        seed: Seeds scenes, first weights and batches.
    """

    architecture: str = "convnext_mini"
    tags: tuple[str, ...] = STANDIN_TAGS
    natural_images: str = ""
    n_scenes: int = 5000
    nondomain_steps: int = 500
    selfsupervised_steps: int = 250
    domain_steps: int = 340
    further: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [tag for tag in self.tags if tag not in STANDIN_TAGS]
        if unknown:
            raise UserError(f"no stand-in has the tags {unknown}; known are {', '.join(STANDIN_TAGS)}")
        for name in ("n_scenes", "nondomain_steps", "selfsupervised_steps", "domain_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1; got {getattr(self, name)}")
