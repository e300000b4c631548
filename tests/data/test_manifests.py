import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of, manifest, terms_of


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
