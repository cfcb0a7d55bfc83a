//! Sample source: impls, traits, modules.

use std::fmt;

/// A circle.
#[derive(Debug)]
pub struct Circle {
    radius: f64,
}

pub enum Colour {
    Red,
}

pub trait Shape {
    fn area(&self) -> f64;

    fn name(&self) -> String {
        "shape".to_string()
    }
}

impl Shape for Circle {
    fn area(&self) -> f64 {
        3.14 * self.radius
    }
}

impl<T> fmt::Display for Wrapper<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "wrapped")
    }
}

mod tools {
    pub fn half(value: f64) -> f64 {
        value / 2.0
    }
}

macro_rules! twice {
    ($value:expr) => {
        $value * 2
    };
}
