"""ml-training, from its start to a model that answers: deployed, rolled back, not good enough, not fit to learn from."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import free_port
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import SECONDS, error, records, result, start, with_client
from tests.e2e.product import ROOT, Product

Json = Any
pytestmark = pytest.mark.timeout(600)  # the first test starts the house
PATIENT = 300.0
QUICK = {"search": {"trials": 1, "folds": 2}}


class ModelServer:
    """The model server on the models of the house."""

    def __init__(self, house: Product) -> None:
        self.models = house.settings.state / "models"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(ROOT / "workflows" / "ml" / "server.py"), "--port", str(port), "--models", str(self.models)]
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            assert self.process.poll() is None, "the model server ended"
            assert time.monotonic() < deadline, "the model server does not answer"
            time.sleep(0.1)

    def get(self, name: str) -> httpx.Response:
        """What is deployed under a name."""
        return httpx.get(f"{self.url}/models/{name}", timeout=60)

    def ask(self, name: str, *rows: Json) -> httpx.Response:
        return httpx.post(f"{self.url}/models/{name}/predict", json={"rows": rows}, timeout=60)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=10).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def server(house: Product) -> Iterator[ModelServer]:
    started = ModelServer(house)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def name() -> str:
    return f"tumours-{uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def trained(house: Product, server: ModelServer, name: str) -> tuple[str, Json]:
    """A run that deployed a model under ``name``: its id and its result."""
    run_id = start(house, "ml-training", QUICK | {"name": name, "server": server.url})
    # The first run imports scikit-learn in every process.
    return run_id, with_client(house, lambda client: client.run(run_id).result(PATIENT))


def test_the_best_of_three_models_is_deployed_and_answers(
    trained: tuple[str, Json], house: Product, server: ModelServer, name: str
) -> None:
    run_id, given = trained
    assert given["deployed"], given["because"]
    assert set(given["candidates"]) == {"random_forest", "gradient_boosting", "neural_network"}
    assert given["metrics"]["accuracy"] >= 0.85
    assert given["metrics"]["precision"] >= 0.80
    assert server.get(name).json()["model"] == given["best"]["model"]
    probe = records(house, run_id)["evaluation"]["output"]["probe"]
    told = server.ask(name, *probe["rows"]).json()
    assert (told["model"], told["answers"]) == (given["best"]["model"]["sha256"], probe["answers"])


def test_data_features_and_searches_are_in_the_result(trained: tuple[str, Json], house: Product) -> None:
    run_id, given = trained
    assert given["data"]["completeness"] == 1.0
    assert "clinic=north" in given["features"]["kept"]
    assert "examined_at_hour" in given["features"]["dropped"]
    steps = records(house, run_id)
    for branch in ("random-forest", "gradient-boosting", "neural-network"):
        assert steps[f"training/{branch}"]["output"]["trials"] == 1


def test_the_server_refuses_questions_in_words(
    trained: tuple[str, Json], house: Product, server: ModelServer, name: str
) -> None:
    row = records(house, trained[0])["evaluation"]["output"]["probe"]["rows"][0]
    assert server.get("nobody").status_code == 404
    assert server.get("Not%20A%20Name").status_code == 422
    assert "'large' is no number" in server.ask(name, row | {"mean_radius": "large"}).text
    missing = server.ask(name, {column: value for column, value in row.items() if column != "clinic"})
    assert missing.status_code == 422
    assert "a row has no 'clinic'" in missing.text
    assert server.ask(name, row | {"clinic": None, "mean_radius": None}).status_code == 200


def test_a_model_that_does_not_answer_is_withdrawn_and_the_one_before_it_answers(
    trained: tuple[str, Json], house: Product, server: ModelServer, services: Services, name: str
) -> None:
    elsewhere = {"name": name, "server": f"{server.url}/elsewhere", "algorithms": ["random_forest"]}
    run_id = start(house, "ml-training", QUICK | elsewhere)
    failed = error(house, run_id)
    assert (failed["type"], failed["step"]["id"]) == ("http_404", "probe")
    undone = [(one["path"].rsplit("/")[-1], one["status"]) for one in failed["compensations"]]
    assert undone == [("deploy", "completed")]
    assert records(house, run_id)["good-enough/then/deployment/deploy"]["output"]["replaced"] is not None
    assert server.get(name).json()["model"] == trained[1]["best"]["model"]
    assert any(name in call["body"]["text"] for call in services.calls("/slack", channel="#ml"))


def test_a_model_that_is_not_good_enough_is_not_deployed(
    trained: tuple[str, Json], house: Product, server: ModelServer, services: Services
) -> None:
    strict, wanted = f"strict-{uuid4().hex[:8]}", {"accuracy": 1, "precision": 0.8}
    inputs = {"name": strict, "requirements": wanted, "server": server.url, "algorithms": ["random_forest"]}
    run_id = start(house, "ml-training", QUICK | inputs)
    given = result(house, run_id)
    assert given["deployed"] is False
    assert given["because"][0].startswith("accuracy is ")
    assert set(given["candidates"]) == {"random_forest"}
    assert server.get(strict).status_code == 404
    assert any(strict in call["body"]["text"] for call in services.calls("/slack", channel="#ml"))


def test_data_with_holes_are_not_learned_from(house: Product, server: ModelServer) -> None:
    folder = house.folder / "data"
    folder.mkdir(exist_ok=True)
    Path(folder / "holes.csv").write_text("size,ill\n" + "4,0\n,1\n" * 20, encoding="utf-8")
    inputs = {"name": "holes", "source": "data/holes.csv", "columns": {"number": ["size"]}, "target": "ill"}
    failed = error(house, start(house, "ml-training", inputs | {"server": server.url}))
    assert failed["type"] == "data_refused"
    assert "50.0% of the cells are filled, 95.0% have to be" in failed["message"]
    assert server.get("holes").status_code == 404


def test_a_model_file_that_was_changed_is_not_loaded(
    trained: tuple[str, Json], house: Product, server: ModelServer
) -> None:
    copied = f"changed-{uuid4().hex[:8]}"
    pointer = server.models / "deployed" / f"{copied}.json"
    (server.models / "changed.joblib").write_bytes(b"something else")
    model = {"path": "changed.joblib", "sha256": trained[1]["best"]["model"]["sha256"]}
    pointer.write_text(f'{{"model": {{"path": "changed.joblib", "sha256": "{model["sha256"]}"}}}}', encoding="utf-8")
    answer = server.ask(copied, {})
    assert answer.status_code == 503
    assert "is not the model that was deployed" in answer.text
