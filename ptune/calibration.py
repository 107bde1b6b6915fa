"""Contextual calibration of a model that is not trained (Zhao et al. 2021, arXiv 2102.09690).

Of two texts every field says the same nothing: where a model takes that for an answer, as "Yes, it follows",
calibration takes it away.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptune.batch import Draw, Example
from ptune.data.rendered import Rendered
from ptune.heads.verbalizer import Verbalizer
from ptune.model import Model

if TYPE_CHECKING:
    from ptune.tasks import Task

CONTENT_FREE = ("N/A", "", "[MASK]")  # what every field says in turn


def calibrate(model: Model, member: int, task: Task, max_len: int) -> None:
    """Shift the head's scores by the log-probabilities that texts without content get on average."""
    model_member = model.member(member)
    assert isinstance(model_member.head, Verbalizer)
    examples = [Example(f"content-free {i}", dict.fromkeys(task.fields, text)) for i, text in enumerate(CONTENT_FREE)]
    rendered = Rendered(examples, task, model_member.template, max_len)
    model.eval()
    model_member.head.shift.zero_()
    batch = rendered.batch(range(len(examples)), Draw(0, 0), "content-free").to(model.device)
    with model.without_gradients(), model.hidden([(member, batch)]) as ((head, hidden, _),):
        logp = head.logits(hidden, batch).float().log_softmax(-1)  # of several tokens they are too small for a float
    model_member.head.shift.copy_(math.log(len(logp)) - logp.logsumexp(0))
