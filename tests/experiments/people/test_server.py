"""The server of a person's seat: what it answers, and what it refuses in one sentence."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments.people.server import Server, serve
from experiments.people.sitting import Sitting
from games.errors import TacitError

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path, planned):
    server = Server(Sitting(tmp_path / "games.json", planned))
    thread = threading.Thread(target=serve, args=[server])
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def ask(server, path, body=None, *, token=None, **headers):
    """Status, content type and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    target = f"/{server.token if token is None else token}/{path}"
    connection.request("GET" if data is None else "POST", target, data, given)
    answer = connection.getresponse()
    kind, content = answer.headers["Content-Type"], answer.read()
    connection.close()
    return answer.status, kind, json.loads(content) if "json" in kind else content.decode()


def test_a_game_by_requests(server):
    status, kind, page = ask(server, "")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "play.js" in page
    assert ask(server, "index.html")[2] == page
    for name in ("common.js", "hanabi.js", "play.js", "cards.css", "replay.html"):
        assert ask(server, name)[0] == 200
    status, _, state = ask(server, "state")
    assert status == 200
    while not state["over"]:
        status, _, advice = ask(server, "advice", {"version": state["version"]})
        assert (status, [action for action, _ in advice]) == (200, state["legal"])
        status, _, state = ask(server, "move", {"version": state["version"], "action": state["legal"][0]})
        assert status == 200
    status, kind, script = ask(server, "games/played/0.js")
    assert (status, kind) == (200, "text/javascript; charset=utf-8")
    whole = json.loads(script.removeprefix("tacitGame(").removesuffix(");\n"))
    assert whole["score"] == state["state"]["score"]
    status, _, undone = ask(server, "undo", {"version": state["version"]})
    assert (status, undone["over"]) == (200, False)
    status, _, state = ask(server, "move", {"version": undone["version"], "action": undone["legal"][0]})
    status, _, following = ask(server, "next", {"version": state["version"]})
    assert (status, following["number"], following["step"]) == (200, 1, 0)
    assert following["state"]["hands"] != state["state"]["hands"]


def test_no_message_holds_a_hidden_card_or_what_the_agent_makes_of_it(server):
    """Before the end, everything that is sent is public: the agent's chances in its own seat depend on our cards."""
    keys = {
        "person", "step", "over", "practice", "asking", "game", "board", "score_range", "seats", "actions", "state",
        "legal", "moves", "version", "number", "last", "file",
    }  # fmt: skip
    state = ask(server, "state")[2]
    for _ in range(4):
        assert set(state) == keys
        assert [card for card, *_ in state["state"]["hands"][0]] == [None, None]
        assert ask(server, "games/played/0.js")[0] == 409
        state = ask(server, "move", {"version": state["version"], "action": state["legal"][-1]})[2]


@pytest.mark.parametrize(
    ("status", "sentence", "asked"),
    [
        (403, "the address lacks the token", {"path": "state", "token": "x"}),
        (403, "the address lacks the token", {"path": "", "token": ""}),
        (403, "not served under that name", {"path": "state", "Host": "evil.example"}),
        (403, "not served under that name", {"path": "state", "Host": "127.0.0.1"}),
        (403, "requests of other pages are refused", {"path": "state", "Origin": "http://evil.example"}),
        (403, "requests of other pages are refused", {"path": "undo", "body": {"version": 0}, "Origin": "null"}),
        (404, "there is nothing called 'nothing' here", {"path": "nothing"}),
        (404, "there is nothing called '../seat.py' here", {"path": "../seat.py"}),
        (404, "there is nothing called '/etc/passwd' here", {"path": "/etc/passwd"}),
        (404, "there is nothing called '%2e%2e/seat.py' here", {"path": "%252e%252e/seat.py"}),
        (404, "there is nothing called 'games' here", {"path": "games", "body": {}}),
        (404, "only the last game can be looked at", {"path": "games/played/7.js"}),
        (409, "the whole game is shown when it is over", {"path": "games/played/0.js"}),
        (409, "the action 0 is not legal now", {"path": "move", "body": {"version": 0, "action": 0}}),
        (409, "the action None is not legal now", {"path": "move", "body": {"version": 0}}),
        (409, "this was for an earlier position", {"path": "move", "body": {"version": 2, "action": 2}}),
        (409, "this was for an earlier position", {"path": "move", "body": {"action": 2}}),
        (409, "this was for an earlier position", {"path": "advice", "body": {}}),
        (409, "there is no move to undo", {"path": "undo", "body": {"version": 0}}),
        (409, "is dealt when this one is over", {"path": "next", "body": {"version": 0}}),
        (415, "a request is to be JSON", {"path": "move", "body": {}, "Content_Type": "text/plain"}),
        (400, "a request is to be a JSON object", {"path": "move", "body": b"{"}),
        (400, "a request is to be a JSON object", {"path": "move", "body": b"[" * 9_000}),
        (400, "a request is to be a JSON object", {"path": "move", "body": [1]}),
        (400, "at most 10000 bytes", {"path": "move", "body": b" " * 10_001}),
        (400, "at most 10000 bytes", {"path": "move", "body": {}, "Content_Length": "-1"}),
        (400, "at most 10000 bytes", {"path": "move", "body": {}, "Content_Length": "9" * 5000}),
    ],
)
def test_what_is_refused_changes_nothing(server, status, sentence, asked):
    before = ask(server, "state")[2]
    told = ask(server, **asked)
    assert told[0] == status
    assert set(told[2]) == {"error"}
    assert sentence in told[2]["error"]
    assert ask(server, "state")[2] == before
    assert not server.sitting.file.exists()


def test_of_the_same_move_in_two_windows_one_counts(server):
    state = ask(server, "state")[2]
    move = {"version": 0, "action": state["legal"][0]}
    with ThreadPoolExecutor(4) as windows:
        told = list(windows.map(lambda _: ask(server, "move", move), range(4)))
    assert sorted(status for status, *_ in told) == [200, 409, 409, 409]
    assert ask(server, "state")[2]["step"] == 2


def test_only_this_machine_reaches_it_and_a_port_is_taken_once(server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    with pytest.raises(TacitError, match=f"port {server.server_port} cannot be used: .*in use; give another --port"):
        Server(server.sitting, server.server_port)
    with pytest.raises(TacitError, match="port 70000 cannot be used"):
        Server(server.sitting, 70000)
