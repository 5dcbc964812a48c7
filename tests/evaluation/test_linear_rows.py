"""The report says in words whether the head beats a linear classifier."""

from report_samples import ablation

from pipeline.evaluation.results import explain_linear_rows


def test_a_table_says_in_words_whether_the_head_beats_a_linear_classifier() -> None:
    table = ablation()
    first, other = table.rows[0], table.rows[1]

    def sentence(difference: float, margin: float = 0.02) -> str:
        interval = (difference - 0.05, difference + margin)
        row = other.model_copy(
            update={"name": "lda", "uar": first.uar + difference, "difference": difference, "interval_95": interval}
        )
        (text,) = explain_linear_rows(table.model_copy(update={"rows": [first, row, other]}))
        return text

    assert "does not beat lda" in sentence(0.0)
    assert "does not beat lda" in sentence(0.03)
    assert "beats lda" in sentence(-0.03)
    assert "is not clearly better than lda" in sentence(-0.03, margin=0.04)
    assert "95 % interval of the difference +1.0 to +8.0 points" in sentence(-0.03)
    assert explain_linear_rows(table) == []
