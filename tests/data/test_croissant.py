import copy
import gzip
import importlib.util
import json
import socket
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data import croissant
from dpcxr_core.data.croissant import DATASETS, TYPES, croissant_of, field_id, table_id, text_of
from dpcxr_core.data.manifests import MANIFESTS, facts_of
from dpcxr_core.data.simulation.simulated import simulate_cohort
from dpcxr_core.data.simulation.uka_standin import MASTER_LIST, write_uka_standin

# mlcroissant 1.1.1 calls what rdflib 7 and pandas 3 warn will go.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]

# Headers as published, typed here apart from the sidecars: reference/datasets-and-fairness.md, sections 1.1 to 1.5.
_LABELLER = (
    "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    "No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
)
_CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
_VINDR = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,"
    "Tuberculosis,Other disease,No finding"
)
OFFICIAL_HEADERS = {
    "chestxray14": {
        "Data_Entry_2017_v2020.csv": (
            "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
            "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
        )
    },
    "chexpert": {"train.csv": _CHEXPERT, "valid.csv": _CHEXPERT},
    "padchest": {
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv": (
            ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
            "Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
            "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,"
            "WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,"
            "ExposureInuAs_DICOM,ExposureTime,RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,"
            "Localizations,LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS"
        )
    },
    "vindr_cxr": {
        "annotations/image_labels_train.csv": f"image_id,rad_id,{_VINDR}",
        "annotations/image_labels_test.csv": f"image_id,{_VINDR}",
    },
    "mimic_cxr_jpg": {
        "mimic-cxr-2.0.0-metadata.csv.gz": (
            "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,"
            "StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
            "PatientOrientationCodeSequence_CodeMeaning"
        ),
        "mimic-cxr-2.0.0-split.csv.gz": "dicom_id,study_id,subject_id,split",
        "mimic-cxr-2.0.0-chexpert.csv.gz": f"subject_id,study_id,{_LABELLER}",
        "mimic-cxr-2.0.0-negbio.csv.gz": f"subject_id,study_id,{_LABELLER}",
        "mimic-iv/hosp/patients.csv.gz": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "mimic-iv/hosp/admissions.csv.gz": "subject_id,hadm_id,admittime,insurance,language,marital_status,race",
    },
    "taix_ray": {
        "metadata/annotation.csv": (
            "UID,PatientID,PhysicianID,StudyDate,Age,Sex,HeartSize,PulmonaryCongestion,PleuralEffusion_Right,"
            "PleuralEffusion_Left,PulmonaryOpacities_Right,PulmonaryOpacities_Left,Atelectasis_Right,Atelectasis_Left"
        ),
        "metadata/split.csv": "UID,Fold,Split",
    },
}
# The real tables that one package brings along.
BUNDLED_TABLES = {
    "chestxray14": ("Data_Entry_2017_v2020.csv", "Data_Entry_2017_v2020.csv.gz"),
    "chexpert": ("train.csv", "chexpert_train.csv.gz"),
    "padchest": (
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz",
    ),
}
REQUIRED = {"@context", "@type", "name", "description", "conformsTo", "url", "license", "creator", "citeAs", "version"}
RESPONSIBLE = {
    "dataCollection",
    "dataAnnotationProtocol",
    "dataBiases",
    "dataLimitations",
    "personalSensitiveInformation",
    "dataUseCases",
}
CELLS = {"Text": ("a text", b"a text"), "Integer": ("7", 7), "Float": ("-1.0", -1.0)}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a manifest must be checked without the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def _committed(dataset: str) -> dict:
    return json.loads((MANIFESTS / f"{dataset}.croissant.json").read_text(encoding="utf-8"))


def _warnings_of(jsonld: dict) -> set[str]:
    return mlcroissant.Dataset(jsonld=jsonld).metadata.ctx.issues.warnings


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _write_table(path: Path, header: str, kinds: dict[str, str]) -> Path:
    """Two rows under the official header, with a value of the stated type in each column."""
    row = ",".join(CELLS[kinds.get(column, "Text")][0] for column in header.split(","))
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(f"{header}\n{row}\n{row}\n")
    return path


@pytest.mark.parametrize("dataset", DATASETS)
def test_committed_manifest_is_the_one_its_sidecar_makes(dataset):
    committed = (MANIFESTS / f"{dataset}.croissant.json").read_text(encoding="utf-8")
    assert committed == text_of(dataset), "run: python -m dpcxr_core.data.croissant"


