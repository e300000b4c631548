import math
import re

import pytest

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.planning.study_file import read_study
from dpcxr_core.provenance import PROJECT_FOLDER
from dpcxr_core.study.data_choice import DataChoice
from dpcxr_core.study.grid import Recipe
from dpcxr_core.study.standin_choice import StartingPoints


def test_file_becomes_a_study(study_with):
    study = study_with(evaluation={"n_resamples": 60, "group_columns": ["sex"]}, standins={"n_scenes": 7}, ranks=None)
    assert (study.name, study.question) == ("small", "Does it work?")
    assert study.data["sim-a"] == DataChoice(data_source="simulated")
    assert study.standins == StartingPoints(n_scenes=7)
    assert study.evaluation == EvaluationChoice(n_resamples=60, group_columns=("sex",))
    assert study.initialisations["mimic"].start == "imagenet"
    assert list(study.grids) == ["main"]
    assert study.main.data == ("sim-a", "north")
    assert study.main.epsilons == (1.0, math.inf)
    assert study.main.recipe == Recipe(randomness="seeded")
    assert study.main.fractions == (1.0,)


def test_ablation_is_the_grid_with_its_lines_in_place(study_with):
    changes = {"mechanism": {"max_grad_norm": 1.0}, "recipe": {"optimizer": "adamw"}, "initialisations": ["random"]}
    study = study_with(ablations={"other": changes, "passes": {"mechanism": {"expected_passes": 3}}})
    other = study.grids["other"]
    assert list(study.grids) == ["main", "other", "passes"]
    assert (other.mechanism.max_grad_norm, other.mechanism.n_steps) == (1.0, 24)
    assert (other.recipe.optimizer, other.recipe.randomness) == ("adamw", "seeded")
    assert (other.initialisations, other.own_heads) == (("random",), ())
    assert other.data == study.main.data
    assert (study.grids["passes"].mechanism.n_steps, study.grids["passes"].mechanism.expected_passes) == (None, 3.0)


def test_image_recipe_is_that_of_the_grid_and_simulated_images_have_one(study_with):
    study = study_with()
    assert study.data_choice("north", "as_published").image_recipe == "as_published"
    assert study.data_choice("mimic", "as_published").image_recipe == "as_published"
    assert study.data_choice("sim-a", "as_published") == study.data["sim-a"]


_NORTH = {"data_source": "padchest", "source_dir": "x"}
_SIM = {"data_source": "simulated"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epsilon": [1]}, "unknown key 'epsilon'; did you mean 'epsilons'"),
        ({"ablations": {"scale": {"fraction": [0.5]}}}, "unknown key 'ablations.scale.fraction'; did you mean"),
        ({"ablations": {"scale": {"mechanism": {"delt": 1}}}}, "unknown key 'ablations.scale.mechanism.delt'"),
        ({"ablations": {"main": {}}}, "cannot be called 'main'"),
        ({"ablations": {"scale": {"data": ["south"]}}}, "ablations.scale.data names 'south'; known are sim-a, north"),
        ({"ablations": {"a b": {}}}, "'a b'"),
        ({"mechanism": None}, "the study lacks mechanism"),
        ({"epsilons": 1}, "epsilons must be a list"),
        ({"data": {"sim-a": {"data_source": "elsewhere"}}}, "data.sim-a: data_source must be one of"),
        ({"data": {"x": {**_NORTH, "image_recipe": "corrected"}}}, "unknown key 'data.x.image_recipe'"),
        ({"data": {"x": _SIM, "y": {**_SIM, "image_size": 32}}}, "one image_size"),
        ({"data": {"x": _SIM, "y": {**_SIM, "seed": 1}}}, "x and y both train on images that tables call 'sim-a'"),
        ({"data": {"x": _NORTH, "y": {**_NORTH, "source_dir": "y"}}}, "that tables call 'padchest-private'"),
        ({"data": {"mimic": _NORTH}}, "either trained on with privacy or pretrained on"),
        ({"data": ["sim-a"]}, "data must hold 'name: value' lines"),
        ({"own_heads": ["random"]}, "random has no head"),
        ({"own_heads": ["mimics"]}, "own_heads names 'mimics'"),
        ({"roles": {"best": "random"}}, "roles names 'best'; known are supervised"),
        ({"roles": {"domain": "randon"}}, "roles names 'randon'"),
        ({"standins": {"tags": []}}, "unknown key 'standins.tags'"),
        ({"ranks": {"convnext_mini": 0}}, "ranks must be at least 1"),
        ({"ranks": {"convnext_mni": 4}}, "ranks names 'convnext_mni'; known are convnext_mini"),
        ({"recipe": {"ordinary_n_steps": 0}}, "ordinary_n_steps must be positive"),
        (
            {"initialisations": {"a": {"weights": "standin_suprevised"}}, "own_heads": []},
            "initialisations.a: no stand-in has the tag 'standin_suprevised'; did you mean standin_supervised",
        ),
        ({"initialisations": {"domain": {"weights": "standin_domain"}}, "own_heads": []}, "public part of north"),
        (
            {"initialisations": {"a": {"trained_on": "south", "from": "a"}}, "own_heads": []},
            "initialisations.a.trained_on names 'south'; known are mimic",
        ),
        (
            {"initialisations": {"a": {"trained_on": "mimic", "from": "b"}, "b": {"weights": "random", "form": "a"}}},
            "unknown key 'initialisations.b.form'; did you mean 'from'",
        ),
        (
            {
                "initialisations": {
                    "a": {"trained_on": "mimic", "from": "b"},
                    "b": {"trained_on": "mimic", "from": "a"},
                },
                "own_heads": [],
            },
            "a is trained from itself: a from b",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_file_and_the_key(study_with, changes, named):
    with pytest.raises(UserError) as raised:
        study_with(**changes)
    assert named in str(raised.value)
    assert "small.yml" in str(raised.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match="no study file .*nowhere.yml"):
        read_study(tmp_path / "nowhere.yml")
    broken = tmp_path / "broken.yml"
    broken.write_text("data: {")
    with pytest.raises(UserError, match="broken.yml is not YAML"):
        read_study(broken)
    broken.write_text("")
    with pytest.raises(UserError, match="broken.yml"):
        read_study(broken)


def test_two_hospitals_are_told_apart_by_what_their_manifests_call_them(tmp_path, study_with):
    stated = (PROJECT_FOLDER / "data_manifests" / "own_example.yaml").read_text()
    name = re.search(r"^name: *(\S+)", stated, re.MULTILINE)[1]
    manifests = [tmp_path / "a.yml", tmp_path / "b.yml"]
    data = {file.stem: {"data_source": "own", "manifest": str(file)} for file in manifests}
    manifests[0].write_text(stated)
    manifests[1].write_text(stated.replace(f"name: {name}", "name: other"))
    assert tuple(study_with(data=data).data) == ("a", "b")
    manifests[1].write_text(stated)
    with pytest.raises(UserError, match=f"a and b both train on images that tables call '{name}-private'"):
        study_with(data=data)
