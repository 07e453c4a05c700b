//! Exact distributions: guided moments against runs on basis vectors, closed forms against
//! differential equations, quadrature against moments and closed forms.

mod closed_forms;
mod common;
mod guided;
mod limits;
mod modes;
mod page;
mod propagated;
mod reports;
