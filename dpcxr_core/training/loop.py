"""The training loop: draws become gradients, gradients become updates, with privacy or without."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from dpcxr_core.config import FINDINGS, RunConfig, UserError
from dpcxr_core.data.images import InputTransform
from dpcxr_core.privacy.bookkeeping import BookKeeper, attach
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.streams import RandomStreams, secret_streams, seeded_streams
from dpcxr_core.privacy.units import PrivacyUnits, units_of
from dpcxr_core.training.averaging import start_average, update_average, use_average
from dpcxr_core.training.batchwise import outputs_of
from dpcxr_core.training.checkpoint import Checkpoint, CheckpointPlace, read_checkpoint, write_checkpoint
from dpcxr_core.training.device import Compute, autocast, find_compute, prepare_model, to_device
from dpcxr_core.training.fast_depthwise import fast_depthwise
from dpcxr_core.training.loading import LoadAhead
from dpcxr_core.training.optimisation import learning_rate_at, loss_per_image, make_optimizer
from dpcxr_core.training.ranks import ALONE, Ranks, agree, from_first, gather, same_weights, sum_gradients
from dpcxr_core.training.steps import ordinary_batches, private_batches
from dpcxr_core.training.training_set import LoadedBatch, TrainingData, load_batch


class DivergedError(UserError):
    """Loss or gradients are no longer finite: the learning rate is too high."""


@dataclass(frozen=True)
class TrainingTrace:
    """What a run left behind besides its weights.

    Attributes:
        ledger: One row a step with public columns only, what the mechanism did: ``step``, ``learning_rate``,
            ``noise_std`` (of the sum of clipped gradients, in gradient units; 0 without privacy).
        diagnostics: One row a step, computed from private images and **not covered by the guarantee**: ``step``,
            ``n_drawn`` units, mean ``loss``; with privacy also ``median_norm``, ``share_clipped`` and
            ``n_non_finite``, the units whose gradient was not finite and counted as zero.
        seconds_loading: How long this process waited for images, of its wall-clock time.
    """

    ledger: pd.DataFrame
    diagnostics: pd.DataFrame
    seconds_loading: float


@dataclass(frozen=True)
class _Run:
    """What stays the same over the steps of a run. ``keeper`` is None without privacy."""

    model: nn.Module
    keeper: BookKeeper | None
    config: RunConfig
    ranks: Ranks
    compute: Compute


@dataclass
class _Progress:
    """What changes from step to step: all that a checkpoint has to hold besides the weights."""

    next_step: int
    streams: RandomStreams
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor] | None
    ledger: list[dict[str, float]]
    diagnostics: list[dict[str, float]]


def train(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    transform: InputTransform,
    *,
    progress: bool,
    checkpoint: CheckpointPlace | None = None,
    ranks: Ranks = ALONE,
    compute: Compute | None = None,
) -> TrainingTrace:
    """The trace of a run; ``model`` is trained in place, and holds the averaged weights if the run averages them.

    Private runs take ``n_steps`` noisy updates of ``config.privacy``, empty draws included. Runs
    without privacy take shuffled batches of ``config.ordinary``.

    Promise:
        Every draw, shift and noise is a function of the run's entropy and of the step. So physical batches and
        ranks change an update by float32 rounding only, and a run that was killed and goes on from its checkpoint
        ends with the same bits as one that was not (same physical batches, ranks and machine). Masks of dropout and
        stochastic depth are the exception: they are repeatable, but each rank and physical batch has its own. No
        global generator is read or moved.

    Args:
        model: On any device; is moved to ``compute``'s and stays there.
        data: The training set, the same on every rank.
        config: The choices of the run.
        transform: How pixels become input of this model.
        progress: Show a bar.
        checkpoint: Where to go on from, if something is there, and where to write; None for neither.
        ranks: The processes that train this run together; all of them call this function.
        compute: Where to compute; None finds out.

    Raises:
        UserError: The public-only reference has nothing to train, the unit is the patient but the patients are
            not known, or the checkpoint is of another run.
        DivergedError: Loss or gradients are no longer finite. Never of a private run, whose end would tell of its
            images.
    """
    if config.optimisation is None:
        raise UserError("the public-only reference does not train; evaluate it as it is")
    compute = compute or find_compute(config.precision, ranks.local_rank)
    units = None if config.privacy is None else _units(data, config)
    prepare_model(model, compute)
    model.train()
    try:
        with ExitStack() as stack:
            keeper = None
            if units is not None:
                keeper = attach(model)
                stack.callback(keeper.detach)
            else:
                stack.enter_context(fast_depthwise(model))
            run = _Run(model, keeper, config, ranks, compute)
            return _run_steps(run, data, units, transform, checkpoint, progress)
    finally:
        model.eval()


def _units(data: TrainingData, config: RunConfig) -> PrivacyUnits:
    assert config.privacy is not None
    if data.patient_ids is not None:
        return units_of(config.privacy, data.patient_ids)
    if config.privacy.privacy_unit == "patient":
        raise UserError("privacy_unit 'patient' needs to know whose images they are; give TrainingData patient_ids")
    return units_of(config.privacy, np.arange(data.n_images))


def _run_steps(
    run: _Run,
    data: TrainingData,
    units: PrivacyUnits | None,
    transform: InputTransform,
    place: CheckpointPlace | None,
    progress: bool,
) -> TrainingTrace:
    """All steps that are still to do; the trace of all of them, those before a restart included."""
    last_written = time.monotonic()
    config, ranks = run.config, run.ranks
    choice = config.privacy or config.ordinary
    assert choice is not None
    state = _begin(run, place)
    if units is not None:
        drawn = private_batches(config, units, state.streams, ranks, first_step=state.next_step)
    else:
        drawn = ordinary_batches(config, data.n_images, state.streams, ranks, first_step=state.next_step)
    bar = tqdm(
        range(state.next_step, choice.n_steps),
        initial=state.next_step,
        total=choice.n_steps,
        desc="steps",
        disable=not (progress and ranks.is_first),
        mininterval=2,
    )
    with LoadAhead(partial(load_batch, data, transform, device=run.compute.device), drawn) as batches:
        for step in bar:
            _take_step(run, state, _of_step(step, batches))
            if place is not None and ranks.is_first and time.monotonic() - last_written >= place.every_seconds:
                write_checkpoint(place, _as_checkpoint(run, state))
                last_written = time.monotonic()
    if state.average is not None:
        use_average(state.average, run.model)
    return TrainingTrace(pd.DataFrame(state.ledger), pd.DataFrame(state.diagnostics), batches.seconds_waited)


def _begin(run: _Run, place: CheckpointPlace | None) -> _Progress:
    """The state before the next step, the same on every rank: from the checkpoint if there is one."""
    config, ranks = run.config, run.ranks
    assert config.optimisation is not None
    found = from_first(ranks, lambda: read_checkpoint(place) if place is not None else None)
    optimizer = make_optimizer(run.model, config.optimisation)
    if found is not None:
        run.model.load_state_dict(found.model)
        optimizer.load_state_dict(found.optimizer)
    same_weights(ranks, run.model)
    average = start_average(run.model) if config.ema_decay > 0 else None
    if found is None:
        fresh = seeded_streams(config.seed) if config.randomness == "seeded" else secret_streams()
        return _Progress(0, RandomStreams(agree(ranks, fresh.entropy)), optimizer, average, [], [])
    if average is not None:
        assert found.average is not None  # whether there is one is part of the identity of a checkpoint
        for name, value in average.items():
            value.copy_(found.average[name])
    streams = RandomStreams(found.entropy)
    return _Progress(found.next_step, streams, optimizer, average, list(found.ledger), list(found.diagnostics))


def _as_checkpoint(run: _Run, state: _Progress) -> Checkpoint:
    return Checkpoint(
        next_step=state.next_step,
        entropy=state.streams.entropy,
        model=run.model.state_dict(),
        average=state.average,
        optimizer=state.optimizer.state_dict(),
        ledger=state.ledger,
        diagnostics=state.diagnostics,
    )


def _of_step(step: int, batches: Iterator[LoadedBatch]) -> Iterator[LoadedBatch]:
    """The next batches up to the last one of ``step``."""
    while True:
        batch = next(batches)
        # the noise of a step must fall on the draws of that step and on no others
        assert batch.drawn.step == step, f"batch of step {batch.drawn.step} in step {step}"
        yield batch
        if batch.drawn.is_last:
            return


def _take_step(run: _Run, state: _Progress, batches: Iterator[LoadedBatch]) -> None:
    """One update of the model; ``state`` is then that before the next step."""
    config, step = run.config, state.next_step
    choice = config.privacy or config.ordinary
    assert config.optimisation is not None
    assert choice is not None
    parameters = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    rate = learning_rate_at(step, choice.n_steps, config.optimisation)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    with _chance_of_layers(run, state):
        seen = _add_gradients(run, batches)
    if config.privacy is not None:
        privatise(parameters, config.privacy, state.streams, step, rank=run.ranks.rank, world_size=run.ranks.world_size)
    sum_gradients(run.ranks, parameters)
    if _has_diverged(config, seen):
        raise DivergedError(f"the loss is {seen['loss']} at step {step}; lower learning_rate ({rate:.3g})")
    if config.privacy is None:
        _divide_gradients(parameters, int(seen["n_drawn"]))
    state.optimizer.step()
    if state.average is not None:
        update_average(state.average, run.model, decay=config.ema_decay, step=step)
    noise_std = config.privacy.noise_std if config.privacy is not None else 0.0
    state.ledger.append({"step": step, "learning_rate": rate, "noise_std": noise_std})
    state.diagnostics.append({"step": step, **seen})
    state.next_step += 1


def _has_diverged(config: RunConfig, seen: dict[str, float]) -> bool:
    if config.kind == "private" or seen["n_drawn"] == 0:
        return False
    if config.kind == "ablation":  # a single image without a finite gradient counts as zero there, and may
        return seen["n_non_finite"] == seen["n_drawn"]
    return not math.isfinite(seen["loss"])


@contextmanager
def _chance_of_layers(run: _Run, state: _Progress) -> Iterator[None]:
    """Dropout and the like, which know only torch's own generator, get a seed of the step; then it is put back."""
    device = run.compute.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed = state.streams.seed("augmentation", state.next_step, 1 + run.ranks.rank)
        number = int(seed.generate_state(1, np.uint64)[0])
        # not torch.manual_seed, which notes for every kind of device that is not there where it was called from
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.manual_seed(number)
        yield


