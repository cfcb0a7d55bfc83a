// Sample source: the many ways to write a function.

/** The area of a circle. */
export function area(radius) {
  return Math.PI * radius ** 2;
}

export const half = (value) => value / 2;

function* sizes() {
  yield 1;
}

export default class Circle {
  #radius = 1;

  constructor(radius) {
    this.#radius = radius;
  }

  grow = () => {
    this.#radius += 1;
  };

  static of(radius) {
    return new Circle(radius);
  }
}

Circle.prototype.draw = function () {
  return "o";
};

const tools = {
  shrink: function () {},
  swell() {},
};
