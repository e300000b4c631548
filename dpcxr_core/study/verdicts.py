"""The paper's six claims, each with a test fixed in code, the same for every study.

A claim has parts, a part one contrast in every regime: data set, network, privacy unit, share of the patients and level
of privacy. All contrasts of a claim are one family, with Holm's correction. How much seeds vary is pooled over the
regimes of one contrast and data set, and a contrast that has no second seed to tell it is not decided.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.comparing.gap_differences import less_unequal_noise
from dpcxr_core.evaluation.comparing.multiplicity import holm, with_adjusted_p
from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS, LEVEL, table_over_seeds
from dpcxr_core.study import claim_contrasts
from dpcxr_core.study.claim_contrasts import REGIME, Contrast, Roles
from dpcxr_core.study.scored_cells import ScoredCells

IN_FAVOUR, AGAINST, OPEN, MISSING = "in favour", "against", "not distinguishable", "missing"
UNMEASURABLE = "cannot be measured"
_UNDEFINED = "no finding can be measured in every group"
Rule = Literal["everywhere", "somewhere", "either way"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, and what would decide it.

    Attributes:
        number: As in the paper's list.
        text: The claim.
        source: Where the paper's words are known from: its "abstract", or a "second-hand digest" of its text.
        test: What is measured; in favour of the claim where it is positive.
        contrasts: What is subtracted from what.
        rule: What each part of the claim needs to be supported. "everywhere": every contrast is in favour, and it is
            contradicted where one is against. "somewhere": one is in favour and none against. "either way": one
            differs from 0; such a claim is never contradicted, as no test shows that nothing changes. Contrasts that
            these data cannot measure, as where age bands share no finding, count for nothing, unless a part has no
            others: then it is not decided.
    """

    number: int
    text: str
    source: Literal["abstract", "second-hand digest"]
    test: str
    contrasts: Callable[[ScoredCells, Roles], list[Contrast]]
    rule: Rule


CLAIMS = (
    Claim(
        number=1,
        text="With privacy, self-supervised weights give a higher AUROC than supervised ones, consistently.",
        source="abstract",
        test="macro AUROC at home, self-supervised minus supervised",
        contrasts=claim_contrasts.self_supervised_at_home,
        rule="everywhere",
    ),
    Claim(
        number=2,
        text="Domain weights beat self-supervised ones, and come closest to training without privacy.",
        source="abstract",
        test="macro AUROC at home, domain minus self-supervised; cost of privacy, each other minus domain",
        contrasts=claim_contrasts.domain_at_home,
        rule="everywhere",
    ),
    Claim(
        number=3,
        text="The initialisation changes fairness: self-supervised weights lower the AUROC disparity between ages.",
        source="abstract",
        test="range over age bands of macro AUROC, supervised minus self-supervised, less what unequal noise explains",
        contrasts=claim_contrasts.gap_between_ages,
        rule="somewhere",
    ),
    Claim(
        number=4,
        text="Self-supervised weights improve equalized odds and parity in all regimes.",
        source="second-hand digest",
        test="gaps between sexes and age bands, supervised minus self-supervised, less what unequal noise explains",
        contrasts=claim_contrasts.gaps_between_groups,
        rule="everywhere",
    ),
    Claim(
        number=5,
        text="With privacy, models from self-supervised weights generalise better to other hospitals.",
        source="abstract",
        test="mean macro AUROC over the other hospitals, self-supervised minus supervised",
        contrasts=claim_contrasts.self_supervised_abroad,
        rule="everywhere",
    ),
    Claim(
        number=6,
        text="With privacy, the initialisation changes what more data and a larger network are worth.",
        source="abstract",
        test="gain with more data or another network, of one initialisation minus that of another",
        contrasts=claim_contrasts.gains_by_initialisation,
        rule="either way",
    ),
)

_TESTED = ["part", "contrast", *REGIME, *CONTRAST_COLUMNS]


def claims_table(scored: ScoredCells, roles: Roles) -> pd.DataFrame:
    """Every contrast of every claim, tested as stated; what cannot be measured is there too, with the reason.

    Args:
        scored: Cells of the study. Claims 1 to 5 read the grid "main", claim 6 also "scale" and "capacity".
        roles: Which initialisations are "supervised", "self_supervised" and "domain".

    Returns:
        ``claim text part contrast``, ``REGIME``, the columns of ``paired.table_over_seeds``, ``family p_adjusted
        n_in_family`` and ``verdict``: "in favour", "against", "not distinguishable", "missing" where runs are lacking,
        or "cannot be measured" where they ran and the test patients do not allow it.
    """
    tables = []
    for claim in CLAIMS:
        rows = [row for contrast in claim.contrasts(scored, roles) for row in _tested(contrast)]
        tested = with_adjusted_p(pd.DataFrame(rows, columns=_TESTED), f"claim {claim.number}", holm)
        verdicts = [_side(claim.rule, row) for row in tested.to_dict("records")]
        tables.append(tested.assign(claim=claim.number, text=claim.text, verdict=verdicts))
    columns = ["claim", "text", *_TESTED, "family", "p_adjusted", "n_in_family", "verdict"]
    return pd.concat(tables, ignore_index=True)[columns]


