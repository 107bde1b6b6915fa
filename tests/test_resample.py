"""The hierarchical bootstrap: as wide as theory says, paired, repeatable; differences, their correction and budgets."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from finished import RESULT, Write, writer

from ptune import metrics
from ptune.errors import ConfigError, PtuneError
from ptune.evaluate import prediction_row
from ptune.leaves import leaf
from ptune.readers import Record
from ptune.reports import formats, resample, results, tables
from ptune.reports.compare import compare, holm, share_at_most, two_sided
from ptune.reports.expected import best_of, budgets
from ptune.reports.resample import counts, picks
from ptune.reports.results import Run, group_runs, runs
from ptune.sums import Ranked, Sums
from ptune.tasks import Prediction


@pytest.fixture
def write(tmp_path) -> Write:
    """See finished.writer."""
    return writer(tmp_path)


def said(rights: int, n: int = 400) -> str:
    """Of n examples so many right, spread evenly."""
    return "".join("1" if (i + 1) * rights // n > i * rights // n else "0" for i in range(n))


@pytest.mark.parametrize("kind", [Sums, Ranked])
def test_a_resample_is_a_sum(kind):
    """The score of the examples as often as they are drawn, in one product as one by one."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(30, 2)) @ [[1, 0.5], [0, 1]]
    sums = kind(numbers if kind is Ranked else metrics.products(*numbers.T), metrics.correlation)
    drawn = [rng.integers(0, 30, 30) for _ in range(5)]
    weighed = sums.weighed(np.stack([np.bincount(rows, minlength=30) for rows in drawn]))
    assert weighed == pytest.approx([sums.of(rows) for rows in drawn])
    theirs = metrics.spearman if kind is Ranked else metrics.pearson
    assert weighed == pytest.approx([theirs(*numbers[rows].T) for rows in drawn])


def test_documents_are_drawn_whole():
    """What their examples add is added up, in the order of their first ones."""
    each = metrics.shares(np.array([1.0, 0.0, 1.0, 1.0]))
    sums = Sums(each, metrics.share, share=True).over(["x", "y", "x", "y"])
    assert sums.each.tolist() == [[2, 2], [1, 2]]
    assert not sums.share
    assert sums.of(np.array([0, 0])) == 100.0


