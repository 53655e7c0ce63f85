"""A `Diagnosis` as text for people, and as JSON for programs."""

import json

from seqsearch_fairseq.diagnosis.advice import advice
from seqsearch_fairseq.diagnosis.measures import Diagnosis


def as_text(found: Diagnosis, what: str) -> str:
    """A line a figure, with its sentence under it. `what` names the data."""
    says, beam = advice(found), f"beam {found.beam}"
    rows = [
        (
            "exposure_bias",
            f"{found.exposure_bias:.2f} bits a token",
            f"{found.free_running_bits:.2f} after the model's own greedy output, {found.gold_bits:.2f} after gold",
        ),
        (
            "beam_gain",
            f"{found.beam_gain:+.2f} {found.quality}",
            f"{beam} {found.beam_log_probs:.2f}, greedy {found.greedy:.2f}",
        ),
        (
            "label_bias",
            f"{found.label_bias:+.2f} {found.quality}",
            f"{beam} over logits {found.beam_logits:.2f}, over log-probs {found.beam_log_probs:.2f}",
        ),
        (
            "oracle_gain",
            f"{found.oracle_gain:+.2f} {found.quality}",
            f"the best of the {found.beam} {found.oracle:.2f}, the first {found.beam_log_probs:.2f}",
        ),
        ("search_errors", f"{found.search_errors:.2f} % of sentences", f"the gold scores above all that {beam} found"),
    ]
    lines = [f"{what}: {found.sentences} sentences, {found.tokens} tokens"]
    for name, figure, parts in rows:
        lines += ["", f"{name.replace('_', ' '):<15}{figure}   ({parts})", f"    {says[name]}"]
    return "\n".join(lines)


def as_json(found: Diagnosis) -> str:
    """One object: the figures, and the sentences under `advice`."""
    derived = {name: getattr(found, name) for name in ("exposure_bias", "beam_gain", "label_bias", "oracle_gain")}
    return json.dumps({**found._asdict(), **derived, "advice": advice(found)}, indent=2)
