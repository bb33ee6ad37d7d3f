"""All targets by name."""

from __future__ import annotations

from fuzz import Target, of_files, of_local_files, of_messages, of_records, of_signatures, of_words

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        of_messages.ENVELOPE,
        of_messages.PAYLOAD,
        of_signatures.SIGNATURE,
        of_signatures.CERTIFICATE,
        of_files.ALLOWED_SIGNERS,
        of_files.REVOKED_KEYS,
        of_files.DESCRIPTION,
        of_files.RULES,
        of_records.RECORDS,
        of_local_files.NRPE,
        of_local_files.NODE_FILE,
        of_local_files.FACT_FILE,
        of_local_files.AUDIT_LOG,
        of_local_files.STATE_FILE,
        of_local_files.CONFIGURATION,
        of_words.SELECT,
        of_words.NODESET,
    )
}
