"""Routes: registering, refusing what cannot work, and finding the handler for a job."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from scheduler.errors import ConfigError, DuplicateRouteError, InvalidJobError
from scheduler.registry import Registry, Resources, Route, Routes, fingerprint


class Model(BaseModel):
    name: str


@dataclass
class Record:
    name: str


async def plain(job: Any) -> None: ...


async def other(job: Any) -> None: ...


def routes_of(*registered: tuple[Any, ...], **options: Any) -> Routes:
    registry = Registry()
    for function, *names in registered:
        registry.handler(*names, **options)(function)
    return registry.freeze()


class TestFinding:
    def test_an_exact_route_wins_over_any(self) -> None:
        routes = routes_of((plain, "task"), (other, "task", "file"))
        assert [route and route.function for route in (routes.find("task", "file"), routes.find("task", "chat"))] == [other, plain]
        assert routes.find("task", "") is routes.find("task", "chat")

    def test_an_unknown_route_is_none(self) -> None:
        routes = routes_of((plain, "task", "file"))
        assert routes.find("task", "chat") is None
        assert routes.find("tas", "file") is None

    def test_target_types_are_those_that_can_be_handled(self) -> None:
        assert routes_of((plain, "task", "b"), (other, "task", "a")).target_types("task") == ("a", "b")
        assert routes_of((plain, "task", "b"), (other, "task")).target_types("task") is None
        assert routes_of().target_types("task") == ()

    def test_the_table_can_be_listed_in_order(self) -> None:
        routes = routes_of((plain, "two"), (plain, "one", "b"), (plain, "one", "a"))
        assert [(route.task_type, route.target_type) for route in routes] == [("one", "a"), ("one", "b"), ("two", None)]
        assert (len(routes), routes.task_types()) == (3, {"one", "two"})

    def test_a_frozen_table_does_not_see_later_registrations(self) -> None:
        registry = Registry()
        routes = registry.freeze()
        registry.handler("task")(plain)
        assert len(routes) == 0

    def test_registering_leaves_the_function_as_it_is(self) -> None:
        assert Registry().handler("task")(plain) is plain


class TestRefusals:
    @pytest.mark.parametrize("target", [None, "file"])
    def test_two_handlers_for_one_route_are_an_error_that_names_both(self, target: str | None) -> None:
        with pytest.raises(DuplicateRouteError) as refused:
            routes_of((plain, "task", target), (other, "task", target))
        assert f"('task', {target or 'any'!r})" in str(refused.value)
        assert "test_registry.plain" in str(refused.value)
        assert "test_registry.other" in str(refused.value)

    @pytest.mark.parametrize("name", ["", "two words", "größe", "a/b", "x" * 129, "line\n", 7, None])
    def test_a_name_that_would_not_survive_a_log_or_a_url_is_refused(self, name: Any) -> None:
        with pytest.raises(ConfigError, match=r"task_type .* is not a name"):
            Registry().handler(name)

    def test_a_target_type_is_a_name_too(self) -> None:
        with pytest.raises(ConfigError, match="target_type 'code entity' is not a name"):
            Registry().handler("task", "code entity")

    def no_parameters() -> None: ...  # type: ignore[misc]
    def three(job: Any, payload: Any, more: Any) -> None: ...  # type: ignore[misc]
    def only_keywords(*, job: Any) -> None: ...  # type: ignore[misc]

    @pytest.mark.parametrize("function", [no_parameters, three, only_keywords], ids=lambda function: function.__name__)
    def test_a_function_that_cannot_take_a_job_is_refused(self, function: Callable[..., Any]) -> None:
        with pytest.raises(ConfigError, match=r"handler for 'task': .* must take \(job, payload\), or \(job\) alone"):
            Registry().handler("task")(function)

    @pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
    def test_a_time_limit_must_leave_time(self, timeout_s: float) -> None:
        with pytest.raises(ConfigError, match="timeout_s must be above 0"):
            Registry().handler("task", timeout_s=timeout_s)

    @pytest.mark.parametrize("max_attempts", [0, -1])
    def test_at_least_one_attempt_must_be_allowed(self, max_attempts: int) -> None:
        with pytest.raises(ConfigError, match="max_attempts must be at least 1"):
            Registry().handler("task", max_attempts=max_attempts)

    def test_a_task_type_draws_on_one_pool(self) -> None:
        registry = Registry()
        registry.handler("task", "a", pool="main")(plain)
        registry.handler("task", "b")(other)
        with pytest.raises(ConfigError, match=r"name different pools.*use two task types"):
            registry.freeze()

    def test_one_pool_for_all_of_a_task_type_is_fine(self) -> None:
        assert routes_of((plain, "task", "a"), (other, "task", "b"), pool="main").pool("task") == "main"
        assert routes_of((plain, "task")).pool("task") is None
        assert routes_of().pool("task") is None


class TestKindsOfHandlers:
    def route(self, function: Callable[..., Any], **options: Any) -> Route:
        (route,) = routes_of((function, "task"), **options)
        return route

    def test_async_functions_are_told_from_others(self) -> None:
        class Callable_:
            async def __call__(self, job: Any) -> None: ...

        def sync(job: Any) -> None: ...

        assert self.route(plain).is_async
        assert self.route(functools.partial(plain)).is_async
        assert self.route(Callable_()).is_async
        assert not self.route(sync).is_async

    def test_a_handler_takes_a_payload_when_it_has_a_second_parameter(self) -> None:
        assert not self.route(plain).takes_payload
        assert self.route(lambda job, payload: None).takes_payload
        assert self.route(lambda *both: None).takes_payload
        assert self.route(lambda job, payload, *, extra=1: None).takes_payload

    @pytest.mark.parametrize("kind", [Model, Record])
    def test_payload_models_are_pydantic_models_or_dataclasses(self, kind: type) -> None:
        route = self.route(lambda job, payload: None, payload=kind)
        assert route.payload is not None
        assert route.payload.validate_python({"name": "x"}) == kind(name="x")

    def test_what_a_handler_asks_for_is_kept(self) -> None:
        route = self.route(plain, pool="main", timeout_s=2.5, max_attempts=7)
        assert (route.pool, route.timeout_s, route.max_attempts, route.payload) == ("main", 2.5, 7, None)
        assert route.name.endswith("test_registry.plain")


class TestIncluding:
    def test_a_registry_takes_over_anothers_routes_and_resources(self) -> None:
        module, whole = Registry(), Registry()
        module.handler("task")(plain)
        module.resource(Record)(lambda settings: Record("made"))
        whole.include(module)
        whole.include(module)  # loaded twice: the same routes, not two of each
        assert len(whole.freeze()) == 1
        assert Resources(whole.factories).get(Record).name == "made"

    def test_two_modules_with_one_route_are_found_at_start(self) -> None:
        one, two, whole = Registry(), Registry(), Registry()
        one.handler("task")(plain)
        two.handler("task")(other)
        whole.include(one)
        whole.include(two)
        with pytest.raises(DuplicateRouteError):
            whole.freeze()

    def test_two_factories_for_one_resource_are_an_error(self) -> None:
        registry = Registry()
        registry.resource(Record)(lambda settings: Record("one"))
        with pytest.raises(ConfigError, match="two factories provide Record; keep one"):
            registry.resource(Record)(lambda settings: Record("two"))


class TestResources:
    def test_a_resource_is_made_once_at_first_use_from_the_settings(self) -> None:
        asked: list[Any] = []

        def make(settings: Any) -> Record:
            asked.append(settings)
            return Record("made")

        resources = Resources({Record: make}, "the settings")
        assert asked == []
        assert resources.get(Record) is resources.get(Record)
        assert asked == ["the settings"]

    def test_what_nobody_provides_is_an_error_that_says_how_to(self) -> None:
        with pytest.raises(ConfigError, match=r"no module provides Record: register a factory with @routes\.resource\(Record\)"):
            Resources().get(Record)

    def test_a_test_can_put_its_own_in_place_of_a_factory(self) -> None:
        resources = Resources({Record: lambda settings: Record("made")})
        resources.put(Record, Record("put"))
        assert resources.get(Record).name == "put"

    async def test_what_was_made_is_closed_latest_first(self) -> None:
        closed: list[str] = []

        class Closes:
            def close(self) -> None:
                closed.append("close")

        class ClosesAsync:
            async def aclose(self) -> None:
                closed.append("aclose")

        resources = Resources({Closes: lambda settings: Closes(), ClosesAsync: lambda settings: ClosesAsync()})
        resources.put(Record, Record("nothing to close"))
        resources.get(Closes)
        resources.get(ClosesAsync)
        await resources.aclose()
        await resources.aclose()
        assert closed == ["aclose", "close"]


class TestFingerprints:
    def of(
        self, depends_on: Callable[[Mapping[str, Any], Resources], Any] | None, payload: Mapping[str, Any], handler: Any = plain
    ) -> str | None:
        (route,) = routes_of((handler, "task"), freshness=depends_on)
        return fingerprint(route, payload, Resources())

    def test_a_handler_that_declares_nothing_has_none(self) -> None:
        assert self.of(None, {"a": 1}) is None

    def test_it_is_the_same_for_the_same_and_different_for_the_rest(self) -> None:
        def depends_on(payload: Mapping[str, Any], resources: Resources) -> Any:
            return [payload["hash"], "prompt-2"]

        first = self.of(depends_on, {"hash": "abc", "name": "x"})
        assert first == self.of(depends_on, {"hash": "abc", "name": "renamed"})
        assert first != self.of(depends_on, {"hash": "abd"})
        assert first != self.of(depends_on, {"hash": "abc"}, other)
        assert first is not None
        assert len(first) == 64

    def test_it_may_depend_on_shared_objects(self) -> None:
        (route,) = routes_of((plain, "task"), freshness=lambda payload, resources: resources.get(Record).name)
        resources = [Resources({Record: lambda settings, name=name: Record(name)}) for name in ("small-model", "large-model")]
        assert fingerprint(route, {}, resources[0]) != fingerprint(route, {}, resources[1])

    def test_what_cannot_be_written_down_is_refused(self) -> None:
        with pytest.raises(InvalidJobError, match="freshness is a object"):
            self.of(lambda payload, resources: object(), {})
