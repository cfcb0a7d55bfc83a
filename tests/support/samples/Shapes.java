// Sample source: nested types and overloads.
package shapes;

/** Many shapes. */
public class Shapes {
    enum Colour { RED }

    interface Shape {
        double area();
    }

    record Circle(double radius) implements Shape {
        public double area() {
            return 3.14 * radius * radius;
        }
    }

    Shapes() {}

    @Deprecated
    int count(int first) {
        return first;
    }

    int count(int first, int second) {
        return first + second;
    }
}
