import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of, manifest, names_of_our_sets, terms_of, with_known_keys
from dpcxr_core.data.prepare import DATASETS, OWN


def test_manifest_missing_names_the_folder():
    with pytest.raises(UserError, match="no manifest 'none.yaml' in .*data_manifests"):
        manifest("none.yaml")


@pytest.mark.parametrize("dataset", ["chestxray14", "chexpert", "mimic_cxr_jpg"])
def test_every_finding_has_its_own_terms(dataset):
    terms = terms_of(facts_of(dataset))
    of_findings = [term for finding in FINDINGS for term in terms[finding]]
    assert len(of_findings) == len(set(of_findings)) == 5


def test_terms_of_chestxray14_are_its_fourteen_and_no_finding():
    facts = facts_of("chestxray14")
    used = {term for terms in terms_of(facts).values() for term in terms}
    assert not used & set(facts["labels_not_used"])
    assert len(used) + len(facts["labels_not_used"]) == 15


def test_finding_without_terms_is_named():
    facts = facts_of("chestxray14")
    labels = {label: terms for label, terms in facts["labels"].items() if label != "pneumonia"}
    with pytest.raises(UserError, match="manifest of NIH ChestX-ray14 has no terms for pneumonia"):
        terms_of({**facts, "labels": labels})


@pytest.mark.parametrize("terms", ["Effusion", [1], None, {"Effusion": 1}])
def test_terms_that_are_not_a_list_of_texts_are_refused(terms):
    facts = facts_of("chestxray14")  # a text would be taken for its letters
    with pytest.raises(UserError, match="terms of pleural_effusion are a list of texts"):
        terms_of({**facts, "labels": {**facts["labels"], "pleural_effusion": terms}})


def test_our_sets_are_those_that_the_command_prepares_and_the_simulated_one():
    assert set(names_of_our_sets()) == {*DATASETS, "simulated"} - {OWN}


def test_known_keys_come_back_as_text_and_another_is_named_with_the_closest():
    assert with_known_keys("views", {1: "PA", "x": "AP"}, ("1", "x")) == {"1": "PA", "x": "AP"}
    with pytest.raises(UserError, match="unknown key 'views.lateral'; did you mean 'Lateral'"):
        with_known_keys("views", {"lateral": "other"}, ("PA", "Lateral"))
    with pytest.raises(UserError, match="unknown key 'q'; known are PA, AP"):
        with_known_keys("", {"q": 1}, ("PA", "AP"))
    with pytest.raises(UserError, match="views must hold 'key: value' lines with PA; got 'PA'"):
        with_known_keys("views", "PA", ("PA",))
