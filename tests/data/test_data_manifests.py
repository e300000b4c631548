"""What must hold of the files in data_manifests: the same keys for every set, and nothing of any patient."""

import json
import math
import re

import pytest
import yaml

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.croissant import DATASETS
from dpcxr_core.data.manifests import MANIFESTS, facts_of, terms_of
from dpcxr_core.data.policies import POLICY_NAMES, policies_of

SETS = tuple(dataset for dataset in DATASETS if dataset != "simulated")  # that one is drawn, not read
REQUIRED_KEYS = {
    "title": str,
    "publisher": str,
    "url": str,
    "licence": str,
    "cite": str,
    "access": list,
    "images": int,
    "patients": (int, str),
    "reference_labels": str,
    "pictures": str,
    "files": dict,
    "columns": dict,
    "labels": dict,
    "codes": dict,
    "default_policy": str,
    "policies": dict,
    "views": dict,
    "keep_unknown_view": bool,
    "default_split": str,
    "bad_files": dict,
    "rules": dict,
    "official_columns": dict,
    "croissant": dict,
}
OTHER_CODES = {"yes", "no"}  # of labels beside the findings, which policies use to leave images out
OPEN_SETS = {"chestxray14", "chestmnist"}
LARGEST_FILE = 48_000  # bytes; a table of images would be larger
LARGEST_SUM = 40  # of file names in one list of bad files
# How the restricted sets write patients, studies and images.
IDENTIFIERS = {
    "CheXpert patient or path": r"patient\d{5}",
    "MIMIC patient, study or path": r"\b[ps]\d{8}\b",
    "MIMIC image": r"\b[0-9a-f]{8}(-[0-9a-f]{8}){4}\b",
    "PadChest image or patient": r"\d{30,}",
    "PadChest picture": r"_[0-9a-z]{6}\.png",
    "ChestX-ray14 picture": r"\b\d{8}_\d{3}\.png",
    "DICOM instance": r"\b\d+(\.\d+){6,}\b",
}
HASH_LIKE = r"\b[0-9a-f]{32}\b"  # an image of VinDr-CXR, or the MD5 sum of an archive


def _files():
    return sorted(path for path in MANIFESTS.iterdir() if path.is_file())


def _identifiers_in(text: str) -> list[str]:
    return [what for what, pattern in IDENTIFIERS.items() if re.search(pattern, text)]


