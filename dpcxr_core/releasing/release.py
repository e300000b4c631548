"""A released model: a folder with weights, what they expect, the certificate and the model card."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from dpcxr_core.collecting.shareable import shareable_metrics
from dpcxr_core.collecting.tables_folder import record_values
from dpcxr_core.config import UserError
from dpcxr_core.data.describing.origins import facts_of_store
from dpcxr_core.data.store import file_sha256, open_store
from dpcxr_core.files import whole_folder, write_json
from dpcxr_core.releasing.image_source import images_need_protection
from dpcxr_core.releasing.model_card import CardFacts, model_card
from dpcxr_core.releasing.release_checks import check_releasable, check_trained_on
from dpcxr_core.releasing.weights_record import weights_record_of
from dpcxr_core.study.evaluating import metrics_table, thresholds_of, values_of
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.training.record import read_record
from dpcxr_core.training.weight_files import WEIGHTS_FILE

CARD_FILE = "README.md"
_CERTIFIED = ("run_id", "config", "certificate", "privacy_statement", "selfcheck", "versions")


def release_model(run: Path, places: StudyPlaces, out: Path) -> Path:
    """``out``, now holding the weights of a private run and what has to be known of them, once all is checked.

    ``weights.safetensors`` and ``weights.json`` are an initialisation (``file:``) as they lie there;
    ``certificate.json`` is the record less times and what it counted; ``README.md`` is the model card. Scores of
    single images, and the diagnostics of training, stay behind.

    Args:
        run: Folder of the run record.
        places: Where the run's images are.
        out: The folder to make.

    Raises:
        UserError: ``out`` exists, or as ``check_trained_on`` and ``check_releasable``.
        AccountantsDisagreeError: As ``certify``.
    """
    if out.exists():
        raise UserError(f"--out {out} exists already; name a folder that does not, or delete it")
    record = read_record(run)
    store = open_store(places.store(record.config.dataset))
    check_trained_on(record, store.description)
    source = facts_of_store(store)
    check_releasable(run, record, images_need_protection=images_need_protection(source))
    weights_record = asdict(weights_record_of(record, places))
    values = record_values(record)
    with whole_folder(out, CARD_FILE) as folder:
        shutil.copyfile(run / WEIGHTS_FILE, folder / WEIGHTS_FILE)
        write_json(folder / "weights.json", weights_record)
        write_json(folder / "certificate.json", {name: values[name] for name in _CERTIFIED})
        facts = CardFacts(
            record=record,
            description=store.description,
            source=source,
            metrics=shareable_metrics(metrics_table([run], places)),
            thresholds=values_of(thresholds_of(run, places)),
            input_transform=weights_record["input_transform"],
            checksums={path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        )
        (folder / CARD_FILE).write_text(model_card(facts), encoding="utf-8")
    return out
