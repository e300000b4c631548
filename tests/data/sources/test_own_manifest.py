import textwrap
from pathlib import Path

import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import MANIFESTS, facts_of
from dpcxr_core.data.policies import POLICY_NAMES, policies_of
from dpcxr_core.data.sources import own_manifest
from dpcxr_core.data.sources.own_manifest import facts_of_text, own_facts

SHORTEST = """
name: mine
table: {file: images.csv}
columns: {image: file, patient: who}
labels: {column: terms, terms: {pneumonia: [yes, 1.0]}}
"""
SIDECAR = (
    *("title", "publisher", "url", "licence", "cite", "access", "reference_labels", "pictures_may_be_shown"),
    *("codes", "default_policy", "policies", "keep_unknown_view", "default_split"),
)
ONE_A_COLUMN = "labels: {columns: {pneumonia: P}, values: {positive: [1], negative: [0], not_mentioned: ['']}}"


def _facts(text, folder=Path("/nowhere")):
    return facts_of_text(textwrap.dedent(text), folder / "my.yml")


def _instead(old, new):
    assert old in SHORTEST
    return SHORTEST.replace(old, new)


def test_shortest_manifest_is_filled_in_with_what_every_sidecar_states():
    facts = _facts(SHORTEST)
    assert set(SIDECAR) <= set(facts) & set(facts_of("chestxray14"))
    assert set(facts["mapping"]["labels"]["recorded"]) == set(FINDINGS)
    assert tuple(policies_of(facts)) == POLICY_NAMES
    assert (facts["default_policy"], facts["default_split"], facts["patient_ids"]) == ("u_zero", "patients", "recorded")
    assert facts["keep_unknown_view"] is True
    assert facts["pictures_may_be_shown"] is False
    assert facts["mapping"]["table"] == {"file": "images.csv", "separator": ",", "encoding": "utf-8-sig"}


def test_values_are_the_texts_that_were_written():
    assert _facts(SHORTEST)["mapping"]["labels"]["recorded"]["pneumonia"] == ["yes", "1.0"]  # neither True nor "1"


def test_every_code_has_a_value_under_every_policy():
    facts = _facts(SHORTEST)
    policies = policies_of(facts)
    for policy in policies.values():
        assert all(set(values) == set(facts["codes"]) for values in policy.values.values())
    ignored = policies["u_ignore"].values
    assert ignored["no_finding"]["not mentioned"] == 0
    assert ignored["pneumonia"]["not mentioned"] != ignored["pneumonia"]["not mentioned"]  # NaN
    assert [policies[name].values["pneumonia"]["uncertain"] for name in POLICY_NAMES[:3]] == [0, 0, 1]


def test_a_recorded_view_or_split_changes_the_defaults():
    facts = _facts(_instead("patient: who", "patient: who, view: v, split: fold"))
    assert facts["keep_unknown_view"] is False
    assert facts["default_split"] == "official"


def test_policies_of_ones_own_stand_beside_the_four():
    strict = "policies: {strict: {values: {positive: 1, negative: 0, uncertain: missing, not mentioned: 0}}}"
    facts = _facts(SHORTEST + strict + "\ndefault_policy: strict\n")
    assert tuple(policies_of(facts)) == (*POLICY_NAMES, "strict")
    assert facts["default_policy"] == "strict"


def test_source_is_seen_from_the_manifest(tmp_path):
    assert _facts(SHORTEST + "source: ../export", tmp_path / "a")["source"] == str(tmp_path / "export")
    assert _facts(SHORTEST)["source"] == ""


