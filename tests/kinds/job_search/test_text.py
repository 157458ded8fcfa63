import pytest

from kinds.job_search.text import HTML_LENGTH, TEXT_LENGTH, clean, fold, html_to_text, unescape_entities


def test_html_becomes_one_line_per_block() -> None:
    html = "<p>Own the <b>ledger</b>,\n and  more.</p><ul><li>One</li><li>Two<br/>Three</ul>tail"
    assert html_to_text(html) == "Own the ledger, and more.\nOne\nTwo\nThree\ntail"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<script>alert('<p>x</p>')</script>b", "ab"),
        ("a<SCRIPT src=x>y</Script >b", "ab"),
        ("a<style>p{}</style><!-- <p>no</p> -->b", "ab"),
        ("a<!-- never closed <p>b", "a"),
        ("<img src=x onerror=alert(1)>a", "a"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("&lt;script&gt;shown&lt;/script&gt;", "<script>shown</script>"),
        ("x&nbsp;&nbsp;y&#0;z", "x y\N{REPLACEMENT CHARACTER}z"),
        ("", ""),
    ],
)
def test_nothing_of_the_markup_survives_and_all_of_the_text_does(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize("piece", ["<", "<a ", "<!--", "<script>", "&", "&#9", "-->", "</p"])
def test_hostile_repetition_is_read_in_one_pass(piece: str) -> None:
    html = piece * (2_000_000 // len(piece))
    assert len(html_to_text(unescape_entities(html[:HTML_LENGTH]))) <= TEXT_LENGTH


def test_a_number_too_long_to_be_an_entity_stays_text() -> None:
    assert unescape_entities("&#" + "9" * 5000).startswith("&#999")
    assert html_to_text("&#" + "9" * 5000).startswith("&#999")


def test_clean_keeps_what_postgres_can_store() -> None:
    assert clean("  a\0b\n\tc \ud800 d", 100) == "ab c ? d"
    assert clean("abc def", 4) == "abc"


def test_fold_forgets_case_accents_and_spaces() -> None:
    assert fold("  São  PAULO ") == fold("sao paulo")
    assert fold("Zürich") == "zurich"
