import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lockgate.evaluation.predictions import File, Refused, Shared, join, read_scored
from lockgate.policy import Predictions

WHAT = Predictions("preds.csv", ("id",), "y", "p", ("zip",), "auc")
LINES = ["07,0,0.25,00123", "7,1,0.5,00123", "8,1,0.75,99999", "NA,0,0.5,"]


def csv(side: str, lines: list[str]) -> File:
    return File(side, "preds.csv", "\n".join(["id,y,p,zip", *lines, ""]).encode())


def parquet(side: str, ids: pa.Array) -> File:
    sink = pa.BufferOutputStream()
    rows = len(ids)
    pq.write_table(pa.table({"id": ids, "y": [0, 1] * (rows // 2), "p": [0.5] * rows, "zip": ["a"] * rows}), sink)
    return File(side, "preds.parquet", sink.getvalue().to_pybytes())


def joined(base: File, head: File) -> Shared:
    return join(WHAT, base, head, (read_scored(WHAT, base), read_scored(WHAT, head)))


def test_keys_of_digits_are_text_and_slices_keep_their_zeros() -> None:
    shared = joined(csv("base", LINES), csv("head", LINES))

    assert len(shared.label) == 4
    assert {one.value: len(one.rows) for one in shared.slices} == {"00123": 2, "99999": 1, "(missing)": 1}


def test_labels_and_scores_of_csv_are_numbers() -> None:
    scored = read_scored(WHAT, csv("base", LINES))

    assert scored.label.tolist() == [False, True, True, False]
    assert scored.score.tolist() == [0.25, 0.5, 0.75, 0.5]


@pytest.mark.parametrize("turned", [False, True])
def test_text_keys_are_never_taken_for_numbers_of_the_other_side(turned: bool) -> None:
    text, whole = csv("base", LINES[:2]), parquet("head", pa.array([7, 8]))
    base, head = (whole, text) if turned else (text, whole)
    what = Predictions("preds.csv", ("id",), "y", "p", (), None)

    with pytest.raises(Refused, match="y"):  # 7 is shared, with another label; 07 is not
        join(what, base, head, (read_scored(what, base), read_scored(what, head)))


def test_an_empty_key_is_refused_and_a_missing_column_is_named() -> None:
    with pytest.raises(Refused, match=r"'id' of preds\.csv of base"):
        joined(csv("base", [*LINES, ",1,0.5,x"]), csv("head", LINES))
    with pytest.raises(Refused, match="no column 'p'"):
        read_scored(WHAT, File("base", "preds.csv", b"id,y\n1,0\n"))