def test_values_of_columns_are_inverted():
    labels = _facts(SHORTEST.rsplit("labels", 1)[0] + ONE_A_COLUMN)["mapping"]["labels"]
    assert labels["values"] == {"1": "positive", "0": "negative", "": "not mentioned"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHORTEST + "lables: {}", "unknown key 'lables'; did you mean 'labels'"),
        (_instead("patient:", "patinet:"), "unknown key 'columns.patinet'; did you mean 'patient'"),
        (_instead("{pneumonia:", "{pneumnia:"), "unknown key 'labels.terms.pneumnia'; did you mean 'pneumonia'"),
        (SHORTEST + "sex: {W: [w]}", "unknown key 'sex.W'; known are F, M, missing"),
        (SHORTEST + "sex: {F: [w], M: [w]}", "sex: 'w' stands under F and under M"),
        (SHORTEST + "name: other", "states name twice"),
        (_instead("name: mine", "name: My Hospital"), "name must be up to 40 of a-z.*'My Hospital'"),
        (_instead("name: mine", ""), "name must be .*; got ''"),
        (_instead(", patient: who", ""), "who the patient is must be said"),
        (SHORTEST + "patient: none", "state the patient once"),
        (_instead(", patient: who", "") + "patient: '(a'", "'\\(a' is not a regular expression"),
        (_instead(", patient: who", "") + "patient: 'p[0-9]+_'", "one pair of brackets.*it has 0"),
        (_instead("image: file, ", ""), "columns.image must name the column"),
        (_instead("image: file, ", "image: file, folder: study, "), "columns.folder, in its place"),
        (_instead("table: {file: images.csv}", ""), "table.file must name the table"),
        (SHORTEST + "rows_from: csv", "rows_from must be one of table, dicom, files; got 'csv'"),
        (_instead("images.csv", "images.csv, separator: ';;'"), "separator must be one character"),
        (_instead("images.csv", "images.csv, key: a"), "table.key does not go with 'rows_from: table'"),
        (SHORTEST + "rows_from: dicom", "table needs file, and key"),
        (SHORTEST + "rows_from: files\npatient: none", "table needs file, and key"),
        (_instead("images.csv", "a.csv, key: k") + "rows_from: dicom", "columns.image does not go with 'rows_from: di"),
        (_instead("images.csv", "a.csv, key: k, key_is: UID") + "rows_from: dicom", "key_is must be one of file, SOP"),
        (_instead("labels: {", "labels: {folders: {pneumonia: [P]}, "), "labels needs one of terms.*got"),
        (_instead("column: terms, ", ""), "labels.column must name the column of terms"),
        (
            _instead("column: terms, ", "column: terms, not_mentioned: no, "),
            "not_mentioned must be one of unknown, neg",
        ),
        (
            _instead("{pneumonia: [yes, 1.0]}", "{pneumonia: [a], no_finding: [a]}"),
            "'a' stands under no_finding and under another",
        ),
        (
            _instead("{pneumonia: [yes, 1.0]}", "{pneumonia: [a]}, uncertain_terms: {pneumonia: [a]}"),
            "labels, pneumonia: 'a' stands under terms and under uncertain_terms",
        ),
        (_instead("{pneumonia: [yes, 1.0]}", "{pneumonia: [a]}, values: {positive: [a]}"), "labels.values does not go"),
        (SHORTEST.rsplit("labels", 1)[0] + "labels: {columns: {pneumonia: P}}", "labels.values must say what is posit"),
        (SHORTEST + "age: {values: {young: about 5}}", "a number of years or missing; got 'about 5'"),
        (SHORTEST + "age: {unit: decades}", "age.unit must be one of years, months, days"),
        (SHORTEST + "keep: [insurance]", "keep maps a name of yours to a column"),
        (SHORTEST + "keep: {path: x}", "'path' must be .* no name that is in use"),
        (SHORTEST + "keep: {code_pneumonia: x}", "'code_pneumonia' must be .* no name that is in use"),
        (SHORTEST + "pictures: [../other]", "pictures must be folders inside the source; got '../other'"),
        (SHORTEST + "default_policy: u_two", "default_policy must be one of as_published, u_zero"),
        (SHORTEST + "default_split: official", "default_split must be one of patients; got 'official'"),
        (SHORTEST + "keep_unknown_view: maybe", "keep_unknown_view must be one of true, false; got 'maybe'"),
        (SHORTEST + "title: [a, b]", "title must be one text"),
        (_instead("name: mine", "name: chestxray14"), "name 'chestxray14' is that of a published data set"),
        (
            _instead("patient: who", "patient: who, birth_date: b"),
            "birth_date and columns.study_date give the age",
        ),
        (_instead("patient: who", "patient: who, study_date: s"), "Name both, or neither"),
        ("name: a\nrows_from: dicom\n" + ONE_A_COLUMN, "labels.columns are looked up in a table, and none is named"),
        (
            "name: a\nrows_from: files\npatient: none\nlabels: {column: c, terms: {pneumonia: [p]}}",
            "labels.terms are looked up in a table, and none is named. Name table.file and table.key",
        ),
        (SHORTEST + "policies: [strict]", r"policies must map a name of yours to values.*got \['strict'\]"),
        (
            SHORTEST + "policies: {strict: {vals: {positive: 1}}}",
            "unknown key 'policies.strict.vals'; did you mean",
        ),
        (SHORTEST + "policies: {strict: {values: {postive: 1}}}", "strict.values.postive'; did you mean 'positive'"),
        (SHORTEST + "policies: {strict: }", "policies.strict must hold 'key: value' lines with values.*got ''"),
        (SHORTEST + "keep: {payer: [a]}", r"keep.payer must name one column; got \['a'\]"),
        (SHORTEST + "keep: {payer: }", "keep.payer must name one column; got ''"),
        (SHORTEST + "pictures: ['']", "pictures holds a blank text"),
        (SHORTEST + "pictures: ['a**']", r"pictures: \*\* stands for whole folders.*got 'a\*\*'"),
        (SHORTEST + "age: {date_format: '%Q'}", "age.date_format must be such as %d.%m.%Y .*got '%Q'"),
        (_instead("images.csv", 'images.csv, encoding: "a\\0"'), r"line 3: 'a\\x00' holds the character NUL"),
        (_instead("images.csv", '"a\\0.csv"'), "holds the character NUL"),
        (_instead("images.csv", "images.csv, encoding: klingon"), "table.encoding 'klingon' is not known"),
        (_instead("images.csv", "images.csv, separator: '\"'"), "separator must be one character .no quotation mark"),
        (_instead("[yes, 1.0]", ""), "labels.terms.pneumonia holds a blank text"),
        (_instead("[yes, 1.0]", "{a: b}"), "labels.terms.pneumonia must be a text or a list of texts"),
        ("- a\n- b", "must hold 'key: value' lines"),
        ("name: [", "is not YAML"),
        ("", "must hold 'key: value' lines"),
        (SHORTEST + "sex: [F, M]", "sex must hold 'key: value' lines with F, M, missing"),
    ],
)
def test_mistake_is_answered_with_what_is_known(text, message):
    with pytest.raises(UserError, match=message) as caught:
        _facts(text)
    assert "my.yml" in str(caught.value)


def test_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="no manifest .*my.yml. Copy data_manifests/own_example.yaml"):
        own_facts(tmp_path / "my.yml")
    (tmp_path / "my.yml").write_bytes("name: Köln".encode("latin-1"))
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        own_facts(tmp_path / "my.yml")


@pytest.mark.parametrize("name", ["own_example.yaml", "paediatric.yaml"])
def test_committed_manifests_are_valid(name):
    facts = own_facts(MANIFESTS / name)
    assert facts["dataset"]
    assert policies_of(facts)


def test_example_names_every_key():
    text = (MANIFESTS / "own_example.yaml").read_text()
    keys = {key for where, known in own_manifest._KEYS.items() if not where.startswith("labels.") for key in known}
    described = set(own_manifest._DESCRIBED) - {"title", "licence"}
    assert not [key for key in keys - described if f"{key}:" not in text]
