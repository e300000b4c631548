"""A study file as small as it can be, and with lines changed."""

from pathlib import Path

import pytest
import yaml

from dpcxr_core.planning.study_file import Study, read_study

SMALL = """
question: Does it work?
data:
  sim-a: {data_source: simulated}
  north: {data_source: padchest, source_dir: nowhere, public_fraction: 0}
pretraining_data:
  mimic: {data_source: mimic_cxr_jpg, source_dir: nowhere, public_fraction: 0}
initialisations:
  random: {weights: random}
  supervised: {weights: standin_supervised}
  imagenet: {weights: fb_in1k}
  mimic: {trained_on: mimic, from: imagenet}
own_heads: [mimic]
architectures: [convnext_mini]
epsilons: [1, .inf]
seeds: [0, 1]
mechanism: {delta: 1.0e-5, expected_batch_size: 256, n_steps: 24, max_grad_norm: 0.5}
recipe: {randomness: seeded}
"""


@pytest.fixture
def study_with(tmp_path):
    """What makes a study of the small file with some top-level lines replaced, or left out where None."""

    def study(**changes: object) -> Study:
        stated = {key: value for key, value in {**yaml.safe_load(SMALL), **changes}.items() if value is not None}
        path = Path(tmp_path / "small.yml")
        path.write_text(yaml.safe_dump(stated, sort_keys=False))
        return read_study(path)

    return study
