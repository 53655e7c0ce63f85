"""seqsearch-fairseq: train fairseq's sequence models through the search that decodes them.

This file is what ``--user-dir`` loads. It checks the versions, allow-lists the types that fairseq keeps in its
checkpoints, and imports the rooms that register names with fairseq (tasks, models, criterions, scorers).

Without fairseq the package still imports, and then holds `seqsearch_fairseq.algorithms` only, which needs torch alone.
"""

import logging

from seqsearch_fairseq._versions import check_versions

__version__ = "0.1.0"

check_versions()

logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)  # it asks for tensorboardX at every start

try:
    import fairseq  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fairseq":
        raise
else:
    from seqsearch_fairseq import checkpoints, errors

    errors.install_excepthook()
    checkpoints.allow_fairseq_types()

    from seqsearch_fairseq import criterions, models, scoring, tasks  # noqa: F401
