import tomllib

import yaml

from tests.conftest import PROJECT


def test_environment_yml_lists_what_pyproject_states():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    assert pip == [*project["dependencies"], *extras["book"], *extras["test"], "-e ."]
    assert f"python{project['requires-python']}" in environment
