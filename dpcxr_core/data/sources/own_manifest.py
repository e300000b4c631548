"""A hospital's own manifest: a short YAML file, checked, with all that it leaves out filled in."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dpcxr_core.config import FINDINGS, SPLITS, UserError
from dpcxr_core.data.manifests import names_of_our_sets, with_known_keys
from dpcxr_core.data.policies import CODE, policies_of
from dpcxr_core.data.sources.own_stated import (
    coding_of,
    date_format_of,
    encoding_of,
    flag_of,
    list_of,
    one_of,
    picture_folders,
    refuse_beside,
    terms_in,
    text_of,
)
from dpcxr_core.data.sources.own_values import RAW

ROWS_FROM = ("table", "dicom", "files")
KEYS_OF_PICTURES = ("file", "SOPInstanceUID", "AccessionNumber", "StudyInstanceUID")
NOT_RECORDED = "none"
DICOM_SIDE_VIEWS = ["LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL", "LAT"]
_PICTURE_ENDINGS = [".png", ".jpg", ".jpeg", ".dcm", ".dicom"]
_COLUMNS = ("image", "folder", "patient", "study", "sex", "age", "birth_date", "study_date", "view", "split")
_DESCRIBED = ("title", "publisher", "url", "version", "licence", "cite", "reference_labels", "access")
_LABEL_VALUES = ("positive", "negative", "uncertain", "not_mentioned", "missing")
_KEYS: dict[str, tuple[str, ...]] = {
    "": (
        *("name", *_DESCRIBED, "source", "pictures_may_be_shown", "rows_from", "table", "pictures", "picture_endings"),
        *("columns", "patient", "rows_without_patient", "keep", "sex", "view", "keep_unknown_view", "age", "split"),
        *("labels", "policies", "default_policy", "default_split"),
    ),
    "table": ("file", "separator", "encoding", "key", "key_is"),
    "columns": _COLUMNS,
    "sex": ("F", "M", "missing"),
    "view": ("PA", "AP", "other", "missing"),
    "split": (*SPLITS, "missing"),
    "age": ("unit", "values", "missing", "date_format"),
    "labels": ("column", "separator", "terms", "uncertain_terms", "folders", "not_used", "not_mentioned")
    + ("columns", "values"),
    "labels.values": _LABEL_VALUES,
    **{f"labels.{name}": FINDINGS for name in ("terms", "uncertain_terms", "folders", "columns")},
}
_SEXES = {"F": ["F", "f", "Female", "female", "FEMALE"], "M": ["M", "m", "Male", "male", "MALE"]}
_VIEWS = {"PA": ["PA"], "AP": ["AP"]}
_CERTAIN = {"positive": 1, "negative": 0}
_ALL_ELSE_ZERO = {"values": {**_CERTAIN, "uncertain": 0, "not mentioned": 0}}
_POLICIES = {
    "as_published": _ALL_ELSE_ZERO,  # what is not positive is 0, as in the loaders of the study's authors
    "u_zero": _ALL_ELSE_ZERO,
    "u_one": {"values": {**_CERTAIN, "uncertain": 1, "not mentioned": 0}},
    "u_ignore": {
        "values": {**_CERTAIN, "uncertain": "missing", "not mentioned": "missing"},
        "findings": {"no_finding": {"not mentioned": 0}},
    },
}
_CODES = {
    "positive": "the hospital's own term or value for a finding that is there",
    "negative": "its value for a finding that is not there, or, where the manifest says so, a term that is absent",
    "uncertain": "its term or value for a finding that is suspected",
    "not mentioned": "no term for the finding among the terms of the image",
}


class _Texts(yaml.BaseLoader):
    """Reads every value as the text that was written, so that neither 1.0 nor no nor 2024-01-31 changes its form."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise UserError(f"the manifest states {', '.join(twice)} twice{node.start_mark}. Keep one.")
        return super().construct_mapping(node, deep)


