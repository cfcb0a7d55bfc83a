// Sample source: types, namespaces, abstract classes.

export interface Shape {
  area(): number;
}

export enum Colour {
  Red,
  Blue,
}

namespace Geometry {
  export function half(value: number): number {
    return value / 2;
  }
}

// Every shape has a name.
export abstract class Named<T> implements Shape {
  abstract area(): number;

  name(): string {
    return "shape";
  }
}

export const area = async (radius: number): Promise<number> => radius * radius;