@pytest.mark.parametrize("dataset", DATASETS)
def test_manifest_is_valid_without_network_and_without_a_warning(dataset):
    warnings = _warnings_of(_committed(dataset))  # an error raises
    if dataset == "uka_cxr":  # never published, so that it has no date of publication
        warnings = {text for text in warnings if "datePublished" not in text}
    assert not warnings


@pytest.mark.parametrize("missing", ["citeAs", "license", "version"])
def test_validation_warns_of_what_is_missing(missing):
    jsonld = _committed("chestxray14")
    del jsonld[missing]
    assert any(missing in text for text in _warnings_of(jsonld))


def test_validation_refuses_a_dangling_table_and_a_hidden_lack_of_checksums():
    dangling, unsummed = _committed("chestxray14"), _committed("chestxray14")
    dangling["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "absent.csv"
    unsummed["isLiveDataset"] = False
    for jsonld in (dangling, unsummed):
        with pytest.raises(mlcroissant.ValidationError):
            mlcroissant.Dataset(jsonld=jsonld)


@pytest.mark.parametrize("dataset", DATASETS)
def test_manifest_says_all_that_the_standard_and_fair_use_ask_for(dataset):
    jsonld = _committed(dataset)
    assert set(jsonld) >= REQUIRED | {f"rai:{name}" for name in RESPONSIBLE}
    assert all(jsonld[name] for name in REQUIRED)
    assert jsonld["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert [term["termCode"] for term in jsonld["usageInfo"]] == facts_of(dataset)["croissant"]["use"]
    survived = mlcroissant.Dataset(jsonld=jsonld).metadata.to_json()
    assert set(jsonld) - set(survived) == set()


@pytest.mark.parametrize("dataset", DATASETS)
def test_missing_checksums_are_said_and_only_then_the_set_is_live(dataset):
    jsonld = _committed(dataset)
    unsummed = [
        file["name"]
        for file in jsonld["distribution"]
        if file["@type"] == "cr:FileObject" and not {"md5", "sha256"} & set(file)
    ]
    assert jsonld["isLiveDataset"] == bool(unsummed)
    assert all(name in jsonld["description"] for name in unsummed)


@pytest.mark.parametrize("dataset", DATASETS)
def test_label_map_is_loaded_with_each_finding(dataset):
    records = list(mlcroissant.Dataset(jsonld=_committed(dataset)).records("label_map"))
    assert {record["label_map/label"] for record in records} >= set(FINDINGS)


@pytest.mark.parametrize(
    ("dataset", "name"), [(dataset, name) for dataset, tables in OFFICIAL_HEADERS.items() for name in tables]
)
def test_manifest_loads_a_table_with_the_official_header(dataset, name, tmp_path):
    kinds = facts_of(dataset)["official_columns"][name]
    path = _write_table(tmp_path / Path(name).name, OFFICIAL_HEADERS[dataset][name], kinds)
    loaded = mlcroissant.Dataset(jsonld=_committed(dataset), mapping={name: str(path)})
    records = list(loaded.records(table_id(name)))
    assert records == [{field_id(name, column): CELLS[kind][1] for column, kind in kinds.items()}] * 2


def test_load_test_fails_where_a_column_does_not_exist(tmp_path):
    """Valid but not loadable: mlcroissant's validation does not see it, reading does."""
    jsonld, name = _committed("chexpert"), "train.csv"
    jsonld["recordSet"][0]["field"][0]["source"]["extract"]["column"] = "Paths"
    path = _write_table(tmp_path / name, _CHEXPERT, facts_of("chexpert")["official_columns"][name])
    loaded = mlcroissant.Dataset(jsonld=jsonld, mapping={name: str(path)})
    with pytest.raises(mlcroissant.GenerationError) as error:
        list(loaded.records("train"))
    assert "Paths" in _first_cause(error.value)


def test_load_test_fails_where_a_checksum_differs(tmp_path):
    (tmp_path / "train.csv").write_text(f"{_CHEXPERT}\n", encoding="utf-8")
    jsonld = _committed("chexpert")
    jsonld["distribution"][0]["md5"] = "0" * 32
    loaded = mlcroissant.Dataset(jsonld=jsonld, mapping={"train.csv": str(tmp_path / "train.csv")})
    with pytest.raises(mlcroissant.GenerationError) as error:
        list(loaded.records("train"))
    assert "not identical" in _first_cause(error.value)


@pytest.mark.sample
def test_manifest_loads_the_real_table_of_the_sample(sample_data):
    name = "Data_Entry_2017_v2020.csv"
    path = sample_data / "chestxray14_sample" / name
    loaded = mlcroissant.Dataset(jsonld=_committed("chestxray14"), mapping={name: str(path)})
    patients = [record[field_id(name, "Patient ID")] for record in loaded.records(table_id(name))]
    assert patients == pd.read_csv(path)["Patient ID"].tolist()


@pytest.mark.parametrize("dataset", BUNDLED_TABLES)
def test_columns_are_those_of_the_real_table(dataset):
    package = importlib.util.find_spec("torchxrayvision")  # found, not imported
    if package is None:
        pytest.skip("torchxrayvision, which bundles the official tables, is not installed")
    name, bundled = BUNDLED_TABLES[dataset]
    path = Path(package.submodule_search_locations[0]) / "data" / bundled
    header = [column for column in pd.read_csv(path, nrows=0).columns if not column.startswith("Unnamed")]
    assert header == list(facts_of(dataset)["official_columns"][name])


def test_manifest_loads_the_stand_in_of_the_private_set(tmp_path):
    master = write_uka_standin(tmp_path / "uka", n_train=3, n_valid=1, n_test=2, seed=0, size=32)
    path = tmp_path / "uka" / MASTER_LIST
    loaded = mlcroissant.Dataset(jsonld=_committed("uka_cxr"), mapping={MASTER_LIST: str(path)})
    records = list(loaded.records(table_id(MASTER_LIST)))
    assert list(records[0]) == [field_id(MASTER_LIST, column) for column in master]
    assert [record[field_id(MASTER_LIST, "image_id")].decode() for record in records] == master["image_id"].tolist()


def test_manifest_loads_the_cohort_of_a_simulated_hospital(tmp_path):
    cohort = simulate_cohort("sim-a", n_train=6, n_valid=2, n_test=2, seed=0).cohort
    cohort.to_parquet(tmp_path / "cohort.parquet")
    mapping = {"cohort.parquet": str(tmp_path / "cohort.parquet")}
    records = list(mlcroissant.Dataset(jsonld=_committed("simulated"), mapping=mapping).records("cohort"))
    assert set(records[0]) == {field_id("cohort.parquet", column) for column in cohort if column != "path"}
    assert [record["cohort/image_id"].decode() for record in records] == cohort["image_id"].tolist()


@pytest.mark.parametrize("dataset", [dataset for dataset in DATASETS if facts_of(dataset).get("columns")])
def test_each_column_that_the_reader_needs_is_in_the_manifest(dataset):
    facts = facts_of(dataset)
    listed = {column for columns in facts["official_columns"].values() for column in columns}
    absent = {ours: names for ours, names in facts["columns"].items() if listed.isdisjoint(names)}
    assert not absent


def _stated(**changes) -> dict:
    facts = copy.deepcopy(facts_of("chestxray14"))
    facts["croissant"] |= changes.pop("croissant", {})
    return facts | changes


def test_unknown_type_suffix_and_use_condition_are_refused():
    with pytest.raises(UserError, match="'Age' of a.csv is of type 'Years'; known are Text"):
        croissant_of("x", _stated(official_columns={"a.csv": {"Age": "Years"}}))
    with pytest.raises(UserError, match="no format is known for 'a.xls'"):
        croissant_of("x", _stated(croissant={"files": {"a.xls": {}}}))
    with pytest.raises(UserError, match="unknown use condition 'DUO_1'"):
        croissant_of("x", _stated(croissant={"use": ["DUO_1"]}))


def test_missing_key_is_named():
    facts = facts_of("chestxray14")
    del facts["cite"]
    with pytest.raises(UserError, match="sidecar of x has no 'cite'"):
        croissant_of("x", facts)


def test_set_with_all_checksums_is_not_live():
    sums = {"official_columns": {}, "croissant": {"files": {"a.zip": {"md5": "0" * 32}}}}
    jsonld = croissant_of("x", _stated(**sums))
    assert jsonld["isLiveDataset"] is False
    assert "checksum" not in jsonld["description"]


def test_rewriting_writes_every_manifest_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(croissant, "MANIFESTS", tmp_path)
    croissant.main()
    assert {path.name for path in tmp_path.iterdir()} == {f"{dataset}.croissant.json" for dataset in DATASETS}
    assert set(TYPES) == set(CELLS)
