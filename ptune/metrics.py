"""The field's official metrics, in percent, and intervals around them.

Their libraries are imported where they are called: a mistake in the settings should not wait for them.
"""

from __future__ import annotations

import math
import re
import string
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RESAMPLES = 1000
REPORTED, REPORT_KEYS = ("precision", "recall", "f1"), ("precision", "recall", "f1-score")
PREDICATE = ("V", "C-V")
PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of equal labels, in percent."""
    from sklearn.metrics import accuracy_score

    return 100.0 * float(accuracy_score(gold, predicted))


def f1_macro(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Unweighted mean of the F1 of each class, in percent: SuperGLUE's second metric of CB."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(gold, predicted, average="macro", zero_division=0))


def f1(gold: Sequence[str], predicted: Sequence[str], positive: str) -> float:
    """F1 of one of two labels, in percent: GLUE's metric of MRPC and QQP beside accuracy."""
    from sklearn.metrics import f1_score

    return 100.0 * float(f1_score(gold, predicted, pos_label=positive, zero_division=0))


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Linear correlation, times 100: GLUE's metric of STS-B; 0 where one side is constant."""
    from scipy.stats import pearsonr

    return 100.0 * float(pearsonr(gold, predicted).statistic) if varies(gold) and varies(predicted) else 0.0


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Correlation of ranks, times 100: GLUE's second metric of STS-B; 0 where one side is constant."""
    from scipy.stats import spearmanr

    return 100.0 * float(spearmanr(gold, predicted).statistic) if varies(gold) and varies(predicted) else 0.0


def varies(numbers: Sequence[float]) -> bool:
    """Whether there are two different numbers, as a correlation needs."""
    return len(set(numbers)) > 1


