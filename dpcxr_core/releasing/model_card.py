"""The model card of a released run: what it is for, what it learnt from, what it promises, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from dpcxr_core.config import FINDINGS, RunConfig
from dpcxr_core.data.manifests import manifest
from dpcxr_core.evaluation.comparing.grouped import MACRO
from dpcxr_core.releasing.card_tables import by_finding, by_group, by_test_set, gaps, markdown
from dpcxr_core.training.record import RunRecord, without_folder


@dataclass(frozen=True, eq=False)
class CardFacts:
    """All that a card is written from.

    Attributes:
        record: Of the run, with a certificate that was checked.
        description: ``ImageStore.description`` of the images trained on.
        source: What the manifest of their data set states; None for a hospital's own.
        metrics: As ``collecting.shareable_metrics``, of this run.
        thresholds: Decision threshold of each finding, chosen on validation images; may be empty.
        input_transform: How pixels become input of the weights.
        checksums: SHA-256 of each file beside the card.
    """

    record: RunRecord
    description: Mapping[str, Any]
    source: Mapping[str, Any] | None
    metrics: pd.DataFrame
    thresholds: Mapping[str, float]
    input_transform: Mapping[str, Any]
    checksums: Mapping[str, str]


def model_card(facts: CardFacts) -> str:
    """The card as Markdown, with the header that the Hugging Face hub reads."""
    config = facts.record.config
    title = f"{_architecture(config)} trained on {_named(facts)} with differential privacy"
    parts = {
        "Intended use": _INTENDED_USE,
        "How to use it": _use(facts),
        "What it was trained on": _data(facts),
        "What it promises": _privacy(facts),
        "What it scored": _results(facts),
        "Limits": _limits(facts),
        "How it was made": _making(facts),
        "Checksums": markdown(pd.DataFrame(list(facts.checksums.items()), columns=["file", "SHA-256"])),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in parts.items())
    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n# {title}\n\n{body}\n"


_INTENDED_USE = """Research on training with differential privacy: comparison, teaching, and as a start for training.

It is not a medical device. Do not use it to diagnose, to sort worklists, or for any decision about a patient. Do not
use it on anything but frontal chest radiographs."""


def _header(facts: CardFacts) -> dict[str, Any]:
    record = facts.record
    macro = facts.metrics[
        (facts.metrics["metric"] == "auroc")
        & (facts.metrics["finding"] == MACRO)
        & (facts.metrics["group_column"] == "all")
        & facts.metrics["value"].notna()
    ]
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"name": dataset, "type": dataset},
            "metrics": [{"type": "roc_auc", "name": "macro AUROC", "value": float(value)}],
        }
        for dataset, value in zip(macro["dataset"], macro["value"], strict=True)
    ]
    return {
        "license": "other",
        "license_name": "terms-of-images-and-initialisation",
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["chest-x-ray", "radiology", "differential-privacy", "dpcxr"],
        "model-index": [{"name": record.run_id, "results": results}],
    }


def _use(facts: CardFacts) -> str:
    size, stated = facts.description["size"], facts.input_transform
    scaled = (
        "each image minus its mean, over its standard deviation plus 8 grey levels"
        if stated["mode"] == "per_image"
        else f"pixels over 255, minus {_numbers(stated['mean'])}, over {_numbers(stated['std'])}, a number a channel"
    )
    return f"""Input: grey images of {size} x {size} pixels, 0 to 255, in {stated["in_chans"]} equal channels; {scaled}.
`weights.json` says the same to the package. Output: one logit each of {", ".join(map(_words, FINDINGS))}.