def _add_gradients(run: _Run, batches: Iterator[LoadedBatch]) -> dict[str, float]:
    """Add the (clipped) gradient sum of ``batches`` into ``.grad``; return what all ranks saw on the way."""
    losses, norms, n_units, n_non_finite = [], [torch.zeros(0, dtype=torch.float64)], 0, 0
    for batch in batches:
        of_rows = _weighted_losses(run, batch)
        n_units += len(batch.drawn.rows_per_unit)
        if run.keeper is not None and run.config.privacy is not None:
            report = run.keeper.add_clipped_sum(
                of_rows,
                run.config.privacy.max_grad_norm,
                rows_per_unit=batch.drawn.rows_per_unit.tolist(),
                clipping=run.config.privacy.clipping,
            )
            norms.append(report.norms)
            n_non_finite += report.n_non_finite
        elif len(of_rows):
            of_rows.sum().backward()
        losses.append(of_rows.detach())
    mine = (torch.cat(losses).cpu().double(), torch.cat([norm.cpu() for norm in norms]), n_units, n_non_finite)
    every_loss, every_norm, every_n_units, every_n_non_finite = zip(*gather(run.ranks, mine), strict=True)
    n_drawn = sum(every_n_units)
    seen = {"n_drawn": n_drawn, "loss": float(torch.cat(every_loss).sum()) / n_drawn if n_drawn else math.nan}
    if run.config.privacy is not None:
        all_norms = torch.cat(every_norm)
        over = (all_norms > run.config.privacy.max_grad_norm).double()
        seen |= {
            "median_norm": float(all_norms.nanmedian()) if n_drawn else math.nan,
            "share_clipped": float(over.mean()) if n_drawn else math.nan,
            "n_non_finite": sum(every_n_non_finite),
        }
    return seen