def mcc(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Matthews correlation in percent: the metric of SuperGLUE's AX-b and GLUE's CoLA; 0 for a side of one label."""
    from sklearn.metrics import matthews_corrcoef

    return 100.0 * float(matthews_corrcoef(gold, predicted))


def products(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Of each pair of numbers [n] what a correlation adds up, [n, 6]; both sides are moved to their mean, for accuracy.

    Of two classes' indices the correlation is Matthews's.
    """
    x, y = gold - gold.mean(), predicted - predicted.mean()
    return np.stack([x, y, x * y, x**2, y**2, np.ones(len(x))], 1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson's correlation, times 100, of sums [..., 6] of `products`; 0 where one side is constant."""
    gold_sum, predicted_sum, product_sum, gold_squares, predicted_squares, n = np.moveaxis(sums, -1, 0)
    spread = np.maximum(gold_squares - gold_sum**2 / n, 0) * np.maximum(predicted_squares - predicted_sum**2 / n, 0)
    is_constant = spread <= 1e-12 * gold_squares * predicted_squares  # what is left of rounding
    return np.where(
        is_constant,
        0.0,
        100.0 * (product_sum - gold_sum * predicted_sum / n) / np.sqrt(np.where(is_constant, 1.0, spread)),
    )


def ranks(numbers: np.ndarray) -> np.ndarray:
    """The rank of each number, of equals their mean: Spearman's correlation is Pearson's of these."""
    from scipy.stats import rankdata

    ranking: np.ndarray = rankdata(numbers)
    return ranking


def mean_of_means(values: np.ndarray, groups: Sequence[str] | np.ndarray) -> float:
    """The mean of the groups' means of values from 0 to 1, in percent: LAMA's macro-average over relations."""
    _, group = np.unique(groups, return_inverse=True)
    return 100.0 * float((np.bincount(group, weights=values) / np.bincount(group)).mean())


def parity(predicted: Sequence[str], groups: Sequence[str]) -> float:
    """Share of groups whose predictions are all the same, in percent: SuperGLUE's gender parity of AX-g."""
    labels_by_group: dict[str, set[str]] = {}
    for value, group in zip(predicted, groups, strict=True):
        labels_by_group.setdefault(group, set()).add(value)
    return 100.0 * sum(len(values) == 1 for values in labels_by_group.values()) / len(labels_by_group)


def answer_sets(gold: Sequence[bool], predicted: Sequence[bool], groups: Sequence[str]) -> dict[str, float]:
    """Scores in percent of answers that are right or not, a group a question, as MultiRC's script has them.

    f1a: binary F1 over all answers (Khashabi et al. 2018); em: share of questions with every answer right; f1m: F1 of
    the mean precision and the mean recall of questions, where a ratio without a denominator is 1.
    """
    from sklearn.metrics import f1_score

    counts = answer_counts(gold, predicted, groups)
    return {
        "f1a": 100.0 * float(f1_score(gold, predicted, zero_division=0)),
        "em": mean_percent(exact(counts).astype(float).tolist()),
        "f1m": f1_of_means(counts),
    }


def exact(counts: np.ndarray) -> np.ndarray:
    """Of the rows of `answer_counts` [n, 3], whether all that is predicted is right and all that is right predicted."""
    correct, predicted, gold = counts.T
    is_exact: np.ndarray = (correct == predicted) & (correct == gold)
    return is_exact


def f1_of_means(counts: np.ndarray) -> float:
    """`answer_sets`' f1m from the rows of `answer_counts` [n, 3]."""
    correct, *ns = counts.T
    ratios = [np.divide(correct, n, out=np.ones(len(n)), where=n > 0).tolist() for n in ns]
    precision, recall = (sum(values) / len(values) for values in ratios)
    return 100.0 * 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def answer_ratios(counts: np.ndarray) -> np.ndarray:
    """Precision and recall of each row of `answer_counts` [n, 3], and 1: their sums give `f1_of_ratios`, [n, 3]."""
    correct, *ns = counts.T
    ratios = [np.divide(correct, n, out=np.ones(len(n)), where=n > 0) for n in ns]
    return np.stack([*ratios, np.ones(len(counts))], 1)


def f1_of_ratios(sums: np.ndarray) -> np.ndarray:
    """`f1_of_means` from sums [..., 3] of `answer_ratios`."""
    precision, recall, n = np.moveaxis(sums, -1, 0)
    return 100.0 * 2 * ratio(precision * recall, (precision + recall) * n)


def answer_counts(gold: Sequence[bool], predicted: Sequence[bool], groups: Sequence[str]) -> np.ndarray:
    """Rightly predicted, predicted and gold answers of each question, [n, 3], in the order of their first answer."""
    counts: dict[str, list[int]] = {}
    for is_gold, is_predicted, group in zip(gold, predicted, groups, strict=True):
        row = counts.setdefault(group, [0, 0, 0])
        row[0] += is_gold and is_predicted
        row[1] += is_predicted
        row[2] += is_gold
    return np.array(list(counts.values()), dtype=float)


def spans(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Entity-level precision, recall and F1 in percent, micro-averaged, by seqeval.

    `f1` is seqeval's default mode, which equals conlleval; `f1_strict` counts an entity only in valid IOB2.
    """
    from seqeval.metrics import f1_score
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    tag_lists = ([list(tags) for tags in gold], [list(tags) for tags in predicted])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where a ratio is undefined; zero_division says 0
        precision, recall, micro_f1, _ = precision_recall_fscore_support(*tag_lists, average="micro", zero_division=0)
        return {
            "f1": 100.0 * float(micro_f1),
            "precision": 100.0 * float(precision),
            "recall": 100.0 * float(recall),
            "f1_strict": 100.0 * float(f1_score(*tag_lists, mode="strict", scheme=IOB2, zero_division=0)),
        }


def span_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """`spans`' f1 alone."""
    from seqeval.metrics import f1_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 100.0 * float(f1_score([*map(list, gold)], [*map(list, predicted)], zero_division=0))


def span_report(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each type in percent, and its gold entities, as seqeval's report has them."""
    from seqeval.metrics import classification_report

    tag_lists = ([list(tags) for tags in gold], [list(tags) for tags in predicted])
    if not any(tag != "O" for sequences in tag_lists for tags in sequences for tag in tags):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = classification_report(*tag_lists, output_dict=True, zero_division=0)
    means = ("micro avg", "macro avg", "weighted avg")
    return [report_row(kind, row) for kind, row in report.items() if kind not in means]


def span_confusions(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """How often spans with the same ends are of one type in `gold` and of another in `predicted`; the type is O on the
    side that has no span with these ends. Pairs that do not occur are left out."""
    from seqeval.metrics.sequence_labeling import get_entities

    counts: Counter[tuple[str, str]] = Counter()
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        gold_spans, predicted_spans = (
            {span[1:]: span[0] for span in get_entities(list(tags))} for tags in (gold_tags, predicted_tags)
        )
        counts.update(
            (gold_spans.get(ends, "O"), predicted_spans.get(ends, "O"))
            for ends in gold_spans.keys() | predicted_spans.keys()
        )
    return [
        {"gold": gold_type, "predicted": predicted_type, "count": n}
        for (gold_type, predicted_type), n in sorted(counts.items())
    ]


def label_report(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each label in percent, and how often it is the right one, by scikit-learn."""
    from sklearn.metrics import classification_report

    report = classification_report(gold, predicted, labels=list(labels), output_dict=True, zero_division=0)
    return [report_row(label, report[label]) for label in labels]


def report_row(label: str, row: Mapping[str, float]) -> dict[str, Any]:
    """A row of scikit-learn's or seqeval's report, in percent."""
    figures = {name: 100.0 * float(row[key]) for name, key in zip(REPORTED, REPORT_KEYS, strict=True)}
    return {"label": label, "gold": int(row["support"]), **figures}


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    """How often each label was said where each was right, by scikit-learn; pairs that do not occur are left out."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(gold, predicted, labels=list(labels)).tolist()
    return [
        {"gold": gold_label, "predicted": predicted_label, "count": count}
        for gold_label, row in zip(labels, counts, strict=True)
        for predicted_label, count in zip(labels, row, strict=True)
        if count
    ]


def span_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Correct, predicted and gold entities of each sentence, [n, 3]; their sums give seqeval's F1."""
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(gold), 3))
    for i, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        gold_entities, predicted_entities = set(get_entities(list(gold_tags))), set(get_entities(list(predicted_tags)))
        counts[i] = len(gold_entities & predicted_entities), len(predicted_entities), len(gold_entities)
    return counts


def strict_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """`span_counts` of entities in valid IOB2 alone; their sums give seqeval's F1 in its strict mode."""
    from seqeval.scheme import IOB2, Entities

    gold_entities, predicted_entities = (
        Entities([list(tags) for tags in sequences], IOB2).entities for sequences in (gold, predicted)
    )
    pairs = [
        ({*gold_spans}, {*predicted_spans})
        for gold_spans, predicted_spans in zip(gold_entities, predicted_entities, strict=True)
    ]
    return np.array(
        [
            [len(gold_spans & predicted_spans), len(predicted_spans), len(gold_spans)]
            for gold_spans, predicted_spans in pairs
        ],
        dtype=float,
    )


def roles(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Scores of semantic roles in percent, a sequence of BIO tags a predicate.

    `f1`, `precision` and `recall` as srl-eval.pl of CoNLL-2005 counts them; `f1_seqeval` is seqeval's over all tags
    (what the published P-Tuning v2 code reports), `f1_seqeval_no_v` the same without the predicates' V and C-V, which
    is the rest of a V: srl-eval.pl counts neither.
    """
    correct, n_predicted, n_gold = (float(count) for count in role_counts(gold, predicted).sum(0))
    return {
        "f1": 100.0 * 2 * correct / (n_predicted + n_gold) if n_predicted + n_gold else 0.0,
        "precision": 100.0 * correct / n_predicted if n_predicted else 0.0,
        "recall": 100.0 * correct / n_gold if n_gold else 0.0,
        "f1_seqeval": span_f1(gold, predicted),
        "f1_seqeval_no_v": span_f1(without_predicates(gold), without_predicates(predicted)),
    }


def without_predicates(sequences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tags without the predicates' own."""
    return [["O" if tag[2:] in PREDICATE else tag for tag in tags] for tags in sequences]


def role_report(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The table of srl-eval.pl: a role's correct, excess and missed arguments, precision, recall and F1 in percent."""
    counts: dict[str, list[int]] = {}
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        gold_args, predicted_args = arguments(gold_tags), arguments(predicted_tags)
        for column, role_args in enumerate(
            (gold_args & predicted_args, predicted_args - gold_args, gold_args - predicted_args)
        ):
            for role, _ in role_args:
                counts.setdefault(role, [0, 0, 0])[column] += 1
    rows = []
    for role, (correct, excess, missed) in sorted(counts.items()):
        figures = (
            correct / (correct + excess) if correct + excess else 0.0,
            correct / (correct + missed) if correct + missed else 0.0,
            2 * correct / (2 * correct + excess + missed),
        )
        percent = {name: 100.0 * figure for name, figure in zip(REPORTED, figures, strict=True)}
        rows.append({"label": role, "correct": correct, "excess": excess, "missed": missed, **percent})
    return rows


def role_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Correct, predicted and gold arguments of each predicate, [n, 3]; their sums give srl-eval.pl's figures."""
    counts = np.zeros((len(gold), 3))
    for i, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted, strict=True)):
        gold_args, predicted_args = arguments(gold_tags), arguments(predicted_tags)
        counts[i] = len(gold_args & predicted_args), len(predicted_args), len(gold_args)
    return counts


def arguments(tags: Sequence[str]) -> set[tuple[str, tuple[tuple[int, int], ...]]]:
    """The arguments of a predicate, (role, its spans), as srl-eval.pl reads them (Carreras and Marquez 2005).

    A span C-X goes on with the last X before it, and the two are one argument; without one it is an X itself. The
    predicate's own V does not count.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    role_spans: list[tuple[str, list[tuple[int, int]]]] = []
    for label, first, last in get_entities(list(tags)):
        role = label.removeprefix("C-")
        open_arguments = [argument for argument in role_spans if role != label and argument[0] == role]
        if open_arguments:
            open_arguments[-1][1].append((first, last))
        else:
            role_spans.append((role, [(first, last)]))
    return {(role, tuple(ends)) for role, ends in role_spans if role != "V"}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Ratios; 0 where there is nothing to divide by."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def share(sums: np.ndarray) -> np.ndarray:
    """The first of sums [..., 2] as a share of the second, in percent."""
    return 100.0 * ratio(sums[..., 0], sums[..., 1])


def shares(each: np.ndarray) -> np.ndarray:
    """Values [n] from 0 to 1 beside ones, [n, 2]: `share` of their sums is their mean, in percent."""
    return np.stack([each, np.ones(len(each))], 1)


def f1_of_counts(sums: np.ndarray) -> np.ndarray:
    """F1 in percent of sums [..., 3] of `span_counts`."""
    correct, predicted, gold = np.moveaxis(sums, -1, 0)
    return 100.0 * 2 * ratio(correct, predicted + gold)


def precision_of_counts(sums: np.ndarray) -> np.ndarray:
    """Precision in percent of sums [..., 3] of `span_counts`."""
    return 100.0 * ratio(sums[..., 0], sums[..., 1])


def recall_of_counts(sums: np.ndarray) -> np.ndarray:
    """Recall in percent of sums [..., 3] of `span_counts`."""
    return 100.0 * ratio(sums[..., 0], sums[..., 2])


def answer_words(text: str) -> list[str]:
    """An answer as SQuAD's scorers compare it: words in lower case, without ASCII punctuation and articles."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def answer_scores(gold: Sequence[str], predicted: str, nothing: bool = False) -> tuple[float, float]:
    """Exact match and word F1 (0 to 1) with the closest of one question's answers, as SQuAD's official scorers do it.

    nothing: SQuAD 2.0's rules (evaluate-v2.0.py), where "" is an answer, and the right one where `gold` has none;
    else those of 1.1 (evaluate-v1.1.py, Rajpurkar et al. 2016).
    """
    if nothing:
        gold = [text for text in gold if answer_words(text)] or [""]
    predicted_words = answer_words(predicted)
    pairs = [_compared(answer_words(text), predicted_words, nothing) for text in gold]
    return max(exact_match for exact_match, _ in pairs), max(word_f1 for _, word_f1 in pairs)


def _compared(wanted: Sequence[str], found: Sequence[str], nothing: bool) -> tuple[float, float]:
    exact_match = float(wanted == found)
    if nothing and not (wanted and found):
        return exact_match, exact_match
    common = sum((Counter(wanted) & Counter(found)).values())
    if not common:
        return exact_match, 0.0
    precision, recall = common / len(found), common / len(wanted)
    return exact_match, 2 * precision * recall / (precision + recall)


def bleu_counts(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> np.ndarray:
    """Of each text [N, 10]: n-grams found (1 to 4), those there are, and the lengths of it and of the closest good one.

    Counted by sacrebleu, which tokenizes as mteval-v13a does.
    """
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, list(refs)) for text, refs in zip(predicted, gold, strict=True)]
    return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores]).reshape(-1, 10)


def bleu_of_counts(sums: np.ndarray) -> np.ndarray:
    """sacrebleu's BLEU of a corpus, in percent, from sums [..., 10] of the counts of its texts."""
    from sacrebleu.metrics.bleu import BLEU

    def bleu(total: list[int]) -> float:
        return float(BLEU.compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="exp").score)

    return np.reshape([bleu(total) for total in np.rint(sums).astype(int).reshape(-1, 10).tolist()], sums.shape[:-1])


