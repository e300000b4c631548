"""Every choice a run makes, as frozen dataclasses that check themselves on creation.

Choices only: a count measured from the data never becomes a field here. It is passed as an
argument to the function that needs it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

FINDINGS = ("atelectasis", "cardiomegaly", "pleural_effusion", "pneumonia", "no_finding")
SPLITS = ("train", "valid", "test")
AGE_BAND_EDGES = (0, 40, 70, 120)

ThresholdRule = Literal["youden", "fixed_tpr", "max_f1"]
Clipping = Literal["flat", "automatic", "none"]
Sampler = Literal["poisson", "truncated_poisson", "fixed_size", "shuffled", "balls_and_bins"]
THRESHOLD_RULES: tuple[ThresholdRule, ...] = get_args(ThresholdRule)
CLIPPINGS: tuple[Clipping, ...] = get_args(Clipping)
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)


class UserError(ValueError):
    """A user's mistake: the command line prints it as one line, without a traceback."""


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise UserError(message)


@dataclass(frozen=True, kw_only=True)
class PrivacySpecification:
    """What one private training promises, and with which mechanism; or an experiment that promises nothing.

    The sampler, the clipping, the noise, the denominator and the accountant all read this one
    object and take none of these values on their own, so they cannot disagree.

    Attributes:
        sample_rate: Chance that one privacy unit enters one step, in (0, 1].
        n_steps: Optimiser updates, each adding noise once.
        expected_batch_size: Public constant that divides the noisy sum, in privacy units.
        max_grad_norm: Clip norm C, in gradient units.
        noise_multiplier: Noise standard deviation over the L2 sensitivity.
        delta: Chance allowed for the guarantee to fail.
        privacy_unit: Whose data one neighbour adds or removes: one image, or one patient with all images.
        max_images_per_patient: Most images of one patient in one step; for the patient unit only. Memory and
            time, not the guarantee, depend on it.
        clipping: "flat" leaves gradients within the clip norm alone; "automatic" brings every gradient close to
            the clip norm, also small ones (AUTO-S, arXiv:2206.07136). Both bound a unit by ``max_grad_norm``.
            "none" bounds nothing and promises nothing: for experiments.
        neighbouring_relation: What differs between neighbours.
        sampler: How units enter a step. Certificates are for "poisson"; the others are for experiments, and what
            each of them promises is another question (``accounting.samplers``). "truncated_poisson" drops units
            above ``largest_batch``; "fixed_size" draws ``expected_batch_size`` units anew in each step; "shuffled"
            deals out a new order in each pass; "balls_and_bins" throws each unit into one random step of each pass.
        largest_batch: Most units of one step; for "truncated_poisson" only.
        accountant: The method whose epsilon is claimed.
    """

    sample_rate: float
    n_steps: int
    expected_batch_size: int
    max_grad_norm: float
    noise_multiplier: float
    delta: float
    privacy_unit: Literal["image", "patient"] = "image"
    max_images_per_patient: int | None = None
    clipping: Clipping = "flat"
    neighbouring_relation: Literal["add_or_remove_one"] = "add_or_remove_one"
    sampler: Sampler = "poisson"
    largest_batch: int | None = None
    accountant: Literal["pld"] = "pld"

    @property
    def n_units_declared(self) -> int:
        """Privacy units in the training set that this was made for: batch size over rate."""
        return round(self.expected_batch_size / self.sample_rate)

    def __post_init__(self) -> None:
        _check(
            0 < self.sample_rate <= 1,
            f"sample_rate is a probability in (0, 1]; got {self.sample_rate}. Pass a rate, not a batch size.",
        )
        _check(self.n_steps >= 1, f"n_steps must be at least 1; got {self.n_steps}")
        _check(
            self.expected_batch_size >= 1,
            f"expected_batch_size must be at least 1; got {self.expected_batch_size}",
        )
        _check(
            0 < self.max_grad_norm < math.inf,
            f"max_grad_norm must be positive and finite; got {self.max_grad_norm}",
        )
        _check(
            0 <= self.noise_multiplier < math.inf,
            f"noise_multiplier must be finite and not negative; got {self.noise_multiplier}",
        )
        _check(0 < self.delta < 1, f"delta is a probability in (0, 1); got {self.delta}")
        _check(
            self.privacy_unit in ("image", "patient"),
            f"privacy_unit must be 'image' or 'patient'; got {self.privacy_unit!r}",
        )
        limit = self.max_images_per_patient
        if self.privacy_unit == "patient":
            _check(
                limit is not None and limit >= 1,
                f"privacy_unit 'patient' needs max_images_per_patient of at least 1; got {limit}",
            )
        else:
            _check(limit is None, f"max_images_per_patient belongs to privacy_unit 'patient'; got {limit}")
        _check(self.clipping in CLIPPINGS, f"clipping must be one of {', '.join(CLIPPINGS)}; got {self.clipping!r}")
        _check(
            self.neighbouring_relation == "add_or_remove_one",
            f"neighbouring_relation must be 'add_or_remove_one'; got {self.neighbouring_relation!r}",
        )
        _check(self.sampler in SAMPLERS, f"sampler must be one of {', '.join(SAMPLERS)}; got {self.sampler!r}")
        if self.sampler == "truncated_poisson":
            _check(
                self.largest_batch is not None and self.largest_batch >= self.expected_batch_size,
                f"sampler 'truncated_poisson' needs largest_batch of at least expected_batch_size, "
                f"{self.expected_batch_size}; got {self.largest_batch}",
            )
        else:
            _check(
                self.largest_batch is None, f"largest_batch belongs to 'truncated_poisson'; got {self.largest_batch}"
            )
        _check(self.accountant == "pld", f"accountant must be 'pld'; got {self.accountant!r}")

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise added to the sum, in gradient units."""
        return self.noise_multiplier * self.max_grad_norm

    @property
    def accounted(self) -> tuple[float, float, int, float]:
        """Noise multiplier, sample rate, steps and delta: what every accountant takes, in its order."""
        return self.noise_multiplier, self.sample_rate, self.n_steps, self.delta

    @property
    def promises(self) -> bool:
        """Whether a certificate can be made: Poisson draws, a bound on every unit, and noise."""
        return self.sampler == "poisson" and self.clipping != "none" and self.noise_multiplier > 0


@dataclass(frozen=True, kw_only=True)
class OptimisationChoice:
    """How gradients become updates.

    Attributes:
        optimizer: "adamw" (the study's) or "sgd" with momentum.
        learning_rate: Peak learning rate.
        momentum: Momentum of SGD; ignored by AdamW.
        beta2: Second-moment decay of AdamW; ignored by SGD.
        weight_decay: Decoupled for AdamW.
        warmup_fraction: Share of the steps with linear warm-up, in [0, 1).
        schedule: "cosine" to zero, or "constant".
    """

    optimizer: Literal["adamw", "sgd"]
    learning_rate: float
    momentum: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    warmup_fraction: float = 0.1
    schedule: Literal["cosine", "constant"] = "cosine"

    def __post_init__(self) -> None:
        _check(
            self.optimizer in ("adamw", "sgd"),
            f"optimizer must be 'adamw' or 'sgd'; got {self.optimizer!r}",
        )
        _check(self.learning_rate > 0, f"learning_rate must be positive; got {self.learning_rate}")
        _check(0 <= self.momentum < 1, f"momentum must be in [0, 1); got {self.momentum}")
        _check(0 <= self.beta2 < 1, f"beta2 must be in [0, 1); got {self.beta2}")
        _check(self.weight_decay >= 0, f"weight_decay must not be negative; got {self.weight_decay}")
        _check(
            0 <= self.warmup_fraction < 1,
            f"warmup_fraction must be in [0, 1); got {self.warmup_fraction}",
        )
        _check(
            self.schedule in ("cosine", "constant"),
            f"schedule must be 'cosine' or 'constant'; got {self.schedule!r}",
        )


@dataclass(frozen=True, kw_only=True)
class OrdinaryBatches:
    """How a run without privacy draws its batches: shuffled, a fixed size.

    Attributes:
        n_steps: Optimiser updates.
        batch_size: Images of one update.
    """

    n_steps: int
    batch_size: int

    def __post_init__(self) -> None:
        _check(self.n_steps >= 1, f"n_steps must be at least 1; got {self.n_steps}")
        _check(self.batch_size >= 1, f"batch_size must be at least 1; got {self.batch_size}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: trained with privacy, trained without it, or the public model as it is.

    ``privacy`` makes a private run, or an ablation where its mechanism promises nothing; ``ordinary`` a run without
    privacy; both None is the public-only reference, which sees no private image and so needs its own head.

    Attributes:
        dataset: Name of the data set trained on.
        init_name: ``architecture.weights_tag``.
        head: "reset" (zero-initialised) or "kept" (the initialisation's own head).
        optimisation: How gradients become updates; None for the public-only reference.
        privacy: The mechanism, or None.
        ordinary: Batches of a run without privacy, or None.
        target_epsilon: What ``privacy`` was calibrated for; None where nothing is promised.
        randomness: "seeded" repeats a run exactly, so whoever knows ``seed`` can remove the noise;
            "secret" draws batches and noise from the operating system and records no seed.
        train_fraction: Share of the training patients, in (0, 1], with all their images; the specification of a
            private run was made for that many units.
        normalisation: "of_weights" makes pixels the input that the weights expect; "none" divides them by 255.
        max_shift: Augmentation: one random shift per image of at most this many pixels.
        augmentation_multiplicity: Shifted copies of each drawn image whose gradients are averaged before
            clipping (arXiv:2204.13650); 1 for one copy.
        ema_decay: Decay of the exponential moving average of the weights that is released in place of the last
            weights; 0 for none.
        precision: "float32", or "bfloat16" for forward and backward under autocast. Norms, sums, noise and
            weights are float32 either way.
        physical_batch_size: Images processed at once; changes memory, never privacy.
        seed: Seeds the weights that are not loaded, the batches and the noise.
    """

    dataset: str
    init_name: str
    head: Literal["reset", "kept"]
    optimisation: OptimisationChoice | None = None
    privacy: PrivacySpecification | None = None
    ordinary: OrdinaryBatches | None = None
    target_epsilon: float | None = None
    train_fraction: float = 1.0
    normalisation: Literal["of_weights", "none"] = "of_weights"
    max_shift: int = 0
    augmentation_multiplicity: int = 1
    ema_decay: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    physical_batch_size: int = 64
    randomness: Literal["seeded", "secret"] = "seeded"
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.head in ("reset", "kept"), f"head must be 'reset' or 'kept'; got {self.head!r}")
        _check(
            self.privacy is None or self.ordinary is None,
            "a run has privacy (a PrivacySpecification) or ordinary batches, not both",
        )
        trains = self.privacy is not None or self.ordinary is not None
        _check(
            trains == (self.optimisation is not None),
            "optimisation belongs to every run that trains, and to no other",
        )
        _check(trains or self.head == "kept", "the public-only reference needs head='kept'")
        _check(
            self.randomness in ("seeded", "secret"),
            f"randomness must be 'seeded' or 'secret'; got {self.randomness!r}",
        )
        promises = self.privacy is not None and self.privacy.promises
        _check(
            promises == (self.target_epsilon is not None),
            "target_epsilon belongs to private runs, and to all of them, but not to ablations, which promise nothing; "
            f"got {self.target_epsilon}",
        )
        _check(0 < self.train_fraction <= 1, f"train_fraction is a share in (0, 1]; got {self.train_fraction}")
        _check(
            self.normalisation in ("of_weights", "none"),
            f"normalisation must be 'of_weights' or 'none'; got {self.normalisation!r}",
        )
        _check(self.max_shift >= 0, f"max_shift must not be negative; got {self.max_shift}")
        _check(
            self.augmentation_multiplicity >= 1,
            f"augmentation_multiplicity must be at least 1; got {self.augmentation_multiplicity}",
        )
        _check(0 <= self.ema_decay < 1, f"ema_decay must be in [0, 1); got {self.ema_decay}")
        _check(
            self.precision in ("float32", "bfloat16"),
            f"precision must be 'float32' or 'bfloat16'; got {self.precision!r}",
        )
        _check(self.physical_batch_size >= self._largest_unit, self._too_small_a_batch())
        _check(self.seed >= 0, f"seed must not be negative; got {self.seed}")

    @property
    def _largest_unit(self) -> int:
        """Most images that have to be processed together, as they are one unit."""
        per_patient = (self.privacy.max_images_per_patient or 1) if self.privacy is not None else 1
        return per_patient * self.augmentation_multiplicity

    def _too_small_a_batch(self) -> str:
        least = (
            "1"
            if self._largest_unit == 1
            else f"max_images_per_patient times augmentation_multiplicity, {self._largest_unit}, as a unit is not cut"
        )
        return f"physical_batch_size must be at least {least}; got {self.physical_batch_size}"

    @property
    def kind(self) -> Literal["private", "ablation", "non_private", "public_only"]:
        """What this run is, for tables and figures."""
        if self.privacy is not None:
            return "private" if self.privacy.promises else "ablation"
        return "non_private" if self.ordinary is not None else "public_only"