def own_facts(path: Path) -> dict[str, Any]:
    """What a hospital's own manifest states, under the keys of the sidecars in ``data_manifests`` where it has them.

    The keys are explained in ``data_manifests/own_example.yaml``. No sidecar has ``dataset`` (its name), ``source``
    (the folder it names, or "") and ``mapping``, which ``read_own`` goes by: files, columns, terms and codings.
    Without policies of its own, the manifest has the four of every set; "u_zero" is the default: an uncertain
    finding counts as absent, as does one that is not mentioned.

    Raises:
        UserError: The file is missing or not YAML, has a key that is not known, or lacks one that is needed.
    """
    if not path.is_file():
        raise UserError(f"no manifest {path}. Copy data_manifests/own_example.yaml and fill it in.")
    try:
        return facts_of_text(path.read_text(encoding="utf-8-sig"), path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8: {error}. Save it as UTF-8.") from None


def own_table_file(facts: dict[str, Any], source_dir: str) -> Path | None:
    """The table of a hospital's export: its path below ``source_dir``, or else the folder that its manifest names.

    None where there is no table, as in an archive whose headers or folders tell all.
    """
    file = facts["mapping"]["table"].get("file")
    return Path(source_dir or facts["source"]) / file if file else None


def facts_of_text(text: str, path: Path) -> dict[str, Any]:
    """``own_facts`` of a manifest whose text is given; ``path`` is where it lies, and what errors name."""
    try:
        _refuse_nul(text)
        stated = yaml.load(text, Loader=_Texts)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(stated, dict):
        raise UserError(f"{path} must hold 'key: value' lines; start from data_manifests/own_example.yaml")
    try:
        _check_keys(stated)
        return _facts(stated, path.parent)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from None


def _refuse_nul(text: str) -> None:
    for token in yaml.scan(text):
        if isinstance(token, yaml.ScalarToken) and "\0" in token.value:
            raise UserError(f"line {token.start_mark.line + 1}: {token.value!r} holds the character NUL. Take it out.")


def _check_keys(stated: Mapping[str, Any]) -> None:
    for where, known in _KEYS.items():
        here: Any = stated
        for part in where.split(".") if where else ():
            here = here.get(part) or {}
        with_known_keys(where, here, known)


def _facts(stated: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    mapping = _mapping(stated)
    described = {key: text_of(stated, key, "not stated") for key in _DESCRIBED}
    source = text_of(stated, "source", "")
    has_split = bool(mapping["columns"].get("split"))
    facts = {
        "dataset": mapping["name"],
        **described,
        "title": text_of(stated, "title", mapping["name"]),
        "access": list_of("access", stated.get("access", "by leave of the hospital that it belongs to")),
        "source": str((folder / source).resolve()) if source else "",
        "patient_ids": "none" if mapping["patient"] == NOT_RECORDED else "recorded",
        "pictures_may_be_shown": flag_of(stated, "pictures_may_be_shown", default=False),
        "codes": _CODES,
        "policies": _policies(stated),
        "default_policy": text_of(stated, "default_policy", "u_zero"),
        "keep_unknown_view": flag_of(stated, "keep_unknown_view", default=not _records_view(mapping)),
        "default_split": text_of(stated, "default_split", "official" if has_split else "patients"),
        "mapping": mapping,
    }
    policies_of(facts)  # here, so that a slip in a policy is told before any table is read
    one_of("default_policy", facts["default_policy"], facts["policies"])
    one_of("default_split", facts["default_split"], ("official", "patients") if has_split else ("patients",))
    return facts


def _mapping(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What ``read_own`` goes by: every key there, every coding from the hospital's values to ours."""
    name = text_of(stated, "name", "")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise UserError(f"name must be up to 40 of a-z, 0-9, - and _, as it names the store; got {name!r}")
    if name in names_of_our_sets():
        raise UserError(
            f"name {name!r} is that of a published data set, whose facts would be told of yours. Change it."
        )
    rows_from = one_of("rows_from", text_of(stated, "rows_from", "table"), ROWS_FROM)
    columns = {ours: text_of(stated["columns"], ours, "") for ours in stated.get("columns") or {}}
    blank = [ours for ours, theirs in columns.items() if not theirs]
    if blank:
        raise UserError(f"columns.{blank[0]} names no column; write its name, or leave the line out")
    if ("birth_date" in columns) != ("study_date" in columns):
        raise UserError("columns.birth_date and columns.study_date give the age together. Name both, or neither.")
    kept = stated.get("keep") or {}
    _check_kept(kept)
    side_views = {"other": DICOM_SIDE_VIEWS} if rows_from == "dicom" else {}
    mapping: dict[str, Any] = {
        "name": name,
        "rows_from": rows_from,
        "table": _table(stated, rows_from, columns),
        "pictures": picture_folders(stated.get("pictures", ["."])),
        "picture_endings": [
            end.lower()
            for end in list_of(
                "picture_endings", stated.get("picture_endings", [""] if rows_from == "dicom" else _PICTURE_ENDINGS)
            )
        ],
        "columns": columns,
        "keep": dict(kept),
        "patient": _patient(stated, rows_from, columns),
        "rows_without_patient": text_of(stated, "rows_without_patient", "refuse"),
        "sex": coding_of("sex", stated.get("sex") or {**_SEXES, "missing": ["O"] if rows_from == "dicom" else []}),
        "view": coding_of("view", stated.get("view") or {**_VIEWS, **side_views}),
        "split": coding_of("split", stated.get("split") or {split: [split] for split in SPLITS}),
        "age": _age(stated.get("age") or {}, rows_from),
        "labels": _labels(stated.get("labels") or {}),
    }
    one_of("rows_without_patient", mapping["rows_without_patient"], ("refuse", "leave_out"))
    if rows_from != "table" and not mapping["table"].get("file") and mapping["labels"]["kind"] != "folders":
        raise UserError(
            f"labels.{mapping['labels']['kind']} are looked up in a table, and none is named. Name table.file and "
            f"table.key beside 'rows_from: {rows_from}', or say labels.folders."
        )
    return mapping


def _check_kept(kept: Any) -> None:
    if not isinstance(kept, dict):
        raise UserError(f"keep maps a name of yours to a column, such as 'insurance: Kostentraeger'; got {kept!r}")
    for ours, theirs in kept.items():
        if not isinstance(theirs, str) or not theirs:
            raise UserError(f"keep.{ours} must name one column; got {theirs!r}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", ours) or ours in (*_COLUMNS, *FINDINGS) or ours.startswith(_OURS):
            raise UserError(f"keep: {ours!r} must be lower-case letters, digits and _, and no name that is in use")


_OURS = (CODE, RAW, "label_", "dataset", "image_id", "patient_id", "study_id", "age_years", "path")


def _table(stated: Mapping[str, Any], rows_from: str, columns: Mapping[str, str]) -> dict[str, str]:
    table = {key: text_of(stated["table"], key, "") for key in stated.get("table") or {}}
    if rows_from == "table":
        if not table.get("file"):
            raise UserError("table.file must name the table; with no table at all, say 'rows_from: dicom' or 'files'")
        if ("image" in columns) == ("folder" in columns):
            raise UserError(
                "columns.image must name the column with the picture's file name, or columns.folder, in its place, "
                "that with the folder whose pictures a row is about"
            )
        refuse_beside(
            table, ("key", "key_is"), "table", "'rows_from: table'; columns.image or columns.folder is the key there"
        )
    elif table:
        if not table.get("file") or not table.get("key"):
            raise UserError("table needs file, and key: the column that says which picture a row is about")
        allowed = KEYS_OF_PICTURES if rows_from == "dicom" else KEYS_OF_PICTURES[:1]
        one_of("table.key_is", table.setdefault("key_is", "file"), allowed)
    if rows_from != "table":
        of_rows = tuple(ours for ours in _COLUMNS if ours != "split")
        refuse_beside(
            columns, of_rows, "columns", f"'rows_from: {rows_from}'; only labels, split and keep come from a table"
        )
    if rows_from != "table" and not table and (columns or stated.get("keep")):
        raise UserError("columns and keep need a table; name it in table.file")
    separator = table.setdefault("separator", ",").replace("\\t", "\t").replace("tab", "\t")
    if len(separator) != 1 or separator in '"\r\n':
        raise UserError(
            f"table.separator must be one character (no quotation mark or line end), or tab; got {separator!r}"
        )
    return {**table, "separator": separator, "encoding": encoding_of(table, "utf-8-sig")}


def _patient(stated: Mapping[str, Any], rows_from: str, columns: Mapping[str, str]) -> str:
    """Where patients are known from: "recorded", "none", or a regular expression for a picture's name or path."""
    given = text_of(stated, "patient", "")
    if "patient" in columns and given:
        raise UserError("state the patient once: columns.patient, or patient")
    if "patient" in columns or (rows_from == "dicom" and not given):
        return "recorded"
    if not given:
        raise UserError(
            "who the patient is must be said, as no patient may be in two splits: columns.patient, or a regular "
            r"expression for the file name, or for the path if it has a /, such as patient: '^(person\d+)_', or "
            "patient: none if it is not known"
        )
    if given == NOT_RECORDED:
        return given
    try:
        n_groups = re.compile(given).groups
    except re.error as error:
        raise UserError(f"patient: {given!r} is not a regular expression: {error}") from None
    if n_groups != 1:
        raise UserError(f"patient: {given!r} must have one pair of brackets around the patient; it has {n_groups}")
    return given


def _age(stated: Mapping[str, Any], rows_from: str) -> dict[str, Any]:
    unit = one_of("age.unit", text_of(stated, "unit", "years"), ("years", "months", "days"))
    values = stated.get("values") or {}
    if not isinstance(values, dict):
        raise UserError(f"age.values maps texts to an age or to missing, such as {{'1-5': missing}}; got {values!r}")
    wrong = [each for each in values.values() if each != "missing" and not re.fullmatch(r"\d+(\.\d+)?", str(each))]
    if wrong:
        raise UserError(f"age.values: an age is a number of {unit} or missing; got {wrong[0]!r}")
    missing = dict.fromkeys(list_of("age.missing", stated.get("missing", [])), "missing")
    date_format = date_format_of(stated, "%Y%m%d" if rows_from == "dicom" else "%Y-%m-%d")
    return {"unit": unit, "values": {**values, **missing}, "date_format": date_format}


def _labels(stated: Mapping[str, Any]) -> dict[str, Any]:
    """``kind`` is "terms", "folders" or "columns"; ``recorded`` maps each of the five findings to its texts."""
    kinds = [kind for kind in ("terms", "folders", "columns") if stated.get(kind)]
    if len(kinds) != 1:
        raise UserError(f"labels needs one of terms (with column), columns (with values) and folders; got {kinds}")
    kind = kinds[0]
    recorded = _terms(f"labels.{kind}", stated[kind])
    if kind == "columns":
        refuse_beside(
            stated, ("column", "separator", "uncertain_terms", "not_used", "not_mentioned"), "labels", "columns"
        )
        if not stated.get("values"):
            raise UserError(
                "labels.values must say what is positive and negative, such as {positive: [1], negative: [0]}"
            )
        values = {ours.replace("_", " "): theirs for ours, theirs in stated["values"].items()}
        several = [finding for finding, columns in recorded.items() if len(columns) > 1]
        if several:
            raise UserError(f"labels.columns.{several[0]} must name one column; got {recorded[several[0]]}")
        return {"kind": kind, "recorded": recorded, "values": coding_of("labels.values", values), "not_used": []}
    refuse_beside(stated, ("values",), "labels", f"{kind}; it belongs to columns")
    uncertain = _terms("labels.uncertain_terms", stated.get("uncertain_terms") or {})
    not_mentioned = one_of("labels.not_mentioned", text_of(stated, "not_mentioned", "unknown"), ("unknown", "negative"))
    if kind == "folders":
        refuse_beside(stated, ("column", "separator", "uncertain_terms"), "labels", kind)
    elif not stated.get("column"):
        raise UserError("labels.column must name the column of terms")
    for finding in FINDINGS:
        coding_of(f"labels, {finding}", {"terms": recorded[finding], "uncertain_terms": uncertain[finding]})
    others = [term for finding in FINDINGS[:-1] for term in recorded[finding] + uncertain[finding]]
    coding_of("labels", {"no_finding": recorded["no_finding"], "another finding": others})
    return {
        "kind": kind,
        "column": text_of(stated, "column", ""),
        "separator": "/" if kind == "folders" else text_of(stated, "separator", "|"),
        "recorded": recorded,
        "uncertain": uncertain,
        "absent": "negative" if not_mentioned == "negative" else "not mentioned",
        "not_used": list_of("labels.not_used", stated.get("not_used", [])),
    }


def _terms(where: str, stated: Mapping[str, Any]) -> dict[str, list[str]]:
    return {finding: terms_in(f"{where}.{finding}", stated.get(finding, [])) for finding in FINDINGS}


def _policies(stated: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return {"1": 1, "0": 0}.get(value, value) if isinstance(value, str) else value

    own = stated.get("policies") or {}
    if not isinstance(own, dict):
        raise UserError(f"policies must map a name of yours to values, as in own_example.yaml; got {own!r}")
    return {**_POLICIES, **plain(own)}


def _records_view(mapping: Mapping[str, Any]) -> bool:
    return mapping["rows_from"] == "dicom" or "view" in mapping["columns"]