```python
from pathlib import Path

from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import predict

name = f"{_architecture(facts.record.config)}.file:{{Path('weights.safetensors').resolve()}}"
start = build_initialisation(name, weights_dir=None, seed=0, head="kept", image_size={size})
scores = predict(start.model, images, start.input_transform)  # ({len(FINDINGS)} an image) of (n, {size}, {size}) uint8
```"""


def _data(facts: CardFacts) -> str:
    source, description, config = facts.source, facts.description, facts.record.config
    stated = (
        [
            f"- **Images**: {source['title']}, {source['publisher']}, {source['url']}",
            f"- **Terms**: {_line(source['licence'])}",
            f"- **Reference labels**: {_line(source['reference_labels'])}",
            f"- **Cite**: {_line(source['cite'])}",
        ]
        if source is not None
        else ["- **Images**: a hospital's own, which only the hospital can describe. **Terms**: ask the hospital."]
    )
    share = "" if config.train_fraction == 1 else f", a share of {config.train_fraction:g} of its training patients"
    weights = manifest("weights.yaml")["weights"].get(config.init_name, {})
    start = [f"- **Initialisation**: {facts.record.init_label} ({_tag(config)}); its images are not protected"]
    start += [f"- **Terms of the initialisation**: {weights['licence']}. {weights['citation']}"] if weights else []
    prepared = (
        f"- **Prepared**: recipe {description['recipe'].get('name', description['recipe_hash'])}, {description['size']}"
    )
    return "\n".join([*stated, f"{prepared} pixels; data set `{config.dataset}`{share}", *start])


def _privacy(facts: CardFacts) -> str:
    c = facts.record.certificate
    assert c is not None
    unit = f"--privacy-unit patient --max-images-per-patient {c['max_images_per_patient']}"
    return f"""{facts.record.privacy_statement}

`certificate.json` holds every number behind this. The package computes epsilon anew from them:

```
dpcxr calibrate --solve epsilon --noise-multiplier {c["noise_multiplier"]} --steps {c["n_steps"]} \\
  --expected-batch-size {c["expected_batch_size"]} --n-units {c["n_units"]} --delta {c["delta"]} \\
  --max-grad-norm {c["max_grad_norm"]} --clipping {c["clipping"]}{f" {unit}" if c["privacy_unit"] == "patient" else ""}
```

The numbers below come from validation and test images, without noise. They are not covered; counts below 10, and what
tells them, are withheld."""


def _results(facts: CardFacts) -> str:
    metrics, home = facts.metrics, facts.record.config.dataset
    chosen = ", ".join(f"{_words(name)} {value:.3f}" for name, value in facts.thresholds.items())
    rates = (
        f"TPR and FPR are at these decision thresholds, chosen on validation images: {chosen}."
        if chosen
        else "There were no validation images to choose decision thresholds on, so there is no TPR and no FPR."
    )
    return f"""Macro is the mean over findings. Intervals are 95%, by resampling patients.

{by_test_set(metrics)}

### By finding, on test images of {home}

{by_finding(metrics, home)}

{rates}

### By group, on test images of {home}, macro

Groups are as recorded.

{by_group(metrics, home)}

### Gaps between groups of {home}, macro

A gap of the largest to the smallest group is never negative: compare it with the gap that chance alone makes.

{gaps(metrics, home)}"""


def _limits(facts: CardFacts) -> str:
    lines = [
        "Scores on images of one hospital say little of another; see the other test sets above.",
        "A probability that it gives is not the chance of a finding where findings are rarer or more common.",
        "Reference labels are not the truth: see how they were made, above.",
        "Privacy can cost small groups more; see the groups above.",
        "A gap that was not found is not a gap that is not there.",
        "The guarantee is about training images only, and adds up with every other run on the same images.",
    ]
    if facts.source is not None and "datasets" in facts.source:
        lines.insert(0, "The images were drawn by a program. Nothing about patients follows from this model.")
    return "\n".join(f"- {line}" for line in lines)


def _making(facts: CardFacts) -> str:
    record, config = facts.record, facts.record.config
    how = config.optimisation
    assert how is not None
    values = {
        "run": record.run_id,
        "head": config.head,
        "optimizer": f"{how.optimizer}, learning rate {how.learning_rate:.4g}, {how.schedule}",
        "augmentation": f"{config.augmentation_multiplicity} shifts of at most {config.max_shift} pixels a drawn image",
        "averaged weights": f"decay {config.ema_decay:g}" if config.ema_decay else "no",
        "precision": config.precision,
        "randomness": config.randomness,
        "engine": f"all {len(record.selfcheck)} self-checks passed before training",
        "commit": record.versions.get("commit", "unknown"),
        "versions": ", ".join(f"{name} {value}" for name, value in record.versions.items() if name != "commit"),
    }
    return markdown(pd.DataFrame(list(values.items()), columns=["choice", "value"]))


def _named(facts: CardFacts) -> str:
    return facts.source["title"] if facts.source is not None else facts.record.config.dataset


def _architecture(config: RunConfig) -> str:
    return config.init_name.partition(".")[0]


def _tag(config: RunConfig) -> str:
    return f"`{without_folder(config.init_name).partition('.')[2].replace('file:', 'file ', 1)}`"


def _numbers(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _line(text: str) -> str:
    return " ".join(str(text).split())
