// Package shapes is a sample source: receivers and generics.
package shapes

// Circle is round.
type Circle struct {
	radius float64
}

// Shape has an area.
type Shape interface {
	Area() float64
}

type (
	Pair struct{ left, right int }
)

// Stack keeps things.
type Stack[T any] struct{ items []T }

// Area is computed,
// not measured.
func (c Circle) Area() float64 {
	return 3.14 * c.radius * c.radius
}

func (s *Stack[T]) Push(item T) {
	s.items = append(s.items, item)
}

func New(radius float64) *Circle { return &Circle{radius} }