def verdict_per_claim(claims: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: ``claim text source test rule verdict``, and how many contrasts were tested and came out how.

    Args:
        claims: From ``claims_table``.

    Returns:
        ``verdict`` is "supported", "contradicted", "not decided", or "not decided (missing ...)" where what is missing
        could have supported the claim. Counts are ``n_contrasts n_in_favour n_against n_missing n_unmeasurable``, of
        which the first leaves out the last two.
    """
    rows = []
    for claim in CLAIMS:
        table = claims[claims["claim"] == claim.number]
        counts = table["verdict"].value_counts()
        rows.append(
            {
                "claim": claim.number,
                "text": claim.text,
                "source": claim.source,
                "test": claim.test,
                "rule": claim.rule,
                "verdict": _verdict_of(claim.rule, table),
                "n_contrasts": int((~table["verdict"].isin([MISSING, UNMEASURABLE])).sum()),
                "n_in_favour": int(counts.get(IN_FAVOUR, 0)),
                "n_against": int(counts.get(AGAINST, 0)),
                "n_missing": int(counts.get(MISSING, 0)),
                "n_unmeasurable": int(counts.get(UNMEASURABLE, 0)),
            }
        )
    return pd.DataFrame(rows)


def _verdict_of(rule: Rule, table: pd.DataFrame) -> str:
    found = [set(part["verdict"]) - {UNMEASURABLE} for _, part in table.groupby("part", sort=False)]
    parts = [_verdict_of_part(rule, of_part) for of_part in found]
    if "contradicted" in parts:
        return "contradicted"
    if all(part == "supported" for part in parts):
        return "supported"
    lacking = table.loc[table["verdict"] == MISSING, "reason"]
    # what was measured and is open leaves an "everywhere" open, whatever else were there
    if lacking.empty or (rule == "everywhere" and OPEN in set(table["verdict"])):
        return "not decided"
    return f"not decided (missing {', '.join(dict.fromkeys(lacking))})"


def _verdict_of_part(rule: Rule, found: set[str]) -> str:
    if rule == "everywhere":
        if AGAINST in found:
            return "contradicted"
        return "supported" if found == {IN_FAVOUR} else "not decided"
    if {IN_FAVOUR, AGAINST} <= found:
        return "not decided"
    return "supported" if IN_FAVOUR in found else "contradicted" if AGAINST in found else "not decided"


def _side(rule: Rule, row: Mapping[Hashable, Any]) -> str:
    if np.isnan(row["p_adjusted"]):
        return UNMEASURABLE if row["reason"] == _UNDEFINED else MISSING
    if row["p_adjusted"] > LEVEL:
        return OPEN
    return IN_FAVOUR if row["value"] > 0 or rule == "either way" else AGAINST


def _tested(contrast: Contrast) -> list[dict[str, Any]]:
    """A row a regime, or a single one without a regime; how much seeds vary is pooled within a data set."""
    name: dict[Any, Any] = {"part": contrast.part, "contrast": contrast.name}
    rows = []
    for _, in_dataset in contrast.seeds.groupby("dataset", sort=False):
        measured, degrees, regimes = [], [], []
        for _, seeds in in_dataset.groupby(REGIME, sort=False, dropna=False):
            regime, whole = seeds.iloc[0][REGIME].to_dict(), seeds.dropna(subset=[*contrast.needs])
            if whole.empty:
                rows.append({**name, **regime, "n_seeds": 0, "reason": _lacking(seeds[[*contrast.needs]])})
            else:
                measured.append(_measured(contrast, whole))
                degrees.append(min(map(contrast.degrees, whole.to_dict("records"))))
                regimes.append(regime)
        tested = table_over_seeds(measured, np.array(degrees))
        # without any spread between seeds, p would take one training for all there could be
        alone = tested["p"].notna() & tested["se_seeds"].isna()
        reason = tested["reason"].mask(alone, "a second seed").mask(tested["value"].isna(), _UNDEFINED)
        tested = tested.assign(p=tested["p"].mask(alone), reason=reason)
        rows += [{**name, **regime, **row} for regime, row in zip(regimes, tested.to_dict("records"), strict=True)]
    return rows or [{**name, "n_seeds": 0, "reason": ", ".join(contrast.needs)}]


def _measured(contrast: Contrast, seeds: pd.DataFrame) -> NDArray[np.float64]:
    differences, explained = zip(*map(contrast.measure, seeds.to_dict("records")), strict=True)
    return less_unequal_noise(np.stack(differences), np.array(explained))


def _lacking(needed: pd.DataFrame) -> str:
    """What every seed of a regime lacks, or else what some do."""
    absent = needed.isna()
    names = needed.columns[absent.all()] if absent.all().any() else needed.columns[absent.any()]
    return ", ".join(names)
