import pandas as pd

from dpcxr_core.releasing.card_tables import by_finding, by_group, by_test_set, gaps, markdown

GROUPS = {("all", "all"): 300, ("sex", "F"): 200, ("sex", "M"): pd.NA}


def _metrics():
    rows = [
        (dataset, finding, metric, column, group, n, 0.75 if metric == "auroc" else 0.4, 0.7, 0.8, "")
        for dataset in ("home", "abroad")
        for finding in ("pneumonia", "macro")
        for metric in ("auroc", "tpr", "fpr")
        for (column, group), n in GROUPS.items()
    ]
    rows.append(("home", "macro", "auroc_difference", "sex", "F-M", 300, -0.031, -0.08, 0.02, ""))
    rows.append(("home", "macro", "tpr_difference", "sex", "max-min", 300, None, None, None, "fewer than 10 positives"))
    names = ["dataset", "finding", "metric", "group_column", "group_value", "n", "value", "low", "high", "reason"]
    table = pd.DataFrame(rows, columns=names).assign(noise_floor=0.025)
    return table.astype({"n": "Int64", "value": float, "low": float, "high": float})


def test_every_test_set_has_a_line():
    lines = by_test_set(_metrics()).splitlines()
    assert lines[0] == "| test images of | images | AUROC (95% interval) |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["home", "abroad"]
    assert "0.750" in lines[2]
    assert "0.700" in lines[2]


def test_findings_and_groups_are_those_of_one_test_set():
    assert len(by_finding(_metrics(), "home").splitlines()) == 4
    lines = by_group(_metrics(), "home").splitlines()
    assert len(lines) == 4
    assert lines[0].count("95% interval") == 3
    assert "| sex | M | withheld |" in lines[3]


def test_gaps_stand_beside_chance_or_say_why_they_are_not_known():
    lines = gaps(_metrics(), "home").splitlines()
    assert "AUROC difference | sex | F-M | -0.031" in lines[2].replace("\u2212", "-")
    assert lines[2].rstrip("| ").endswith("0.025")
    assert "fewer than 10 positives" in lines[3]


def test_markdown_has_a_header_a_rule_and_the_rows():
    assert markdown(pd.DataFrame({"a_b": [1], "c": ["x_y"]})) == "| a b | c |\n| --- | --- |\n| 1 | x y |"
