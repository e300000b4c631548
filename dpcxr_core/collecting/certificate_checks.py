"""Whether the certificate in a run record is the one that the record's own choices give."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from dpcxr_core.accounting.certificate import PrivacyCertificate, privacy_statement
from dpcxr_core.accounting.remembered import remembered_certificate
from dpcxr_core.config import UserError
from dpcxr_core.training.record import RunRecord

# Other versions of the accountants round otherwise, far below this; an epsilon that somebody changed is far above it.
_ROUNDING = 1e-4
_OF_THE_ACCOUNTANTS = ("epsilon_pld", "epsilon_rdp", "epsilon_prv_low", "epsilon_prv")
_OF_THE_MACHINE = ("epsilon_prv_missing_because", "library_versions")  # they may differ from here


def check_certificate(record: RunRecord) -> None:
    """Nothing, if ``record`` promises what its own choices give: computed anew, and compared field by field.

    A run that promises nothing must have no certificate, and no words that sound like one.

    Raises:
        UserError: The certificate, or the statement made of it, is missing, differs, or cannot be.
        AccountantsDisagreeError: As ``certify``.
    """
    run_id, stated, config = record.run_id, record.certificate, record.config
    if config.privacy is None or config.target_epsilon is None:
        if stated or record.privacy_statement:
            raise UserError(f"the run {run_id} is {config.kind} and promises nothing, yet its record has a certificate")
        return
    if stated is None:
        raise UserError(f"the record of the private run {run_id} has no certificate; run it again")
    n_units = config.privacy.n_units_declared
    expected = asdict(remembered_certificate(config.privacy, n_units, config.target_epsilon))
    differing = [
        f"{name} is {stated.get(name, 'not stated')}, not {expected.get(name, 'a field')}"
        for name in {**expected, **stated}
        if not _agree(name, stated.get(name), expected.get(name))
    ]
    if differing:
        raise UserError(
            f"the certificate of {run_id} is not the one that its configuration gives: {'; '.join(differing)}. "
            "Its record was changed, or made by other code; run it again"
        )
    if record.privacy_statement != privacy_statement(PrivacyCertificate(**stated), randomness=config.randomness):
        raise UserError(f"the privacy statement of {run_id} does not say what its certificate says; run it again")


def _agree(name: str, stated: Any, expected: Any) -> bool:
    if name in _OF_THE_MACHINE:
        return True
    if name not in _OF_THE_ACCOUNTANTS:
        return stated == expected
    if stated is None or expected is None:  # the cross-check by PRV could not be computed on one of the machines
        return name.startswith("epsilon_prv")
    return math.isclose(stated, expected, rel_tol=_ROUNDING)