@dataclass(frozen=True, kw_only=True)
class EvaluationChoice:
    """How scores become metrics: it can change without any run being trained again.

    Attributes:
        n_resamples: Bootstrap resamples of patients; 2000 for a claim, a few hundred for a look.
        seed: Seeds the resamples.
        age_band_edges: Lower ends of the age bands and, last, the oldest age believed, in years.
        group_columns: Ways to part the images into groups. "sex", "age_band", "sex_and_age" (crossed) and "view" are
            known for every data set; any other name is a column of the cohort table.
        threshold_rule: How decision thresholds are chosen on validation images: "youden" (largest TPR - FPR),
            "fixed_tpr" (highest threshold with a TPR of at least ``fixed_tpr``) or "max_f1".
        fixed_tpr: The TPR that "fixed_tpr" asks for.
        n_calibration_bins: Bins of the expected calibration error.
    """

    n_resamples: int = 300
    seed: int = 0
    age_band_edges: tuple[int, ...] = AGE_BAND_EDGES
    group_columns: tuple[str, ...] = ("sex", "age_band", "sex_and_age", "view")
    threshold_rule: ThresholdRule = "youden"
    fixed_tpr: float = 0.9
    n_calibration_bins: int = 10

    def __post_init__(self) -> None:
        _check(self.n_resamples >= 1, f"n_resamples must be at least 1; got {self.n_resamples}")
        _check(self.seed >= 0, f"seed must not be negative; got {self.seed}")
        edges = self.age_band_edges
        _check(
            len(edges) >= 3
            and all(isinstance(edge, int) for edge in edges)
            and all(low < high for low, high in zip(edges[:-1], edges[1:], strict=True)),
            f"age_band_edges must be at least three rising whole years, such as (0, 40, 120); got {edges}",
        )
        columns = self.group_columns
        _check(
            len(set(columns)) == len(columns) and "all" not in columns,
            f'group_columns must name each column once, and "all" not at all, as it is always there; got {columns}',
        )
        _check(
            self.threshold_rule in THRESHOLD_RULES,
            f"threshold_rule must be one of {', '.join(THRESHOLD_RULES)}; got {self.threshold_rule!r}",
        )
        _check(0 < self.fixed_tpr < 1, f"fixed_tpr is a share in (0, 1); got {self.fixed_tpr}")
        _check(
            2 <= self.n_calibration_bins <= 100,
            f"n_calibration_bins must be from 2 to 100; got {self.n_calibration_bins}",
        )


def run_config_from_dict(values: dict[str, Any]) -> RunConfig:
    """The ``RunConfig`` that ``dataclasses.asdict`` turned into ``values``."""
    nested = dict(values)
    if values.get("optimisation") is not None:
        nested["optimisation"] = OptimisationChoice(**values["optimisation"])
    if values.get("privacy") is not None:
        nested["privacy"] = PrivacySpecification(**values["privacy"])
    if values.get("ordinary") is not None:
        nested["ordinary"] = OrdinaryBatches(**values["ordinary"])
    return RunConfig(**nested)


def content_key(*parts: Any) -> str:
    """Twelve hex digits that name the content of ``parts`` (dataclasses or JSON values)."""

    def plain(part: Any) -> Any:
        return asdict(part) if hasattr(part, "__dataclass_fields__") else part

    text = json.dumps([plain(part) for part in parts], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
