"""Sample source: decorators, nesting, twins."""

from functools import cache


@cache
def area(radius: float) -> float:
    """The area of a circle."""

    def squared(value: float) -> float:
        return value * value

    return 3.14159 * squared(radius)


class Circle:
    """A circle."""

    class Colour:
        def name(self) -> str:
            return "red"

    def __init__(self, radius: float) -> None:
        self._radius = radius

    @property
    def radius(self) -> float:
        return self._radius

    @radius.setter
    def radius(self, value: float) -> None:
        self._radius = value

    async def draw(self) -> None:
        return None
