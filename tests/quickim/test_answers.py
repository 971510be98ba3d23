"""An answer is Django's response for whoever treats it as one, and costs next to nothing otherwise."""

from quickim.errors import InvalidToken
from quickim.rest.answers import Answer, failure, success


def test_an_answer_nobody_touched_goes_out_as_it_is() -> None:
    answer = success({"MsgID": "x"})
    assert isinstance(answer, Answer)
    assert answer.plain_headers == [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(answer.body)),
    ]


def test_what_django_changes_of_an_answer_is_not_left_out() -> None:
    answer = success({"MsgID": "x"})
    assert answer["Cache-Control"] == "no-store"
    answer["X-Other"] = "1"
    answer.set_cookie("name", "value")
    assert isinstance(answer, Answer)
    assert answer.plain_headers is None
    assert answer.content == answer.body == b'{"code":0,"data":{"MsgID":"x"}}'
    assert answer.headers["X-Other"] == "1"


def test_a_failure_has_its_headers() -> None:
    refusal = failure(InvalidToken())
    assert (refusal.status_code, refusal["WWW-Authenticate"]) == (401, "Bearer")
    assert b'"code"' in refusal.content
