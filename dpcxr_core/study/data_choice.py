"""Which images a study uses: a choice, read by whoever plans and by whoever prepares."""

from __future__ import annotations

from dataclasses import dataclass

from dpcxr_core.config import UserError
from dpcxr_core.data.manifests import names_of_our_sets
from dpcxr_core.data.simulation.simulated import SMALLEST_SIZE
from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS
from dpcxr_core.data.storing.store_writing import SIZE_LIMITS

SIMULATED = "simulated"
OWN = "own"
PUBLIC_HOSPITAL = "sim-source"
PRIVATE_PART = "-private"  # ends the name of the rest of a data set of which a part is public
VALID_FRACTION = 0.15  # of the patients of real images; enough to choose a threshold on where the set is a sample


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which images a study uses.

    Attributes:
        data_source: "simulated", a data set of ``data_manifests`` for a folder in its official layout, or "own" for a
            hospital's own images.
        source_dir: That folder; empty for simulated hospitals, and where the manifest of "own" names it.
        manifest: own: the YAML file that says how the hospital's tables are read.
        label_policy: Real images: what the label codes mean, by its name in the manifest; empty for its default.
        image_recipe: Real images: "corrected" or "as_published", see ``dpcxr_core.data.pictures.recipes``.
        image_size: Side of the stored images, in pixels. The default is meant for simulated ones on a laptop.
        private_hospital: Simulated: the hospital that is trained on with privacy.
        n_public: Simulated: images of the public hospital, for domain pretraining.
        n_train: Simulated: training images of each private hospital.
        n_valid: Simulated: validation images of each private hospital.
        n_test: Simulated: test images of the private hospital that is trained on.
        n_external_test: Simulated: test images of every other hospital and of the null world.
        public_fraction: Real images: share of the training patients that plays the public part; 0 for none.
        seed: Seeds the patients, or the split.
    """

    data_source: str
    source_dir: str = ""
    manifest: str = ""
    label_policy: str = ""
    image_recipe: str = "corrected"
    image_size: int = 48
    private_hospital: str = "sim-a"
    n_public: int = 600
    n_train: int = 2400
    n_valid: int = 400
    n_test: int = 3000
    n_external_test: int = 600
    public_fraction: float = 0.5
    seed: int = 0

    def name_trained_on(self, dataset: str) -> str:
        """How records and tables call the private images of ``dataset``: another name where a part of it is public."""
        return dataset + PRIVATE_PART if self.public_fraction > 0 else dataset

    def __post_init__(self) -> None:
        known = (*names_of_our_sets(), OWN)
        if self.data_source not in known:
            raise UserError(f"data_source must be one of {', '.join(known)}; got {self.data_source!r}")
        if self.data_source == OWN:
            if not self.manifest:
                raise UserError("data_source 'own' needs manifest, the YAML file that maps the hospital's tables")
        elif self.data_source != SIMULATED and not self.source_dir:
            raise UserError(f"data_source {self.data_source!r} needs source_dir, the folder of the official files")
        if self.private_hospital not in HOSPITALS or self.private_hospital == PUBLIC_HOSPITAL:
            private = [name for name in HOSPITALS if name != PUBLIC_HOSPITAL]
            raise UserError(f"private_hospital must be one of {private}; got {self.private_hospital!r}")
        smallest = SMALLEST_SIZE if self.data_source == SIMULATED else SIZE_LIMITS[0]
        if not smallest <= self.image_size <= SIZE_LIMITS[1]:
            limits = f"{smallest} to {SIZE_LIMITS[1]} pixels"
            raise UserError(f"image_size must be {limits} for {self.data_source!r}; got {self.image_size}")
        for name in ("n_public", "n_train", "n_valid", "n_test", "n_external_test"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative; got {getattr(self, name)}")
        if not 0 <= self.public_fraction < 1:
            raise UserError(f"public_fraction is a share in [0, 1), 0 for no public part; got {self.public_fraction}")