def _weighted_losses(run: _Run, batch: LoadedBatch) -> Tensor:
    """``(n_rows,)`` float32 losses; those of a unit add up to its average loss."""
    pictures, labels = to_device(batch.pictures, run.compute), to_device(batch.labels, run.compute)
    if len(labels) == 0:
        return torch.zeros(0, device=run.compute.device)
    with autocast(run.compute):
        logits = run.model(pictures)
    weights = to_device(torch.from_numpy(batch.drawn.weights), run.compute)
    return loss_per_image(logits.float(), labels) * weights


def _divide_gradients(parameters: list[nn.Parameter], n_images: int) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(n_images)


def predict(
    model: nn.Module,
    images: np.ndarray,
    transform: InputTransform,
    batch_size: int = 64,
    *,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Scores of ``images``: ``(n, 5)`` float32 probabilities in the order of ``FINDINGS``.

    Args:
        model: A classifier with five outputs; evaluated in eval mode, where its parameters are.
        images: ``(n_stored, size, size)`` uint8; may be memory-mapped, and is never read as a whole.
        transform: How pixels become input of this model.
        batch_size: Images at once; on a CPU, larger batches leave its caches and are slower.
        rows: ``(n,)`` which of ``images`` to score; None for all, in order.
    """
    return outputs_of(
        model, lambda batch: torch.sigmoid(model(batch)), len(FINDINGS), images, transform, batch_size, rows
    )