def _numbers_in(value) -> list[int]:
    if isinstance(value, dict):
        return [number for entry in value.values() for number in _numbers_in(entry)]
    if isinstance(value, list):
        return [number for entry in value for number in _numbers_in(entry)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def _few_in(value) -> list[int]:
    return [number for number in _numbers_in(value) if 1 <= number <= 9]


def _strings_in(value) -> list[str]:
    if isinstance(value, dict):
        return [text for key, entry in value.items() for text in [str(key), *_strings_in(entry)]]
    if isinstance(value, list):
        return [text for entry in value for text in _strings_in(entry)]
    return [str(value)]


@pytest.mark.parametrize("dataset", SETS)
def test_sidecar_has_the_keys_of_every_other(dataset):
    facts = facts_of(dataset)
    wrong = {key: type(facts.get(key)) for key, kind in REQUIRED_KEYS.items() if not isinstance(facts.get(key), kind)}
    assert not wrong
    assert facts["url"].startswith("https://")
    assert facts["access"], "how to get it"
    assert all(isinstance(step, str) for step in facts["access"]), "a colon in a step makes it a mapping: quote it"
    assert facts["default_split"] in ("official", "patients")
    assert set(facts["views"].values()) <= {"PA", "AP", "other"}
    assert facts.get("patient_ids", "recorded") in ("recorded", "none", "admissions")


@pytest.mark.parametrize("dataset", SETS)
def test_labels_name_every_finding_and_each_term_once(dataset):
    for finding, terms in terms_of(facts_of(dataset)).items():
        assert isinstance(terms, list), finding
        assert len(terms) == len(set(terms)), finding


@pytest.mark.parametrize("dataset", SETS)
def test_policies_have_the_same_four_names_and_cover_every_code(dataset):
    facts = facts_of(dataset)
    policies = policies_of(facts)
    assert set(policies) >= set(POLICY_NAMES)
    assert facts["default_policy"] in policies
    assert all(isinstance(code, str) for code in facts["codes"]), "an unquoted yes, no or number is not a text to YAML"
    for name, policy in policies.items():
        for finding in FINDINGS:
            assert set(policy.values[finding]) >= set(facts["codes"]) - OTHER_CODES, (name, finding)
            assert set(policy.values[finding]) <= set(facts["codes"]), (name, finding)


@pytest.mark.parametrize("dataset", SETS)
def test_policies_treat_codes_as_their_names_say(dataset):
    """u_zero says no more than u_one, and of no finding no less; what u_ignore keeps, both say."""
    facts = facts_of(dataset)
    policies = policies_of(facts)
    zero, one, ignore = (policies[name].values for name in ("u_zero", "u_one", "u_ignore"))
    for finding in FINDINGS:
        for code in facts["codes"]:
            if code in OTHER_CODES or not _is_code_of(finding, code, facts):
                continue
            least, most, kept = (values[finding][code] for values in (zero, one, ignore))
            assert math.isnan(least) == math.isnan(most), (finding, code)
            if finding == "no_finding":
                least, most = most, least  # a finding that is taken for absent is one that the image does not have
            assert math.isnan(least) or least <= most, (finding, code)
            assert math.isnan(kept) or kept == least == most, (finding, code)
        if not all(math.isnan(value) for value in ignore[finding].values()):
            assert {0.0, 1.0} <= set(ignore[finding].values()), f"{finding} has one class under u_ignore"


def _is_code_of(finding, code, facts):
    """Where grades are codes, no finding has codes of its own."""
    graded = any(meaning.startswith("no finding,") for meaning in facts["codes"].values())
    return not graded or facts["codes"][code].startswith("no finding,") == (finding == "no_finding")


def _codes_of_one_image(finding, facts):
    """Pairs of a finding's code and no finding's that an image can carry at once."""
    if "scales" not in facts:  # VinDr-CXR: a reader who marks a finding does not mark "No finding"
        marked = range(4)
        pairs = [(f"{n} of 3", f"{none} of 3") for n in marked for none in marked if n + none <= 3]
        return [*pairs, ("consensus 0", "consensus 1"), ("consensus 1", "consensus 0")]
    scale = facts["scales"]["heart" if finding == "cardiomegaly" else "side"]
    at_least = {  # no finding is coded by the largest grade of all
        "none": ("none", "questionable", "not graded", "present"),
        "questionable": ("questionable", "not graded", "present"),
        "not graded": ("not graded", "present"),
        "present": ("present",),
    }
    return [(grade, none) for grade, meaning in scale["grades"].items() for none in at_least[meaning]]


@pytest.mark.parametrize("dataset", ["vindr_cxr", "uka_cxr", "taix_ray"])
def test_no_image_has_a_finding_and_none_under_any_policy(dataset):
    facts = facts_of(dataset)
    for name, policy in policies_of(facts).items():
        for finding in set(FINDINGS) - {"no_finding"}:
            pairs = _codes_of_one_image(finding, facts)
            assert len(pairs) >= 9
            values, none = policy.values[finding], policy.values["no_finding"]
            both = [pair for pair in pairs if values[pair[0]] == 1 == none[pair[1]]]
            assert not both, (name, finding)


@pytest.mark.parametrize("dataset", SETS)
def test_bad_files_are_named_by_hash_with_a_reason(dataset):
    bad_files = facts_of(dataset)["bad_files"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", name) and reason for name, reason in bad_files.items())
    assert len(bad_files) <= LARGEST_SUM


def test_golden_counts_show_no_cell_of_one_to_nine():
    counts = json.loads((MANIFESTS / "golden_counts.json").read_text(encoding="utf-8"))
    numbers = _numbers_in(counts)
    assert len(numbers) > 20
    assert not [number for number in numbers if 1 <= number <= 9]


def test_images_per_patient_of_sets_that_are_not_open_are_no_counts_of_few_and_no_ones_own():
    """What a median or a quantile is, is no count; the largest number of images is one patient's."""
    stated = yaml.safe_load((MANIFESTS / "images_per_patient.yaml").read_text(encoding="utf-8"))
    not_open = {name: entry for name, entry in stated.items() if name.lower().replace("-", "") not in OPEN_SETS}
    assert len(not_open) >= 4
    for name, entry in not_open.items():
        assert entry["max"] is None, name
        assert entry["patients_by_images"] is None, name
        assert _few_in({key: entry[key] for key in entry if key not in ("median", "p95")}) == [], name


@pytest.mark.parametrize("dataset", sorted(set(SETS) - OPEN_SETS))
def test_sidecars_of_sets_that_are_not_open_state_no_count_of_one_to_nine(dataset):
    """What policies map codes to is no count of images or patients."""
    stated = {key: value for key, value in facts_of(dataset).items() if key != "policies"}
    assert _few_in(stated) == []
    words = "\n".join(_strings_in({key: value for key, value in stated.items() if key != "bad_files"}))
    assert re.findall(r"(?<![\d.,])[1-9] (?:images|patients|rows|studies|reports|files)\b", words) == []


def test_counts_of_few_are_found_where_they_are():
    assert _few_in({"train": {"pneumonia": 7, "images": 70}, "list": [0, 3, True]}) == [7, 3]


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name)
def test_no_file_holds_rows_identifiers_or_paths(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST_FILE
    assert _identifiers_in(text) == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_hash_like_texts_are_checksums_of_archives(dataset):
    facts = facts_of(dataset)
    sums = set(_strings_in(facts.get("archives_md5", {}))) | set(_strings_in(facts["croissant"].get("files", {})))
    assert set(re.findall(HASH_LIKE, " ".join(_strings_in(facts)))) <= sums


@pytest.mark.parametrize(
    "planted",
    [
        "train/patient00001/study1/view1_frontal.jpg",
        "files/p10/p10000032/s50414267/x.jpg",
        "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014",
        "839860488694292331637988235681460987",
        "00000001_000.png",
        "1.2.826.0.1.3680043.8.498",
    ],
)
def test_identifiers_are_found_where_they_are(planted):
    assert _identifiers_in(f"a line with {planted} in it")


def test_hash_like_texts_are_found_where_they_are():
    assert re.findall(HASH_LIKE, f"x {'0a' * 16} y {'0a' * 32}") == ["0a" * 16]


def test_readme_names_every_file():
    readme = (MANIFESTS / "README.md").read_text(encoding="utf-8")
    absent = [
        path.name
        for path in _files()
        if f"`{path.name}`" not in readme and f"`{path.name.split('.', 1)[0]}.*`" not in readme
    ]
    assert absent == ["README.md"]


@pytest.mark.parametrize("dataset", SETS)
def test_readme_says_how_to_prepare_every_set(dataset):
    readme = (MANIFESTS / "README.md").read_text(encoding="utf-8")
    assert f"dpcxr prepare --dataset {dataset} --source" in readme
    assert facts_of(dataset)["url"] in readme
    assert f"| `{dataset}` | {facts_of(dataset)['images']:,} |" in readme