def test_paragraphs_and_sentences_are_documents(settings, tmp_path):
    """MultiRC's questions about a paragraph, and a sentence's predicates, are not independent."""
    task = leaf(settings("task=multirc", "method=majority", "data=demo").task)
    rows = [
        {
            "idx": {"paragraph": p, "question": q, "answer": a},
            "paragraph": f"p{p}",
            "question": f"q{q}",
            "answer": f"a{a}",
        }
        for p, q, a in itertools.product(range(3), range(2), range(2))
    ]
    examples = [task.example(Record("x:1", {**row, "label": row["idx"]["answer"]}), i) for i, row in enumerate(rows)]
    predictions = [Prediction(task.labels[i % 3 > 0]) for i in range(len(examples))]
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [json.dumps(prediction_row(*both)) for both in zip(examples, predictions, strict=True)]
    (folder / "predictions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    score = task.score(examples, predictions)["f1a"]
    result = {**RESULT, "metric": "f1a", "score": score}
    config = {"task": settings("task=multirc", "method=majority", "data=demo").task}
    found = resample.units(Run(folder, result, config, {}))
    assert found is not None
    assert (found.names, found.kind) == (("p0", "p1", "p2"), "documents")
    assert found.sums.of(np.arange(3)) == pytest.approx(score)
    roles = leaf(settings("task=conll05", "method=majority", "data=demo").task)
    assert roles.document(examples[0].__class__("0", {"tokens": ["a", "b"]})) == "a b"


def test_one_seed_is_as_wide_as_a_binomial(write):
    """A share's interval is that of the closed form, and of a resample as large as the sample."""
    folder = write("one", right=said(300))
    (group,) = group_runs(runs(folder))
    assert group.resampled is not None
    half = 100 * 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert resample.interval(group.resampled) == pytest.approx((75 - half, 75 + half), abs=0.6)
    assert counts(7, 0).sum(1).tolist() == [7] * resample.RESAMPLES


@pytest.mark.parametrize("n", [2, 3, 5])
def test_seeds_add_their_variance_without_bias(n):
    """One seed fewer than there are is drawn: the variance of the mean is s^2 / n with ddof=1."""
    scores = [50.0, 53.0, 51.0, 58.0, 49.0][:n]
    drawn = np.array(scores)[picks(tuple(range(n)), "seed")].mean(1)
    assert drawn.mean() == pytest.approx(fmean(scores), abs=0.2)
    assert drawn.var() == pytest.approx(stdev(scores) ** 2 / n, rel=0.08)
    assert (picks((1, 2), "seed") == picks((1, 2), "seed")).all()
    assert not (picks((1, 2, 3), "seed") == picks((1, 2, 4), "seed")).all()


def test_a_group_is_resampled_over_seeds_and_examples(write):
    """Its variance is that of the examples and that of the seeds together."""
    for seed, rights in ((1, 280), (2, 300), (3, 330)):
        folder = write(f"s{seed}", right=said(rights), seed=seed)
    (group,) = group_runs(runs(folder))
    seeds = stdev([70.0, 75.0, 82.5]) ** 2 / 3
    assert group.resampled is not None
    assert group.resampled.var() > seeds * 1.1
    assert group.resampled.mean() == pytest.approx(group.mean, abs=0.3)


def test_without_what_was_predicted(write):
    """No interval where predictions are missing, or do not give the score."""
    write("a", {"score": 12.0})
    folder = write("b", seed=2, right=said(300))
    (group,) = group_runs(runs(folder))
    assert group.interval is None
    (folder / "a" / "predictions.jsonl").write_bytes((folder / "b" / "predictions.jsonl").read_bytes())
    assert group_runs(runs(folder))[0].interval is None
    (folder / "a" / "predictions.jsonl").write_text('{"id"\n', encoding="utf-8")
    with pytest.raises(PtuneError, match=r"predictions\.jsonl:1: damaged \(Expecting"):
        _ = group_runs(runs(folder))[0].interval


# Differences


def test_a_difference_is_paired(write):
    """Of a method that is right wherever the other one is, no resample is below it; of the same one all are 0."""
    write("base", {"method": "finetune", "tune": "all"}, right=said(200), method__name="finetune")
    better = "".join("1" if a == "1" or i % 10 == 0 else "0" for i, a in enumerate(said(200)))
    write("better", right=better)
    folder = write("same", {"method": "prefix"}, right=said(200), method__name="prefix")
    up, same = compare(group_runs(runs(folder)))
    assert {up.baseline.of["method"], same.baseline.of["method"]} == {"finetune"}
    assert up.difference == pytest.approx(100 * (better.count("1") - 200) / 400)
    assert up.interval is not None
    assert 0 < up.interval[0] < up.difference < up.interval[1] < up.difference + 4
    assert (up.p, up.adjusted) == (2 / (resample.RESAMPLES + 1), 4 / (resample.RESAMPLES + 1))
    assert (same.interval, same.p, same.adjusted) == ((0.0, 0.0), 1.0, 1.0)


def test_only_the_same_task_and_data_are_compared(write):
    """The baseline is the one named, else finetune, else the first of each place; other data is another place."""
    write("a", {"method": "prefix"}, method__name="prefix")
    write("b")
    write("c", data__max_train=32)
    write("d", {"method": "prefix"}, method__name="prefix", data__max_train=32)
    folder = write("e", {"task": "cb"})
    groups = group_runs(runs(folder))
    found = [(c.group.runs[0].folder.name, c.baseline.runs[0].folder.name) for c in compare(groups)]
    assert found == [("b", "a"), ("d", "c")]
    found = [(c.group.runs[0].folder.name, c.baseline.runs[0].folder.name) for c in compare(groups, "prefix")]
    assert found == [("b", "a"), ("c", "d")]
    with pytest.raises(ConfigError, match=r"^compare: no run used method 'prefx'; did you mean 'prefix'\?$"):
        compare(groups, "prefx")


def test_only_the_same_weights_of_a_backbone_are_compared(write):
    """What has no backbone, as a majority class, is compared with either; the named baseline with its own alone."""
    for name, sha256 in (("a", "1" * 64), ("b", "2" * 64)):
        weights = {"tuned": None, "backbone": {"sha256": sha256}}
        write(f"finetune_{name}", {"method": "finetune", "tune": "all", "weights": weights}, method__name="finetune")
        write(f"ptv2_{name}", {"weights": weights})
    nothing = {"method": "majority", "weights": {"tuned": None, "backbone": None}}
    folder = write("majority", nothing, method__name="majority")
    found = [
        (each.group.runs[0].folder.name, each.baseline.runs[0].folder.name)
        for each in compare(group_runs(runs(folder)))
    ]
    assert found == [("majority", "finetune_a"), ("ptv2_a", "finetune_a"), ("ptv2_b", "finetune_b")]


NUMBER = "0123456789abcdef"
PACKAGES = {"torch": "2.10.0", "transformers": "5.20.0", "rich": "14"}


@pytest.mark.parametrize(
    ("one", "two", "notes"),
    [
        ({"code": NUMBER}, {"code": NUMBER}, []),
        ({"code": NUMBER}, {"code": "another"}, ["the runs are from 2 versions of the code"]),
        ({"ptune": "0.1.0"}, {"code": None, "ptune": "0.2.0"}, ["the runs are from 2 versions of the code"]),
        (
            {"code": f"{NUMBER}+changed"},
            {"code": f"{NUMBER}+changed"},
            ["some runs used uncommitted changes to the code"],
        ),
        ({"packages": PACKAGES}, {"packages": {**PACKAGES, "rich": "15"}}, []),
        (
            {"packages": PACKAGES},
            {"packages": {**PACKAGES, "torch": "2.9.0", "transformers": "4.0.0"}},
            ["the runs used several versions of torch, transformers"],
        ),
    ],
    ids=["same", "commit", "version", "changed", "other packages", "packages"],
)
def test_differences_say_what_their_runs_were_made_with(ptune, write, one, two, notes):
    """Where that is not the same, or nobody can tell; a run that is not compared is not meant."""
    write("a", {"method": "finetune", "tune": "all"}, right=said(300), method__name="finetune")
    write("b", right=said(290))
    folder = write("c", {"task": "cb"})
    for name, environment in (("a", one), ("b", two), ("c", {"code": "third+changed"})):
        (folder / name / "env.json").write_text(json.dumps(environment), encoding="utf-8")
    groups = group_runs(runs(folder))
    sheet = tables.comparisons_table(groups, compare(groups), None)
    assert [note for note in sheet.notes if note.startswith(("the runs ", "some runs used"))] == notes
    printed = ptune("report", "runs", "compare=finetune").out.splitlines()
    assert [note for note in notes if note not in printed] == []


def test_non_inferiority(write):
    """Worse by less than the margin, or not shown to be."""
    write("base", {"method": "finetune", "tune": "all"}, right=said(360), method__name="finetune")
    folder = write("near", right="000" + said(360)[3:])
    wide, narrow = (compare(group_runs(runs(folder)), margin=margin)[0].worse_adjusted for margin in (5.0, 0.01))
    assert wide is not None
    assert narrow is not None
    assert wide < 0.025 < narrow


def test_holm():
    """By hand: 3 x 0.01, then 2 x 0.03, then 0.04 which may not be below it; what has no p does not count."""
    assert holm([0.04, None, 0.01, 0.03]) == [
        (0.04, pytest.approx(0.06)),
        (None, None),
        (0.01, pytest.approx(0.03)),
        (0.03, pytest.approx(0.06)),
    ]
    assert holm([0.6, 0.9]) == [(0.6, 1.0), (0.9, 1.0)]


def test_p_values():
    """Never 0, never above 1, and below 0.05 where the interval is on one side of 0."""
    values = np.array([1.0] * 98 + [-1.0])
    assert share_at_most(values, 0.0) == 2 / 100
    assert two_sided(values) == two_sided(-values) == 0.04
    assert two_sided(np.zeros(9)) == 1.0


# Budgets


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_expected_best_by_brute_force(n):
    """The mean over every draw of n of the trials, two of which are equal."""
    pairs = [(60.0, 10.0), (70.0, 20.0), (70.0, 40.0), (65.0, 90.0)]
    best, of = [], []
    for drawn in itertools.product(pairs, repeat=n):
        best.append(max(selected for selected, _ in drawn))
        of.append(fmean(reported for selected, reported in pairs if selected == best[-1]))
    found = best_of(pairs, n)
    assert (found.selected, found.reported) == (pytest.approx(fmean(best)), pytest.approx(fmean(of)))


def test_budgets():
    """Powers of two, and all."""
    assert (budgets(1), budgets(2), budgets(4), budgets(6)) == ([1], [1, 2], [1, 2, 4], [1, 2, 4, 6])


# The command


@pytest.fixture
def searched(write) -> Path:
    """Two rates of ptv2 and fine-tuning, two seeds each."""
    for seed in (1, 2):
        for lr, rights in ((0.01, 280), (0.1, 300)):
            write(f"ptv2_{lr}_{seed}", {"selected": rights / 4}, seed=seed, right=said(rights + seed), optim__lr=lr)
        full = {"method": "finetune", "tune": "all", "prompt_length": None, "selected": 60.0}
        name = f"finetune_{seed}"
        folder = write(name, full, seed=seed, right=said(310 + 4 * seed), method__name="finetune", optim__lr=0.001)
    return folder


def test_a_report_by_group(ptune, searched):
    """Groups where there are several seeds, with ddof, resamples, trials and corrections said."""
    found = ptune("report", "runs")
    assert found.code == 0, found.err
    assert "ddof=1" in found.out
    assert f"hierarchical bootstrap over seeds and examples (400 examples), {resample.RESAMPLES} resamples" in found.out
    assert "ptv2 rte roberta_base P 20: best of 2 trials by dev; optim.lr 0.01, 0.1\n" in found.out
    assert "corrected for the one comparison of this report" in found.out
    assert "with n below 5 it is too narrow where seeds differ more than examples do" in found.out
    assert found.out == ptune("report", "runs").out
    assert "differences" not in ptune("report", "runs", "compare=none").out
    by_run = ptune("report", "runs", "by=run").out
    assert by_run.count("ptv2_0.1_1") == 1
    assert "ddof" not in by_run
    every = json.loads(ptune("report", "runs", "format=json", "tuned=[]").out)
    assert [group["trials"] for group in every["groups"]] == [1, 1, 1]


def test_json_has_everything(ptune, searched):
    """In full precision, and references by number."""
    told = json.loads(ptune("report", "runs", "format=json", "margin=20").out)
    full, best = told["groups"]
    assert (full["method"], best["method"], best["best"]["n"], best["trials"]) == ("finetune", "ptv2", 2, 2)
    assert best["best"]["mean"] == pytest.approx(100 * (301 + 302) / 800)
    assert best["best"]["std"] == pytest.approx(stdev([301 / 4, 302 / 4]))
    (compared,) = told["comparisons"]
    assert (compared["group"], compared["baseline"]) == (1, 0)
    assert compared["worse_adjusted"] == pytest.approx(1 / (resample.RESAMPLES + 1))
    assert [row["n"] for row in told["expected_best"]] == [1, 2]
    assert told["expected_best"][1]["selected"] == pytest.approx(0.25 * 70 + 0.75 * 75)
    assert len(told["runs"]) == 6


def test_a_comparison_is_of_groups(ptune, write):
    """Of single seeds a row is a run, unless differences are asked for."""
    write("a", {"method": "finetune", "tune": "all"}, right=said(300), method__name="finetune")
    write("b", right=said(290))
    assert "differences" not in ptune("report", "runs").out
    assert "differences" in ptune("report", "runs", "compare=finetune").out
    assert "non-inferior" in ptune("report", "runs", "margin=1.0").out


def test_one_run_has_one_interval(ptune, write):
    """Its own, in every format, by run as by group; what the examples alone would give is another one."""
    folder = write("one", {"interval": [70.6, 79.1]}, right=said(300))
    write("none", {"interval": None, "task": "cb"}, right=said(300), task__name="cb")
    for by in ("run", "group"):
        shown = ptune("report", "runs", f"by={by}").out
        assert "[70.6, 79.1]" in shown
        assert shown.count("[") == 1
        rows = csv.DictReader(io.StringIO(ptune("report", "runs", f"by={by}", "format=csv").out))
        assert [row["95% interval low"] for row in rows] == ["", "70.6"]
        assert "[70.6, 79.1]" in ptune("report", "runs", f"by={by}", "format=markdown").out
    assert "with n = 1 the 95% interval is the run's own, over examples only" in shown
    assert "no interval, as in the one run's own result: ptv2 cb roberta_base P 20" in shown
    told = json.loads(ptune("report", "runs", "by=group", "format=json").out)
    assert [group["interval"] for group in told["groups"]] == [run["interval"] for run in told["runs"]]
    page = ptune("report", "runs", "format=html").out.strip()
    shown = (folder.parent / page).read_text(encoding="utf-8")
    assert {*re.findall(r"\[\d+\.\d, \d+\.\d\]", shown)} == {"[70.6, 79.1]"}


def test_csv_and_markdown(ptune, searched):
    """CSV has a row a group, its differences beside it; Markdown a table for each, with the notes below."""
    full, best = csv.DictReader(io.StringIO(ptune("report", "runs", "format=csv").out))
    assert (best["score"], best["std"], best["n"], best["trials"]) == ("75.38", "0.18", "2", "2")
    assert (best["space"], best["against"]) == ("optim.lr 0.01, 0.1", "finetune")
    assert float(best["difference"]) == pytest.approx(100 * (301 + 302 - 314 - 318) / 800, abs=0.01)
    assert (full["method"], full["against"], full["difference"], full["p (Holm)"]) == ("finetune", "", "", "")
    assert (full["95% of it low"], full["95% of it high"]) == ("", "")
    assert float(best["95% interval low"]) < float(best["score"]) < float(best["95% interval high"])
    assert float(best["95% of it low"]) < float(best["difference"]) < float(best["95% of it high"])
    assert all(int(row["trained"]) for row in (full, best))
    assert [*map(formats.plain, ("1,518,729", "0.51", "1,2", "optim.lr 1,000"))] == [
        "1518729",
        "0.51",
        "1,2",
        "optim.lr 1,000",
    ]
    lines = ptune("report", "runs", "format=markdown").out.splitlines()
    tables = [i for i, line in enumerate(lines) if line.startswith("| --- |")]
    assert len(tables) == 3
    assert all(lines[i - 1].count("|") == lines[i].count("|") == lines[i + 1].count("|") for i in tables)


def test_the_same_files_elsewhere_are_the_same_data():
    """Those that are read beside a split's, too, as the words of CoNLL-2005's props."""

    def files(root: str) -> dict[str, object]:
        beside = {f"{root}/train.words": "2"}
        return {"train": {"path": f"{root}/train.props", "sha256": "1", "beside": beside}}

    assert results.without_paths(files("/here")) == results.without_paths(files("/there"))
    assert results.without_paths(files("/here")) == {"train": {"sha256": "1", "beside": {"train.words": "2"}}}


def test_latex(ptune, searched):
    """booktabs; every row as wide as the columns are many, nothing that LaTeX would trip over."""
    text = ptune("report", "runs", "format=latex").out
    lines = text.splitlines()
    assert lines[0] == r"% \usepackage{booktabs}"
    starts = [i for i, line in enumerate(lines) if line.startswith(r"\begin{tabular}")]
    assert len(starts) > text.count(r"\begin{table}") == text.count(r"\end{table}") == 3  # groups are in two parts
    for start in starts:
        columns = lines[start].removeprefix(r"\begin{tabular}{").removesuffix("}")
        end = lines.index(r"\end{tabular}", start)
        rules = [line for line in lines[start:end] if line.startswith("\\") and line.endswith("rule")]
        assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
        rows = [line for line in lines[start:end] if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert {row.count("&") for row in rows} == {len(columns) - 1}
    assert r"$75.38 \pm 0.18$" in text
    assert r"optim.lr 0.01, 0.1" in text
    assert r"roberta\_base" in text
    assert "_" not in text.replace(r"\_", "")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on this machine")
@pytest.mark.parametrize("by", ["group", "run"])
def test_latex_has_room_on_a_page(by, ptune, searched, tmp_path):
    """Of the narrow text of LaTeX's articles."""
    tables = ptune("report", "runs", f"by={by}", "format=latex").out
    text = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", tables, r"\end{document}"]
    )
    (tmp_path / "page.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
    assert (tmp_path / "page.pdf").is_file()


def test_wrong_settings(ptune, searched):
    """One line each."""
    for words, line in (
        ("by=seed", "by: 'seed' is not a choice; one of: run, group"),
        ("by=run compare=prefix", "compare: by=run compares nothing; use by=group or remove compare"),
        ("margin=-1", "margin: -1 is not above 0; give points, such as margin=1.0"),
        ("tuned=[optm]", "tuned: no run has a setting 'optm'; did you mean 'optim'?"),
        (
            "tuned=[x]",
            "tuned: no run has a setting 'x'; one of: batch_size, compat, data, epochs, files, "
            "held out from, layout, loss, method, optim, prompt_length, protocol, result, task, weights",
        ),
        ("compare=fintune", "compare: no run used method 'fintune'; did you mean 'finetune'?"),
    ):
        found = ptune("report", "runs", *words.split())
        assert (found.code == 0, found.err) == (False, line)
