"""Croissant 1.1 manifests of the data sets, made from their sidecars so that the two cannot disagree.

``python -m dpcxr_core.data.croissant`` rewrites the committed files. A manifest describes files nobody needs to have;
it holds no row, identifier or picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dpcxr_core.config import UserError
from dpcxr_core.data.manifests import MANIFESTS, facts_of

DATASETS = (
    "chestxray14",
    "chexpert",
    "padchest",
    "vindr_cxr",
    "mimic_cxr_jpg",
    "uka_cxr",
    "taix_ray",
    "chestmnist",
    "simulated",
)
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
TYPES = ("Text", "Integer", "Float")  # of schema.org; what a column of an official table may be
# Names of the Data Use Ontology, github.com/EBISPOT/DUO, duo.csv (726b06e). "Non-commercial" is 46: the agreements
# limit what is done, while 18 would also shut out researchers of companies.
USE_CONDITIONS = {
    "DUO_0000004": "no restriction",
    "DUO_0000026": "user specific restriction",
    "DUO_0000028": "institution specific restriction",
    "DUO_0000042": "general research use",
    "DUO_0000046": "non-commercial use only",
}
# A longer suffix stands before the shorter one that it ends with.
_FORMATS: dict[str, str | list[str]] = {
    ".csv.gz": ["application/gzip", "text/csv"],
    ".tar.gz": "application/x-tar",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".zip": "application/zip",
    ".parquet": "application/x-parquet",
    ".npz": "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".dicom": "application/dicom",
    ".dcm": "application/dicom",
}
_CROISSANT_TERMS = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileProperty fileObject "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines recordSet references "
    "regex repeated replace samplingRate sdVersion separator source subField transform unArchive value"
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "duo": "http://purl.obolibrary.org/obo/DUO_",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS.split()},
}


def croissant_of(dataset: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The Croissant 1.1 description of a data set as JSON-LD.

    ``isLiveDataset`` is true where the publisher gives no checksum for some file: Croissant knows no other way to say
    so, and the description says what it means.

    Args:
        dataset: Names the data set in our commands.
        facts: Its sidecar. ``croissant`` holds what only this description needs: ``published`` (null: never),
            ``version``, ``use``, ``pictures``, ``rai``, and, where there are any, ``files``, ``downloads`` and
            ``licence_url``; ``official_columns`` maps a table to its columns and their types.

    Raises:
        UserError: The sidecar lacks a key, or names a type, suffix or use condition that is not known here.

    Source:
        Croissant Format Specification 1.1; Croissant RAI Specification 1.0.
    """
    try:
        own = facts["croissant"]
        files = _file_objects(facts)
        unchecked = [entry["name"] for entry in files if "md5" not in entry and "sha256" not in entry]
        return {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "name": facts["title"],
            "alternateName": dataset,
            "description": _description(facts, unchecked),
            "conformsTo": list(CONFORMS_TO),
            "url": facts["url"],
            "version": str(own["version"]),
            **({} if own["published"] is None else {"datePublished": str(own["published"])}),
            "license": _licence(facts),
            "citeAs": _one_line(facts["cite"]),
            "creator": {"@type": "sc:Organization", "name": facts["publisher"]},
            "publisher": {"@type": "sc:Organization", "name": facts["publisher"]},
            "keywords": ["chest radiograph", "classification", "medical imaging"],
            "isLiveDataset": bool(unchecked),
            "usageInfo": [_use_condition(code) for code in own["use"]],
            **{f"rai:{key}": _trimmed(value) for key, value in own["rai"].items()},
            "distribution": [*files, *_file_sets(own)],
            "recordSet": [*_tables(facts), _label_map(facts)],
        }
    except KeyError as error:
        raise UserError(f"the sidecar of {dataset} has no {error}; its Croissant manifest needs it") from None


def _description(facts: Mapping[str, Any], unchecked: list[str]) -> str:
    sentences = [
        f"{facts['title']}. Images: {facts['images']}. Patients: {facts['patients']}",
        f"Pictures: {facts['pictures']}",
        f"Reference labels: {facts['reference_labels']}",
    ]
    if unchecked:
        sentences.append(
            "isLiveDataset is set because no published checksum is known of: "
            + ", ".join(unchecked)
            + "; it does not mean that the set changes"
        )
    return ". ".join(_one_line(sentence).rstrip(".") for sentence in sentences) + "."


