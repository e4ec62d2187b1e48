import pytest

from nsqx.runtime.http.routes import Match, NotAllowed, Redirect, Router


@pytest.fixture
def router() -> Router[str]:
    router = Router[str]()
    router.add("GET", "/ping", "ping")
    router.add("POST", "/topic/create", "create")
    router.add("GET", "/config/{opt}", "get config")
    router.add("PUT", "/config/{opt}", "put config")
    router.add("GET", "/api/topics", "topics")
    router.add("GET", "/api/topics/{topic}", "topic")
    router.add("GET", "/api/topics/{topic}/{channel}", "channel")
    router.add("GET", "/api/topics/special", "special")
    router.add("GET", "/debug/pprof/", "pprof")
    return router


@pytest.mark.parametrize(
    ("method", "path", "handler", "parameters"),
    [
        ("GET", "/ping", "ping", {}),
        ("GET", "/%70ing", "ping", {}),
        ("PUT", "/config/log_level", "put config", {"opt": "log_level"}),
        ("GET", "/api/topics/t%23ephemeral", "topic", {"topic": "t#ephemeral"}),
        ("GET", "/api/topics/a%2Fb", "topic", {"topic": "a/b"}),
        ("GET", "/api/topics/t/c", "channel", {"topic": "t", "channel": "c"}),
        ("GET", "/api/topics/special", "special", {}),
        ("GET", "/debug/pprof/", "pprof", {}),
    ],
)
def test_exact_paths_are_found(
    router: Router[str], method: str, path: str, handler: str, parameters: dict[str, str]
) -> None:
    assert router.find(method, path) == Match(handler, parameters)


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/ping/", "/ping"),
        ("GET", "/PING", "/ping"),
        ("GET", "//ping", "/ping"),
        ("GET", "/./x/../Ping//", "/ping"),
        ("POST", "/topic//create", "/topic/create"),
        ("GET", "/debug/pprof", "/debug/pprof/"),
        ("GET", "/Config/Log%23", "/config/Log%23"),
        ("GET", "/config/log_level/", "/config/log_level"),
        ("GET", "/api/topics/", "/api/topics"),
    ],
)
def test_nearly_right_paths_are_redirected(
    router: Router[str], method: str, path: str, right: str
) -> None:
    assert router.find(method, path) == Redirect(right)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/ping", "GET, OPTIONS"),
        ("HEAD", "/ping", "GET, OPTIONS"),
        ("OPTIONS", "/config/x", "GET, OPTIONS, PUT"),
        ("GET", "/topic/create", "OPTIONS, POST"),
    ],
)
def test_other_methods_are_told_what_is_allowed(
    router: Router[str], method: str, path: str, allow: str
) -> None:
    assert router.find(method, path) == NotAllowed(allow)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nosuch"),
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/config"),
        ("GET", "/config/"),
        ("OPTIONS", "/ping/"),
        ("DELETE", "/ping/"),
        ("HEAD", "/PING"),
        ("GET", "/evil.com/ping"),
        ("GET", "/ping%zz"),
        ("GET", "*"),
    ],
)
def test_the_rest_is_not_found(router: Router[str], method: str, path: str) -> None:
    assert router.find(method, path) is None


def test_routes_stand_below_the_base_path() -> None:
    router = Router[str](base_path="/nsq")
    router.add("GET", "/", "index")
    router.add("GET", "/ping", "ping")
    assert router.find("GET", "/nsq") == Match("index", {})
    assert router.find("GET", "/nsq/") == Redirect("/nsq")
    assert router.find("GET", "/nsq/ping") == Match("ping", {})
    assert router.find("GET", "/ping") is None
    assert router.find("GET", "/") is None


def test_a_route_added_twice_is_our_mistake(router: Router[str]) -> None:
    with pytest.raises(AssertionError, match="added twice"):
        router.add("GET", "/ping", "again")