def chrf(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    """sacrebleu's chrF2 of a corpus, in percent; texts may have different numbers of good ones."""
    from sacrebleu.metrics.chrf import CHRF

    max_refs = max(len(refs) for refs in gold)
    streams: list[Any] = [[refs[i] if i < len(refs) else None for refs in gold] for i in range(max_refs)]
    return float(CHRF().corpus_score(list(predicted), streams).score)


def rouge_l(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> list[float]:
    """F1 of the longest common subsequence of words with the good text that is nearest, each from 0 to 1."""
    from absl import logging
    from rouge_score.rouge_scorer import RougeScorer

    # Its handler would close what it found as stderr whenever Python's logging is set up anew.
    logging.get_absl_handler().python_handler.stream = sys.__stderr__
    scorer = RougeScorer(["rougeL"])
    pairs = zip(gold, predicted, strict=True)
    return [float(scorer.score_multi(list(refs), text)["rougeL"].fmeasure) for refs, text in pairs]


def mean_percent(scores: Sequence[float]) -> float:
    """Their mean in percent, added up in their order, as the official scorers do: equal to the last digit."""
    return 100.0 * sum(scores) / len(scores)


def best_threshold(
    scores: Sequence[float], odds: Sequence[float], answerable: Sequence[bool], answered: Sequence[bool]
) -> tuple[float, float]:
    """The best mean score in percent that a threshold reaches, and the threshold: above it a question has no answer.

    scores: of each question as predicted; odds: of no answer; answered: whether the prediction is one. Raising the
    threshold question by question from "none is answered", as SQuAD 2.0's official scorer does.
    """
    total = best_total = float(len(answerable) - sum(answerable))
    threshold = 0.0
    for i in sorted(range(len(odds)), key=lambda i: odds[i]):
        if answerable[i]:
            total += scores[i]
        elif answered[i]:
            total -= 1
        if total > best_total:
            best_total, threshold = total, odds[i]
    return 100.0 * best_total / len(scores), threshold


def binomial(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, in percent."""
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(method="wilson")
    return 100.0 * interval.low, 100.0 * interval.high


def bootstrap(statistic: Callable[[np.ndarray], float], n: int, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile interval of `statistic(indices)` over resampled examples."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def one_hot(places: np.ndarray, n: int) -> np.ndarray:
    """1 at each one's place of n and 0 elsewhere, [len(places), n]."""
    return np.eye(n)[places]


def macro_of_confusion(sums: np.ndarray) -> np.ndarray:
    """`f1_macro` from confusions [..., C * C], the rows of which are the gold classes."""
    classes = math.isqrt(sums.shape[-1])
    table = sums.reshape(*sums.shape[:-1], classes, classes)
    totals = table.sum(-1) + table.sum(-2)
    class_f1 = 2 * ratio(np.diagonal(table, axis1=-2, axis2=-1), totals)
    return 100.0 * ratio(class_f1.sum(-1), (totals > 0).sum(-1))


def mean_of_shares(sums: np.ndarray) -> np.ndarray:
    """`mean_of_means` from sums [..., 2 * G]: what is right of each group, then how many there are of each."""
    correct, n = np.split(sums, 2, axis=-1)
    return 100.0 * ratio(ratio(correct, n).sum(-1), (n > 0).sum(-1))