def _licence(facts: Mapping[str, Any]) -> dict[str, str]:
    where = facts["croissant"].get("licence_url", facts["url"])
    return {"@type": "sc:CreativeWork", "name": _one_line(facts["licence"]), "url": where}


def _use_condition(code: str) -> dict[str, str]:
    if code not in USE_CONDITIONS:
        raise UserError(f"unknown use condition {code!r}; known are {', '.join(USE_CONDITIONS)}")
    return {
        "@type": "sc:DefinedTerm",
        "name": USE_CONDITIONS[code],
        "termCode": code,
        "url": f"http://purl.obolibrary.org/obo/{code}",
    }


def _file_objects(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One FileObject an official table, then the archives with a published sum and the files the sidecar adds."""
    own = facts["croissant"]
    named: dict[str, dict[str, str]] = {
        **dict.fromkeys(facts["official_columns"], {}),
        **{name: {"md5": md5} for name, md5 in facts.get("archives_md5", {}).items()},
        **own.get("files", {}),
    }
    return [
        {
            "@type": "cr:FileObject",
            "@id": quote(name),
            "name": name,
            "contentUrl": own["downloads"] + quote(name) if "downloads" in own else name,
            "encodingFormat": _format_of(name),
            **stated,
        }
        for name, stated in named.items()
    ]


def _file_sets(own: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"pictures-{number}",
            "name": f"pictures {number}",
            "encodingFormat": _format_of(pattern),
            "includes": pattern,
        }
        for number, pattern in enumerate(own["pictures"], start=1)
    ]


def _tables(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One RecordSet an official table, with one Field a column."""
    return [
        {
            "@type": "cr:RecordSet",
            "@id": table_id(name),
            "name": table_id(name),
            "field": [_field(name, column, kind) for column, kind in columns.items()],
        }
        for name, columns in facts["official_columns"].items()
    ]


def _field(name: str, column: str, kind: str) -> dict[str, Any]:
    if kind not in TYPES:
        raise UserError(f"column {column!r} of {name} is of type {kind!r}; known are {', '.join(TYPES)}")
    return {
        "@type": "cr:Field",
        "@id": field_id(name, column),
        "name": column,
        "dataType": f"sc:{kind}",
        "source": {"fileObject": {"@id": quote(name)}, "extract": {"column": column}},
    }


def _label_map(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Our label -> the set's own terms, as a RecordSet that carries its records."""
    fields = ("label", "official_term")
    return {
        "@type": "cr:RecordSet",
        "@id": "label_map",
        "name": "label_map",
        "description": "Which of the set's own terms or columns make each label of this project.",
        "field": [
            {"@type": "cr:Field", "@id": f"label_map/{field}", "name": field, "dataType": "sc:Text"} for field in fields
        ],
        "data": [
            {"label_map/label": label, "label_map/official_term": str(term)}
            for label, terms in facts["labels"].items()
            for term in ([terms] if isinstance(terms, str) else terms)
        ],
    }


def table_id(name: str) -> str:
    """The ``@id`` of the record set of an official table."""
    return quote(Path(name).name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet"), safe="")


def field_id(name: str, column: str) -> str:
    """The ``@id`` of a column of an official table."""
    return f"{table_id(name)}/{quote(column, safe='')}"


def _format_of(name: str) -> str | list[str]:
    for suffix, formats in _FORMATS.items():
        if name.endswith(suffix):
            return formats
    raise UserError(f"no format is known for {name!r}; known suffixes are {', '.join(_FORMATS)}")


def _trimmed(value: str | list[str]) -> str | list[str]:
    return _one_line(value) if isinstance(value, str) else [_one_line(entry) for entry in value]


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


def text_of(dataset: str) -> str:
    """The committed text of a data set's manifest, made from its sidecar."""
    return json.dumps(croissant_of(dataset, facts_of(dataset)), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Rewrite ``data_manifests/*.croissant.json``."""
    for dataset, text in {dataset: text_of(dataset) for dataset in DATASETS}.items():
        (MANIFESTS / f"{dataset}.croissant.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
