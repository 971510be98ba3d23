"""A moment of script/fuzz, and what it once found."""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings

from tests.adversaries.fuzzing import Target, calls, pieces, requests
from tests.adversaries.wire import TEXT, Piece, RawSocket
from tests.clients import Api
from tests.servers import Server

moment = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def goes_on(connect: Callable[[], RawSocket]) -> bool:
    """Whether others are served."""
    with connect() as other:
        other.send(Piece(TEXT, b'{"method":"ping"}'))
        return bool(other.answer()["code"] == 0)


def test_no_frames_make_it_fail(server: Server, connect: Callable[[], RawSocket]) -> None:
    moment(given(pieces)(Target(server).take_frames))()
    assert goes_on(connect)


def test_no_call_makes_it_fail(server: Server, connect: Callable[[], RawSocket]) -> None:
    moment(given(calls)(Target(server).take_call))()
    assert goes_on(connect)


def test_no_request_makes_it_fail(server: Server, connect: Callable[[], RawSocket]) -> None:
    moment(given(requests())(Target(server).take_request))()
    assert goes_on(connect)


async def test_no_path_leads_out_of_the_static_files(server: Server) -> None:
    async with Api(server.url) as api:
        for path in ("/static/%2e%2e/manage.py", "/static/..%2fmanage.py", "/static//etc/passwd", "/static/none"):
            assert (await api.request("GET", path)).status == 404, path
